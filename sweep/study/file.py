"""Loading a study file: read, parse, and report a fault in one line."""

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sweep.errors import InvalidStudyError
from sweep.study.schema import Study, shorten

MAX_FILE_BYTES = 1 << 20


def parse_study(table: dict[str, Any], where: str) -> Study:
    """Return the study of a parsed file. Raises InvalidStudyError: one line, `where` and the first fault."""
    try:
        return Study.model_validate(table)
    except ValidationError as error:
        raise InvalidStudyError(f"{where}: {_first_fault(error)}") from None


def load_study(path: Path) -> tuple[Study, dict[str, Any]]:
    """Load a study file. Returns the study, and the table as typed, which is tracked. Raises InvalidStudyError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidStudyError(f"{path}: larger than {MAX_FILE_BYTES} bytes; a study file is a page")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except InvalidStudyError:
        raise
    except OSError as error:
        raise InvalidStudyError(f"{path}: cannot be read ({error.strerror}); give the path of a study file") from error
    except UnicodeDecodeError as error:
        raise InvalidStudyError(f"{path}: not UTF-8 text (byte {error.start}); a study is a TOML file") from error
    except (ValueError, RecursionError) as error:
        raise InvalidStudyError(f"{path}: not TOML: {error}") from error
    return parse_study(table, str(path)), table


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


def _first_fault(error: ValidationError) -> str:
    """Return `key = value: what was wanted` for the first fault that pydantic found, and the number of others."""
    faults = error.errors(include_url=False, include_context=False)
    fault = faults[0]
    key = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "missing":
        text = f"{key}: missing; every study needs it"
    elif fault["type"] == "extra_forbidden":
        text = f"{key}: unknown key; see studies/README.md for the keys of a study file"
    elif isinstance(fault["input"], dict) and not key:
        text = message
    else:
        text = f"{key} = {shorten(fault['input'])}: {message[0].lower() + message[1:]}"
    return text if len(faults) == 1 else f"{text} (and {len(faults) - 1} more)"
