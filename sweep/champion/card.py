"""The model card of a bundle."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sweep.champion import bundle
from sweep.data.files import is_table, is_text
from sweep.report.conclusion import Column, Conclusion
from sweep.report.text import champion_line

# Markdown, not HTML; names that come from a study file can hold no markup (`study/schema.py`).
_templates = Environment(
    loader=PackageLoader(__package__, "."), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
)
_templates.filters["literal"] = repr  # Python's, to stand in code
_DATA_NOTES = {
    "mnist": "DATA.npz is `sweep/datasets/mnist.npz` of the code, or any mnist.npz with arrays `x_test` and `y_test`.",
    "test": "DATA.npz is the study's own data file, {name!r}, or any with its arrays `x_test` and `y_test`.",
    "train": "DATA.npz is the study's own data file, {name!r}, with arrays `x_train` and `y_train`, of which it finds the sealed rows by number.",
    "table": "DATA.npz is made of the study's own data file, {name!r}, of which it finds the sealed rows by number:",
    "lost": "Here it cannot do the second half: which rows of {name!r} were drawn as the test split was not at hand when this was exported. Export it again where the data is.",
}


def to_card(conclusion: Conclusion, champion: Column, summary: dict[str, Any]) -> str:
    """Render the card of `champion`, whose bundle has this summary."""
    study, facts, test = conclusion.tracked.study, conclusion.tracked.facts, summary["test"]
    note = _data_note(study.data.source, test) if test else ""
    return _templates.get_template("card.md.jinja").render(
        study=study,
        facts=facts,
        config=champion.finalist.config,
        params_count=champion.params_count,
        champion_line=champion_line(conclusion),
        summaries=champion.summaries,
        summary=summary,
        test=test,
        onnx_input=summary["input"],
        classes=_join(facts.classes),
        data_note=_DATA_NOTES[note].format(name=facts.name) if note else "",
        is_table=note == "table",
        is_text=is_text(study.data.source),
        files=bundle,
    )


def _data_note(source: str, test: dict[str, Any]) -> str:
    if source == "mnist":
        return "mnist"
    if test["part"] == "test":
        return "test"
    if not test["rows_are_known"]:
        return "lost"
    return "table" if is_table(source) else "train"


def _join(classes: tuple[str, ...]) -> str:
    shown = classes if len(classes) <= 20 else (*classes[:10], f"... ({len(classes)} in all)")
    return ", ".join(shown)
