"""What MLflow shows of a study: before it is reported, and after."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from sweep.cli.commands import main
from sweep.layout import RunsDir
from sweep.report import upload as report_upload
from sweep.report.conclusion import conclude
from sweep.report.files import NAMES, publish, report_files
from sweep.report.text import build_tables
from sweep.report.upload import compose_note, is_uploaded, upload
from sweep.track.client import open_client
from sweep.track.names import NOTE
from sweep.track.run_files import RunFiles
from sweep.track.runs import read_study
from tests.studies import FILES, copied, fake_sweep, tiny_table


@pytest.fixture(scope="module")
def finished(tmp_path_factory, migrated):
    """The tiny study, run; its report is on disk alone."""
    runs = RunsDir(tmp_path_factory.mktemp("finished") / "mlruns")
    shutil.copytree(migrated.root, runs.root)
    fake_sweep(runs, files=FILES)
    publish(conclude(read_study(runs, "tiny")))
    return runs


@pytest.fixture
def swept(finished, tmp_path):
    """A copy of it, which lies elsewhere."""
    return copied(finished, tmp_path)


@pytest.fixture
def conclusion(swept):
    return conclude(read_study(swept, "tiny"))


def description(runs):
    """Of the parent run."""
    return open_client(runs).get_run(read_study(runs, "tiny").parent_run_id).data.tags[NOTE]


def shown(runs, conclusion):
    """The report's files among the artifacts of the parent run, as MLflow lists them."""
    found = open_client(runs).list_artifacts(conclusion.tracked.parent_run_id, "report")
    return {info.path: (runs.artifacts("tiny") / conclusion.tracked.parent_run_id / "artifacts" / info.path).read_bytes() for info in found}  # fmt: skip


def rows_of(runs):
    with closing(sqlite3.connect(runs.mlflow_db)) as connection:
        return list(connection.iterdump())


def test_before_a_report_experiment_and_parent_run_say_what_the_study_is(swept):
    experiment = open_client(swept).get_experiment_by_name("tiny")
    for text in (description(swept), experiment.tags[NOTE]):
        assert "| Space | hidden layers 1 or 2; units 4 to 32; dropout 0 to 0.5;" in text
        assert "| Data | `tiny.npz`: 500 train, 100 validation and 100 test rows" in text
        assert "4 trials proposed by tpe" in text
    assert "metrics.val_accuracy > 0.98 and tags.phase = 'search'" in experiment.tags[NOTE]


def test_a_study_that_asks_for_more_is_described_as_it_is_now(swept):
    fake_sweep(swept, tiny_table(search={"trials": 5}), files=FILES)
    experiment = open_client(swept).get_experiment_by_name("tiny")
    assert all("5 trials proposed" in text for text in (description(swept), experiment.tags[NOTE]))


def test_the_parent_run_holds_the_report_and_its_description_the_conclusion(swept, conclusion):
    upload(conclusion)
    assert shown(swept, conclusion) == {f"report/{path.name}": path.read_bytes() for path in report_files(conclusion)}
    text = description(swept)
    for _, rows in build_tables(conclusion):
        assert all("| " + " | ".join(row) + " |" in text for row in rows)
    assert conclusion.verdicts[0].text in text


def test_the_same_report_is_announced_once_and_another_in_its_place(swept, conclusion):
    upload(conclusion)
    before, copy = (
        rows_of(swept),
        RunFiles(swept, "tiny").artifact(conclusion.tracked.parent_run_id, "report/report.html"),
    )
    written_at = copy.stat().st_ctime_ns  # a copy keeps the time of its original
    upload(conclusion)
    assert (rows_of(swept), copy.stat().st_ctime_ns) == (before, written_at)
    fake_sweep(swept, tiny_table(confirmation={"replicates": 3}), files=FILES)
    assert description(swept) == compose_note(conclusion), "a description that holds the conclusion was taken back"
    another = conclude(read_study(swept, "tiny"))
    publish(another)
    assert not is_uploaded(another)
    upload(another)
    assert set(shown(swept, another)) == {f"report/{name}" for name in NAMES}
    assert shown(swept, another)["report/conclusion.md"] == report_files(conclusion)[0].read_bytes()
    assert "| Replicates | 3 | 3 |" in description(swept)


def test_a_report_does_not_change_by_being_announced(swept, conclusion, study_file):
    upload(conclusion)
    assert main(["report", str(study_file), "--runs-dir", str(swept.root), "--check"]) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_that_is_damaged_or_gone_is_no_announced_report(swept, conclusion, name):
    upload(conclusion)
    copy = RunFiles(swept, "tiny").artifact(conclusion.tracked.parent_run_id, f"report/{name}")
    good = copy.read_bytes()
    copy.write_bytes(good[:-1] + b"?")
    assert not is_uploaded(conclusion)
    copy.unlink()
    assert not is_uploaded(conclusion)
    copy.write_bytes(good)
    assert is_uploaded(conclusion)


def test_a_store_that_cannot_be_written_costs_the_report_nothing(swept, study_file, capsys):
    shutil.rmtree(swept.reports("tiny"))
    with closing(sqlite3.connect(swept.mlflow_db)) as connection:
        connection.execute("CREATE TRIGGER full BEFORE UPDATE ON tags BEGIN SELECT RAISE(FAIL, 'disk is full'); END")
    assert main(["report", str(study_file), "--runs-dir", str(swept.root)]) == 3
    assert all((swept.reports("tiny") / name).exists() for name in NAMES)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(
        f"error: the report is written to {swept.reports('tiny')}, and MLflow does not show it yet: "
    )
    assert "disk is full" in said
    with closing(sqlite3.connect(swept.mlflow_db)) as connection:
        connection.execute("DROP TRIGGER full")
    assert main(["report", str(study_file), "--runs-dir", str(swept.root)]) == 0
    assert is_uploaded(conclude(read_study(swept, "tiny")))


def test_a_description_ends_where_mlflow_would_cut_it(conclusion, monkeypatch):
    whole = compose_note(conclusion)
    monkeypatch.setattr(report_upload, "MAX_NOTE", len(whole) - 1)
    cut = compose_note(conclusion)
    pointer = whole.splitlines()[-1]
    assert len(cut) < len(whole)
    assert cut.endswith(f"\n\n{pointer}")
    assert whole.startswith(cut.removesuffix(pointer))
