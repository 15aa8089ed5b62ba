import math
import shutil
from contextlib import nullcontext
from dataclasses import replace

import pytest

from sweep.coordinator import run_study
from sweep.doctor import diagnose
from sweep.durable.lock import hold
from sweep.errors import (
    ChangedStudyError,
    DamagedResultError,
    Interrupted,
    LostStudyError,
    RecordError,
    StudyInUseError,
    TrackingError,
    WorkersError,
)
from sweep.execute.fake import FakeExecutor
from sweep.record import results
from sweep.record.hold import FileHold
from sweep.report.conclusion import conclude
from sweep.track.client import open_client
from sweep.track.runs import read_study
from sweep.trial import Phase, TrialResult
from tests.studies import FILES, fake_runtime, fake_sweep, has_each_key_once, job, tiny_table

N_TRIALS = 5  # a baseline and four searched
N_REPLICATES = 4  # two of each finalist: the best of each depth, or of one depth and the baseline


def test_every_trial_and_replicate_has_one_run_and_one_parent(runs):
    fake_sweep(runs)
    found = read_study(runs, "tiny")
    assert len(found.searched) == N_TRIALS
    assert len(found.replicates) >= N_REPLICATES
    assert has_each_key_once(found)
    assert found.half_written == ()


def test_the_same_command_again_trains_and_writes_nothing(runs):
    fake_sweep(runs)
    before = read_study(runs, "tiny").trials
    heard = []
    fake_sweep(runs, watch=lambda trial, event: heard.append(trial))
    assert heard == []
    assert read_study(runs, "tiny").trials == before


def test_a_larger_budget_trains_what_is_missing(runs):
    fake_sweep(runs)
    started = []
    fake_sweep(runs, tiny_table(search={"trials": 7}), watch=lambda trial, event: started.append((trial, event)))
    searched = {trial.key for trial, _ in started if trial.phase == Phase.SEARCH}
    assert len(searched) == 3
    assert sum(one.trial.phase == Phase.SEARCH for one in read_study(runs, "tiny").searched) == 7


def test_more_replicates_and_baselines_continue_the_study_and_reach_its_report(runs):
    fake_sweep(runs)
    more = {**tiny_table()["baselines"][0], "name": "wider", "units": [64]}
    fake_sweep(runs, tiny_table(confirmation={"replicates": 3}, baselines=[*tiny_table()["baselines"], more]))
    conclusion = conclude(read_study(runs, "tiny"))
    assert [column.finalist.baseline for column in conclusion.baselines] == ["by hand", "wider"]
    assert {len(column.replicate_runs) for column in conclusion.columns} == {3}


@pytest.mark.parametrize("n_events", [0, 1, 7, 12, 30, 45])
def test_an_interrupted_study_resumes_to_the_same_set_of_trials(runs, n_events):
    countdown = iter(range(n_events))
    with pytest.raises(Interrupted):
        fake_sweep(runs, is_interrupted=lambda: next(countdown, None) is None)
    fake_sweep(runs)
    found = read_study(runs, "tiny")
    assert len(found.searched) == N_TRIALS
    assert has_each_key_once(found)
    assert {one.state for one in found.trials} <= {"complete", "pruned"}


def test_replicates_carry_test_metrics_and_searched_trials_do_not(runs):
    fake_sweep(runs)
    found = read_study(runs, "tiny")
    assert all("test_accuracy" in one.metrics for one in found.replicates)
    assert not any("test_accuracy" in one.metrics for one in found.searched)


def test_searched_trials_save_no_model_where_none_is_to_be_kept_and_all_else_goes_on(runs):
    table = tiny_table()
    done = fake_sweep(runs, table | {"search": table["search"] | {"keep_models": False}}, files=FILES)
    tracked = read_study(runs, "tiny")
    saved = {path.parent.name for path in runs.results("tiny").glob(f"*/{results.MODEL}")}
    assert saved == {one.trial.key for one in tracked.trials if one.trial.phase != Phase.SEARCH}
    assert {one.trial.keeps_model for one in tracked.trials if one.trial.key not in saved} == {False}
    assert conclude(tracked).champion is not None
    assert diagnose(done).findings == []


def test_states_are_told_apart_in_mlflow(runs):
    def curve(config, seed, epoch):
        value = math.nan if config.units[0] % 3 == 0 else 1 - 1 / config.units[0]
        return {"loss": value, "accuracy": value, "val_loss": value, "val_accuracy": value}

    fake_sweep(runs, tiny_table(search={**tiny_table()["search"], "trials": 20}), curve=curve)
    searched = read_study(runs, "tiny").searched
    client = open_client(runs)
    statuses = {(one.state, client.get_run(one.run_id).info.status) for one in searched}
    assert statuses == {("complete", "FINISHED"), ("failed", "FAILED"), ("pruned", "KILLED")}
    assert all(one.reason.startswith("nan") for one in searched if one.state == "failed")
    assert len(searched) == 21  # a trial that fails by itself is spent


