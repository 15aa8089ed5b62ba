"""`init`: write a first study of a table."""

import argparse
import tomllib
from pathlib import Path

from sweep.cli.stdout import say
from sweep.data.coding import word_kinds
from sweep.data.files import is_table
from sweep.data.first_study import look, to_study_name, write_study
from sweep.errors import InvalidSettingError
from sweep.study.file import parse_study


def run(arguments: argparse.Namespace) -> None:
    table: Path = arguments.table
    out: Path = arguments.out or table.with_name(f"{to_study_name(table)}.toml")
    if not is_table(table.name):
        raise InvalidSettingError(f"init {table}: wanted a table, such as a .csv, .tsv or .parquet file")
    if out.parent.resolve() != table.parent.resolve():
        raise InvalidSettingError(
            f"--out {out}: wanted a file in the folder of the table, which it names by a relative path"
        )
    found = look(table, arguments.label)
    text = write_study(found, to_study_name(out))
    parse_study(tomllib.loads(text), str(out))
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InvalidSettingError(f"{out}: is there; name another file with --out, or move it away") from error
    data = found.data
    say(f"{data.name}: {len(data.x_train):,} rows, a {data.task} of {arguments.label!r}")
    say(f"columns: {word_kinds(data.columns, data.x_train)}")
    for name, why in found.dropped.items():
        say(f"left out: {name!r} ({why})")
    if found.signs:
        say(f"taken for missing values: {', '.join(map(repr, found.signs))}")
    say(f"{out} says how to search; next: python -m sweep run {out}")
