"""Names of columns in a message: a few of many, or as a study file lists them."""

import json
from collections.abc import Iterable

MAX_SHOWN = 5


def list_some(texts: Iterable[str]) -> str:
    """Join the first few texts, and say how many more there are."""
    shown = list(texts)
    return ", ".join(shown[:MAX_SHOWN]) + (f" and {len(shown) - MAX_SHOWN} more" if len(shown) > MAX_SHOWN else "")


def to_toml(names: Iterable[str], n_most: int | None = None) -> str:
    """Return names as a list in a study file."""
    listed = list(names)
    shown = [json.dumps(name, ensure_ascii=False) for name in listed[:n_most]]
    return f"[{', '.join(shown + ['...'] * (len(shown) < len(listed)))}]"