def test_without_validation_rows_the_baselines_alone_are_confirmed(runs):
    table = tiny_table(
        data={"source": "tiny.npz", "validation_rows": 0}, space=None, search=None, training={"max_epochs": 2}
    )

    def curve(config, seed, epoch):
        return {"loss": 0.1, "accuracy": 0.9}

    fake_sweep(runs, table, curve=curve)
    found = read_study(runs, "tiny")
    assert len(found.searched) == 0
    assert [one.trial.name for one in found.replicates] == ["by hand", "by hand"]


def test_mlflow_out_of_order_costs_no_training_and_the_next_start_catches_up(runs):
    good = runs.mlflow_db.read_bytes()
    runs.mlflow_db.write_bytes(b"not a database" * 1000)
    with pytest.raises(TrackingError, match=r"^9 runs are not tracked yet: .* nothing is lost"):
        fake_sweep(runs)
    runs.mlflow_db.write_bytes(good)
    heard = []
    fake_sweep(runs, watch=lambda trial, event: heard.append(trial))
    assert heard == []
    assert len(read_study(runs, "tiny").searched) == N_TRIALS


def test_a_second_coordinator_is_refused_with_the_name_of_the_first(runs):
    with (
        hold(runs.results("tiny") / ".lock"),
        pytest.raises(StudyInUseError, match=r"host .*, pid \d+, since"),
    ):
        fake_sweep(runs)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 8}, "seed: 7 -> 8"),
        ({"objective": "val_loss"}, "objective: 'val_accuracy' -> 'val_loss'"),
        ({"training": {"max_epochs": 6}}, "training.max_epochs: 5 -> 6"),
    ],
)
def test_a_changed_study_under_the_same_name_stops_with_what_changed(runs, changes, named):
    fake_sweep(runs)
    with pytest.raises(ChangedStudyError, match=named):
        fake_sweep(runs, tiny_table(**changes))


def test_results_of_another_record_are_refused_and_not_taken_for_those_of_this_one(runs, migrated):
    fake_sweep(runs)
    shutil.copy(migrated.optuna_db, runs.optuna_db)
    with pytest.raises(
        RecordError, match=r"replicate-00000: a result of no recorded trial, \d+ in all: .* another --runs-dir"
    ):
        fake_sweep(runs)


class Crash(Exception):
    """Stands for a SIGKILL: nothing is done after it."""


class CrashingExecutor(FakeExecutor):
    """Dies when it holds its third result, before returning it."""

    n_results_before_crash = 3

    def wait(self, timeout_s):
        event = super().wait(timeout_s)
        if isinstance(event, TrialResult):
            self.n_results_before_crash -= 1
            if self.n_results_before_crash == 0:
                raise Crash
        return event


def crash(runs):
    """Run the tiny study until three results are durable and only two of them recorded."""
    asked = job(runs)
    crashing = replace(fake_runtime(asked.study), start_executor=lambda folder: CrashingExecutor(folder))
    with pytest.raises(Crash):
        run_study(asked, crashing)
    told = set(runs.results("tiny").glob("*/result.json"))
    assert len(told) == 3


def test_a_trial_that_was_trained_and_not_told_is_not_trained_again(runs):
    crash(runs)
    started = []
    fake_sweep(runs, watch=lambda trial, event: started.append(trial.key) if event is None else None)
    found = read_study(runs, "tiny")
    assert len(found.searched) == N_TRIALS
    assert len([key for key in started if key.startswith("trial")]) == N_TRIALS - 3


def test_a_damaged_result_stops_the_start_and_is_named(runs):
    crash(runs)
    for result in runs.results("tiny").glob("*/result.json"):
        result.write_text(result.read_text()[:-20])
    with pytest.raises(DamagedResultError, match=r"trial-0000\d: cannot be read .*remove it and it is trained again"):
        fake_sweep(runs)


def test_a_model_that_was_damaged_before_it_was_scored_is_not_scored(runs):
    def fail(models):
        raise WorkersError("scoring ended with exit code 1")

    asked = job(runs)
    runtime = fake_runtime(asked.study, files=FILES)
    with pytest.raises(WorkersError):
        run_study(asked, replace(runtime, score=fail))
    damaged = runs.results("tiny") / "replicate-00003" / results.MODEL
    damaged.write_bytes(b"another model")
    again = replace(runtime, score=lambda models: pytest.fail("it was scored"))
    with pytest.raises(DamagedResultError, match=r"replicate-00003/model\.keras: not what was written"):
        run_study(asked, again)


def test_a_coordinator_that_lost_its_study_stops_while_it_waits_and_tracks_nothing(runs, monkeypatch):
    """What it hears of the server between two events is all it looks at: a trial may take an hour."""

    class Lost(FileHold):
        is_lost = False

        def poll(self):
            if self.is_lost:
                raise LostStudyError("lost")

        check = poll

    held = Lost()

    class Waiting(FakeExecutor):
        """Trains for ever, and its study is lost meanwhile."""

        n_waits = 0

        def wait(self, timeout_s):
            held.is_lost = True
            self.n_waits += 1
            assert self.n_waits < 3, "it waits on"

    monkeypatch.setattr("sweep.coordinator.hold_study", lambda runs, name: nullcontext(held))
    asked = job(runs)
    runtime = replace(fake_runtime(asked.study), start_executor=lambda folder: Waiting(folder))
    with pytest.raises(LostStudyError, match=r"^lost$"):
        run_study(asked, runtime)
