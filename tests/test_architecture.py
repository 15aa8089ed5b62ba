"""Imports flow one way, and a foreign library enters through one room."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "sweep"

# Each room may import from rooms above its own line, or beside it where that is said; nothing imports from below.
LAYERS = [
    {"errors", "config", "failpoint", "verify", "study_text", "arguments"},
    {"space", "trial", "compare", "predictions", "provenance", "lock", "layout", "disk"},
    {"space_table"},
    {"study", "results", "weights"},
    {"data_files", "prune", "confirm", "parameters", "views"},
    {"data"},
    {"describe"},
    {"model", "tracker", "bundle", "pictures", "train.stopping", "train.adam", "train.dropout", "train.bucket"},
    {"train.member"},
    {"train.graph", "train.cohort", "train.course", "train.leave", "mlflow_store", "predict"},
    {"logged_models", "run_writer"},
    {"train.fit", "train.cohort_fit", "train.score", "train.convert", "record", "track", "runs"},
    {"execute.worker", "execute.executor", "suggest", "recover", "fork", "conclusion"},
    {"execute.local", "execute.cohort_process", "execute.once", "execute.fake", "sources", "report", "figures"},
    {"execute.cohort", "loop", "page", "card", "replay", "execute.scoring", "execute.converting"},
    {"execute.start", "coordinator", "display", "publish", "export"},
    {"register", "announce", "dashboard", "ui"},
    {"doctor", "hand_on"},
    {"cli"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}

LIBRARIES = {
    "tensorflow": {"train.graph", "train.adam", "train.dropout"},
    "keras": {
        "model",
        "train.graph",
        "train.adam",
        "train.dropout",
        "train.cohort",
        "train.member",
        "train.leave",
        "train.score",
        "train.convert",
    },
    "jax": {"train.cohort", "train.member"},
    "onnx": {"train.convert"},
    "onnxruntime": {"verify"},
    "optuna": {"record", "suggest", "parameters", "figures"},
    "mlflow": {"mlflow_store", "run_writer", "track", "logged_models", "runs", "register"},
    "sqlalchemy": {"mlflow_store", "run_writer", "record"},
    "sklearn": {"data"},
    "matplotlib": {"pictures"},
    "plotly": {"figures", "page"},
    "jinja2": {"page", "card"},
    "PIL": {"page"},
    "rich": {"cli", "display"},
    "pydantic": {"study", "space_table"},
    "scipy": {"compare", "suggest"},
    "h5py": {"weights"},
    "fcntl": {"lock"},
    "optuna_dashboard": {"dashboard"},
}


def room_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


ROOMS = {room_of(path): path for path in ROOT.rglob("*.py") if path.name != "__init__.py"}


def imports(path):
    """Every module imported anywhere in the file, those for type checking alone left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(path):
    for name in imports(path):
        parts = name.split(".")[1:] if name.startswith("sweep") else []
        for length in (2, 1):
            if ".".join(parts[:length]) in ROOMS:
                yield ".".join(parts[:length])
                break


def test_every_room_has_its_place():
    assert set(ROOMS) == set(RANK)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_imports_point_upwards_only(room):
    wrong = [other for other in rooms_imported(ROOMS[room]) if RANK[other] >= RANK[room]]
    assert wrong == []


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_a_library_enters_through_its_rooms_only(library):
    users = {room for room, path in ROOMS.items() if any(name.split(".")[0] == library for name in imports(path))}
    assert users == LIBRARIES[library]


def test_verify_needs_numpy_and_onnxruntime_alone():
    needed = {name.split(".")[0] for name in imports(ROOMS["verify"])}
    assert needed - sys.stdlib_module_names == {"numpy", "onnxruntime"}


def test_nothing_that_trains_or_selects_opens_the_test_split():
    users = {room for room, path in ROOMS.items() if "open_test_split" in path.read_text()}
    assert users == {"data", "train.score"}
    trainers = {"train.graph", "train.fit", "execute.worker", "execute.local", "suggest", "prune", "confirm", "sources"}
    for room in trainers:
        assert "train.score" not in rooms_imported(ROOMS[room])
