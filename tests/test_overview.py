import csv
import io
import shutil
from dataclasses import replace

import pytest

from sweep.cli.commands import main
from sweep.cli.status import watch
from sweep.durable.lock import hold
from sweep.errors import MissingRunsError
from sweep.layout import RunsDir
from sweep.overview import list_studies, measure_size, read_overview
from sweep.record.results import DELETING, LOCK
from sweep.trial import Phase, State
from tests.studies import FILES, fake_sweep, tiny_table


@pytest.fixture(scope="module")
def swept(new_runs):
    runs = new_runs()
    fake_sweep(runs, files=FILES)
    return runs


@pytest.fixture
def runs_of(swept, tmp_path):
    """Return a copy that a test may change."""
    shutil.copytree(swept.root, tmp_path / "copy")
    return type(swept)(tmp_path / "copy")


def ask(runs, capsys, *words):
    assert main([*words, "--runs-dir", str(runs.root)]) == 0
    return capsys.readouterr().out


def test_a_study_that_is_done_is_idle_and_its_best_trial_is_the_first(swept):
    study = read_overview(swept, "tiny")
    assert (study.state, study.holder, study.unfinished) == ("idle", None, ())
    complete = [one.value for one in study.trials if one.state == State.COMPLETE and one.trial.phase != Phase.CONFIRM]
    assert study.best.value == max(complete)
    assert [one.value for one in study.ranked][: len(complete)] == sorted(complete, reverse=True)
    assert study.n_epochs == sum(one.course.n_epochs for one in study.trials)


def test_a_study_that_a_process_holds_is_running_and_names_it(swept):
    with hold(swept.results("tiny") / LOCK):
        study = read_overview(swept, "tiny")
    assert study.state == "running"
    assert "pid" in study.holder


def test_reading_takes_no_lock_and_changes_no_file(swept, capsys):
    before = {path: path.stat().st_mtime_ns for path in swept.root.rglob("*")}
    for words in (["list"], ["status", "tiny"], ["trials", "tiny"]):
        with hold(swept.results("tiny") / LOCK):
            ask(swept, capsys, *words)
    after = {path: path.stat().st_mtime_ns for path in swept.root.rglob("*")}
    changed = {path.name for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed <= {LOCK}


def test_what_was_begun_and_is_trained_by_nobody_is_interrupted(runs):
    class Killed(Exception):
        pass

    def killed(trial, event):
        if event is None and trial.number == 2:
            raise Killed

    with pytest.raises(Killed):
        fake_sweep(runs, files=FILES, watch=killed)
    study = read_overview(runs, "tiny")
    assert study.state == "interrupted"
    assert 2 in [one.trial.number for one in study.unfinished]


def test_a_half_deleted_study_is_listed_as_such(runs_of, capsys):
    (runs_of.results("tiny") / DELETING).touch()
    assert "half deleted" in ask(runs_of, capsys, "list")


def test_list_shows_each_study_once_with_its_size(runs_of, capsys):
    fake_sweep(runs_of, {**tiny_table(), "name": "tiny.2"}, files=FILES)
    assert list_studies(runs_of) == ["tiny", "tiny.2"]
    said = ask(runs_of, capsys, "list")
    for name in ("tiny", "tiny.2"):
        row = next(line for line in said.splitlines() if f" {name} " in line)
        assert f"{measure_size(runs_of, name) / 2**20:.1f}" in row
        assert f"{read_overview(runs_of, name).best.value:.4f}" in row


def test_a_folder_without_studies_says_how_to_run_one_and_stays_as_it_is(tmp_path, capsys):

    assert "holds no study yet; run one" in ask(RunsDir(tmp_path), capsys, "list")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "trials"])
def test_a_study_that_is_not_there_is_one_line(swept, capsys, command):
    assert main([command, "none", "--runs-dir", str(swept.root)]) == MissingRunsError.exit_code
    assert capsys.readouterr().err.endswith("holds no study 'none'; `list` shows those that it holds\n")


def test_trials_as_csv_hold_every_value_of_every_config(swept, capsys):
    rows = list(csv.DictReader(io.StringIO(ask(swept, capsys, "trials", "tiny", "--csv"))))
    study = read_overview(swept, "tiny")
    assert [int(row["number"]) for row in rows] == [one.trial.number for one in study.ranked]
    for row, one in zip(rows, study.ranked, strict=True):
        assert {name: row[name] for name in one.trial.config.params()} == {
            name: str(value) for name, value in one.trial.config.params().items()
        }
        assert row["val_accuracy"] == ("" if one.value is None else str(one.value))


def test_the_table_of_trials_names_each_with_its_learning_rate(swept, capsys):
    said = ask(swept, capsys, "trials", "tiny")
    for one in read_overview(swept, "tiny").ranked:
        row = next(line for line in said.splitlines() if f" {one.trial.label} " in line)
        assert f"{one.trial.config.learning_rate:.2g}" in row


def test_status_names_the_best_and_what_is_spent(swept, capsys):
    said, study = ask(swept, capsys, "status", "tiny"), read_overview(swept, "tiny")
    assert f"best val_accuracy: {study.best.value:.4f} by {study.best.trial.label}" in said
    assert f"spent: {study.n_epochs} epochs" in said


def test_watching_ends_with_the_process_that_is_at_work(swept):
    idle = read_overview(swept, "tiny")
    states, shown, waited = iter([replace(idle, holder="pid 1")] * 2 + [idle]), [], []
    watch(lambda: next(states), shown.append, waited.append)
    assert [study.state for study in shown] == ["running", "running", "idle"]
    assert len(waited) == 2
