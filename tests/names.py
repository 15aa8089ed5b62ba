"""Names of classes that some parser reads as markup, or that no eye or font can read."""

MARKUP = (
    "$0-$10", "$_$", "$x$", r"\frac", "a_b", "50%", "<b>bold</b>", "<script>alert(1)</script>", "&lt;", "[m|s]", "[/]",
    "[bold]x[/bold]", "`c`", "``", "a|b", "*a*", "_a_", "{{ x }}", "%{x}", "<=50K", 'say "q"', ":cat:", "größe", "Привет",
    "Ελλάδα", "العربية",
)  # fmt: skip
HIDDEN = {
    "a\nb": r"a\nb", "a\r\nb": r"a\r\nb", "a\tb": r"a\tb", "a\0b": r"a\x00b", "\x1b[31mred": r"\x1b[31mred",
    "\x9b31mred": r"\x9b31mred", "a\u200bb": r"a\u200bb", "\ufeffa": r"\ufeffa", "\u202eabc": r"\u202eabc",
    "a\u2028b": r"a\u2028b", "a\ud800b": r"a\ud800b",
}  # fmt: skip
BLANK = ("", " ", "\u3000")
FOREIGN = ("中文", "हिन्दी", "한국어", "🎉")  # of scripts that the font of matplotlib lacks
