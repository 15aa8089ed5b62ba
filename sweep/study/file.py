"""Loading a study file: read, parse, and report every fault in one line."""

import importlib.util
import io
import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sweep.durable.given import MAX_STUDY_BYTES, read_given
from sweep.errors import InvalidStudyError
from sweep.study.objective import Task
from sweep.study.schema import Study, list_keys, shorten

MAX_PARTS = 50  # of a key
# Words with dots between. Each is taken up at its start and as a whole, else a long one would be looked at anew from each letter.
DEEP_KEY = re.compile(rf"""(?:(?:(?<![\w-])[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MAX_PARTS}}}(?=[\w"'-])""")
MAX_FAULTS, MAX_KEY = 20, 80  # faults that are described, characters of a key
ENCODING = "utf-8-sig"  # with or without a byte order mark, which editors on Windows write


def parse_study(table: dict[str, Any], where: str, task: Task | None = None) -> Study:
    """Return the study of a parsed file. Raises InvalidStudyError: one line, `where` and every fault.

    task: what the labels of its data are for, where that is known.
    """
    if task == "regression":  # what a study of classification leaves out is what it always was
        table = {**table, "data": {**table.get("data", {}), "task": task}}
    try:
        return Study.model_validate(table)
    except ValidationError as error:
        raise InvalidStudyError(f"{where}: {_describe_faults(error)}") from None


def load_study(path: Path) -> tuple[Study, dict[str, Any]]:
    """Load a study file. Returns the study, and the table as typed, which is tracked. Raises InvalidStudyError."""
    try:
        text = read_study_text(path)
        _refuse_deep_keys(text)
        table = tomllib.loads(text)
    except OSError as error:
        raise InvalidStudyError(f"{path}: cannot be read ({error.strerror}); give the path of a study file") from error
    except UnicodeDecodeError as error:
        raise InvalidStudyError(f"{path}: not UTF-8 text (byte {error.start}); a study is a TOML file") from error
    except (ValueError, RecursionError) as error:
        raise InvalidStudyError(f"{path}: not TOML: {error}") from error
    return parse_study(table, str(path)), table


def read_study_text(path: Path) -> str:
    """Read a study file as it was typed. Raises OSError, UnicodeDecodeError."""
    return io.TextIOWrapper(io.BytesIO(read_given(path, MAX_STUDY_BYTES)), encoding=ENCODING).read()


def _refuse_deep_keys(text: str) -> None:
    """Raise ValueError for a key of many parts: `tomllib` takes minutes to read one of 40,000. No key has more than 5."""
    if DEEP_KEY.search(text):
        raise ValueError(f"holds a key of more than {MAX_PARTS} parts")


def check_is_installed(study: Study, where: str) -> None:
    """Raise InvalidStudyError if the search needs a sampler or an engine whose library is not installed."""
    if study.search.engine == "cohort" and importlib.util.find_spec("jax") is None:
        raise InvalidStudyError(
            f"{where}: search.engine = 'cohort': needs jax, which is not installed; install it or use 'graph'"
        )
    if study.search.sampler == "gp" and importlib.util.find_spec("torch") is None:
        raise InvalidStudyError(
            f"{where}: search.sampler = 'gp': needs torch, which is not installed; install it or use 'tpe'"
        )


def _describe_faults(error: ValidationError) -> str:
    """Describe every fault that pydantic found, unknown keys first: a misspelt key is often why another is missing."""
    found = error.errors(include_url=False)
    # Where an entry of a list is at fault, pydantic says of the list too that it is too short.
    faults = [f for f in found if f["type"] != "too_short" or not any(_lies_in(other, f) for other in found)]
    faults.sort(key=lambda fault: fault["type"] != "extra_forbidden")
    texts = [_describe(fault) for fault in faults[:MAX_FAULTS]]
    if len(faults) > MAX_FAULTS:
        texts.append(f"and {len(faults) - MAX_FAULTS} more")
    if faults[0]["type"] == "extra_forbidden":
        texts.append("studies/README.md has all keys")
    return "; ".join(texts)


def _lies_in(inner: ErrorDetails, outer: ErrorDetails) -> bool:
    return len(inner["loc"]) > len(outer["loc"]) and inner["loc"][: len(outer["loc"])] == outer["loc"]


def _describe(fault: ErrorDetails) -> str:
    """Return `key = value: what was wanted`."""
    key = ".".join(str(part)[:MAX_KEY] for part in fault["loc"] if part != "[key]")
    if fault["type"] == "missing":
        return f"{key}: missing, and it has no default"
    if fault["type"] == "extra_forbidden":
        known = list_keys(fault["loc"][:-1])
        nearest = get_close_matches(str(fault["loc"][-1])[:MAX_KEY], known, n=1)
        return f"{key}: unknown key, " + (f"nearest is {nearest[0]!r}" if nearest else f"known are {', '.join(known)}")
    wanted = _WANTED.get(fault["type"], "wanted another value").format_map(fault.get("ctx", {}))
    if isinstance(fault["input"], dict) and not key:
        return wanted
    return f"{key} = {shorten(fault['input'])}: {wanted}"


# What pydantic's errors mean to a person, by their type. Those of our own rules come as they are.
_WANTED = {
    "value_error": "{error}",
    "int_type": "wanted a whole number",
    "int_from_float": "wanted a whole number",
    "int_parsing_size": "wanted a smaller number",
    "float_type": "wanted a number",
    "bool_type": "wanted true or false",
    "string_type": "wanted text",
    "tuple_type": "wanted a list",
    "dict_type": "wanted a table",
    "model_type": "wanted a table",
    "literal_error": "wanted {expected}",
    "greater_than_equal": "wanted {ge} or more",
    "less_than_equal": "wanted {le} or less",
    "less_than": "wanted a number below {lt}",
    "too_short": "wanted {min_length} entry or more",
    "too_long": "wanted {max_length} entries or fewer",
}
