"""Imports flow one way, and a foreign library enters through one room."""

import ast
import statistics
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sweep

ROOT = Path(__file__).parents[1] / "sweep"

# Folders and single files, each of which may import from those before it and from itself.
ORDER = "version plain_text masking environment errors record_server layout durable study trial data record search train execute track loop replay report champion coordinator conduct doctor removal overview python cli __main__"
RANK = {place: rank for rank, place in enumerate(ORDER.split())}

LIBRARIES = {
    "tensorflow": {
        "train.graph.trainer",
        "train.graph.optimizers",
        "train.graph.dropout",
        "train.graph.precision",
        "train.graph.augment",
        "train.graph.head",
    },
    "keras": {
        "train.model",
        "train.recipe",
        "train.artifacts",
        "train.score",
        "train.graph.trainer",
        "train.graph.optimizers",
        "train.graph.dropout",
        "train.graph.precision",
        "train.graph.silu",
        "train.graph.head",
        "train.cohort.member",
        "train.cohort.step",
        "train.cohort.head",
        "champion.conversion",
        "data.columns",  # in the copy that MLflow serves a model by
    },
    "jax": {
        "train.cohort.program",
        "train.cohort.member",
        "train.cohort.step",
        "train.cohort.augment",
        "train.cohort.head",
    },
    "onnx": {"champion.conversion", "champion.coded_onnx"},
    "onnxruntime": {"champion.verify"},
    "optuna": {
        "record.trials",
        "record.rows",
        "record.storage",
        "record.server",
        "record.optuna_terms",
        "search.sampler",
        "search.history",
        "search.faster_tpe",
        "report.search_figures",
    },
    "mlflow": {"track.mlflow_api"},
    "sqlalchemy": {
        "track.tables",
        "track.errors",
        "track.guard",
        "record.rows",
        "record.storage",
        "record.server",
        "record.hold",
    },
    "sklearn": {"data.coding", "data.splits", "train.ranked"},
    "matplotlib": {"train.figure", "train.pictures"},
    "plotly": {
        "report.figures",
        "report.parallel_figure",
        "report.search_figures",
        "report.value_figures",
        "report.page",
    },
    "jinja2": {"report.page", "champion.card"},
    "PIL": {"report.page"},
    "rich": {"conduct.display", "conduct.log", "python.notebook", "cli.status", "cli.tables"},
    "pydantic": {
        "study.table",
        "study.baseline",
        "study.schema",
        "study.search",
        "study.training",
        "study.axes",
        "study.file",
    },
    "scipy": {
        "report.compare",
        "report.interval",
        "search.curve_model",
        "search.faster_tpe",
        "search.freeze_thaw",
        "train.score",
    },
    "threadpoolctl": {"search.freeze_thaw"},
    "h5py": {"train.weights"},
    "ray": {"execute.cluster.ray_cluster"},
    "fcntl": {"durable.lock"},
    "optuna_dashboard": {"cli.dashboard"},
    "IPython": {"python.notebook"},
}


def room_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def place_of(room):
    return room.split(".")[0]


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
        parts = name.split(".")[1:] if name.startswith("sweep.") else []
        yield from (room for n in range(len(parts), 0, -1) if (room := ".".join(parts[:n])) in ROOMS)


def test_every_folder_has_its_place():
    assert {place_of(room) for room in ROOMS} == set(RANK)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_folder_imports_from_those_before_it_only(room):
    own = place_of(room)
    wrong = [other for other in rooms_imported(ROOMS[room]) if RANK[place_of(other)] > RANK[own]]
    assert wrong == []


def test_imports_go_in_no_circle():
    TopologicalSorter({room: set(rooms_imported(path)) for room, path in ROOMS.items()}).prepare()


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*/__init__.py")), ids=room_of)
def test_a_package_holds_a_docstring_only(path):
    tree = ast.parse(path.read_text())
    assert len(tree.body) == 1
    assert ast.get_docstring(tree)


def test_the_package_itself_names_what_python_is_offered_and_loads_none_of_it():
    path = ROOT / "__init__.py"
    tree = ast.parse(path.read_text())
    assert set(imports(path)) == {"importlib.import_module", "typing.TYPE_CHECKING", "typing.Any"}
    assert [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] == ["__getattr__", "__dir__"]
    [typed] = [node for node in tree.body if isinstance(node, ast.If)]
    homes = {alias.name: node.module.removeprefix("sweep.") for node in typed.body for alias in node.names}
    assert homes == sweep._HOMES
    assert sorted(homes) == sweep.__all__


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_a_library_enters_through_its_rooms_only(library):
    users = {room for room, path in ROOMS.items() if any(name.split(".")[0] == library for name in imports(path))}
    assert users == LIBRARIES[library]


def test_verify_needs_numpy_and_onnxruntime_alone():
    needed = {name.split(".")[0] for name in imports(ROOMS["champion.verify"])}
    assert needed - sys.stdlib_module_names == {"numpy", "onnxruntime"}


def test_nothing_that_trains_or_selects_opens_the_test_split():
    users = {room for room, path in ROOMS.items() if "open_test_split" in path.read_text()}
    assert users == {"data.prepared", "train.score"}
    scorers = {room for room, path in ROOMS.items() if "train.score" in rooms_imported(path)}
    assert scorers == {"execute.scoring"}


def body_lengths():
    """Lines of each function's body, without its docstring, with the function's place."""
    for room, path in ROOMS.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                yield (body[-1].end_lineno - body[0].lineno + 1 if body else 0), f"{room}.{node.name}"


def test_a_file_is_one_subject_and_a_function_fits_in_the_eye():
    assert max(len(path.read_text().splitlines()) for path in ROOMS.values()) < 400
    lengths = list(body_lengths())
    assert [name for length, name in lengths if length > 60] == []
    assert statistics.median(length for length, _ in lengths) <= 6


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale():
    def lacks_encoding(call):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        given = {keyword.arg for keyword in call.keywords}
        is_text = name in ("read_text", "write_text") or (name in ("run", "Popen") and "text" in given)
        return is_text and "encoding" not in given

    wrong = [
        f"{room}:{node.lineno}"
        for room, path in ROOMS.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and lacks_encoding(node)
    ]
    assert wrong == []
