"""Which precisions the graph engine takes, and what is said of one that does not pay."""

import pytest

from sweep.data.prepared import PreparedData
from sweep.errors import InvalidSettingError
from sweep.execute import start
from sweep.layout import RunsDir
from sweep.study.file import parse_study
from tests.studies import FACTS, tiny_table


@pytest.fixture
def start_at(tmp_path, monkeypatch):
    """Start the executor of a study at a precision, of which this processor is said to be `speedup` times as fast."""

    def start_executor(precision, speedup):
        monkeypatch.setattr(start, "WorkerExecutor", lambda options, n_workers: options)
        monkeypatch.setattr(start, "run_in_process", lambda *_: speedup)
        table = tiny_table(training={"max_epochs": 5, "precision": precision})
        table["search"] = table["search"] | {"engine": "graph"}
        data = PreparedData(tmp_path, FACTS)
        return start.start_executor(parse_study(table, "tiny.toml"), data, RunsDir(tmp_path), tmp_path)

    return start_executor


def test_a_precision_that_slows_this_processor_down_is_told_in_one_line(start_at, caplog):
    assert start_at("bfloat16", 0.5).training.precision == "bfloat16"
    [line] = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert "multiplies in bfloat16 at 0.5 of its speed in float32" in line


@pytest.mark.parametrize(("precision", "speedup"), [("bfloat16", 1.6), ("float32", None)])
def test_one_that_does_not_is_not_talked_of(start_at, caplog, precision, speedup):
    start_at(precision, speedup)
    assert [one for one in caplog.records if one.levelname == "WARNING"] == []


def test_the_graph_engine_refuses_the_precision_that_cohorts_alone_have(start_at):
    with pytest.raises(InvalidSettingError, match=r"'tensorfloat32' is for the cohort engine.*or use --engine cohort"):
        start_at("tensorfloat32", None)


@pytest.mark.slow
def test_the_speed_is_measured_in_a_process_of_its_own(tmp_path):
    assert start.run_in_process(start._measure_bfloat16, "measuring bfloat16", tmp_path / "precision.log") > 0


@pytest.mark.parametrize(
    ("executor", "address", "wrong"),
    [
        ("ray", "", "is not set"),
        ("ray", "ray://10.0.0.1:10001", "names no cluster"),
        ("auto", "10.0.0.1", "names no cluster"),
        ("auto", "local", "names no cluster"),
    ],
)
def test_an_address_that_names_no_cluster_is_refused(tmp_path, monkeypatch, executor, address, wrong):
    monkeypatch.setenv("RAY_ADDRESS", address)
    study = study_on(executor)
    with pytest.raises(InvalidSettingError, match=rf"RAY_ADDRESS: {wrong}.* --executor local"):
        start.start_executor(study, PreparedData(tmp_path, FACTS), RunsDir(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("executor", "address", "where"),
    [
        ("auto", "", "here"),
        ("local", "10.0.0.1:6379", "here"),
        ("auto", "auto", "there"),
        ("ray", "head:6379", "there"),
    ],
)
def test_a_study_trains_on_the_cluster_that_is_named_unless_it_is_to_stay_here(
    tmp_path, monkeypatch, executor, address, where
):
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(start, "find_spec", lambda name: name)  # as where Ray is installed
    monkeypatch.setattr(start, "_start_on_cluster", lambda *_: "there")
    monkeypatch.setattr(start, "start_on_machine", lambda *_: ("here", None))
    data = PreparedData(tmp_path, FACTS)
    assert start.start_executor(study_on(executor), data, RunsDir(tmp_path), tmp_path) == where


def study_on(executor):
    table = tiny_table()
    table["search"] = table["search"] | {"engine": "graph", "executor": executor}
    return parse_study(table, "tiny.toml")
