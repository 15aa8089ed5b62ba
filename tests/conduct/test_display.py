"""The counts, the best value and the time left that a running sweep shows."""

import logging
from dataclasses import replace

import pytest
from rich.console import Console

from sweep.conduct.display import Display, Planned, Progress
from sweep.record.trials import RecordedTrial
from sweep.study.config import Config
from sweep.study.file import parse_study
from sweep.trial import EpochReport, Phase, State, Trial, TrialResult, WorkerDied
from tests.studies import tiny_table

CONFIG = Config(units=(8,), dropout=0.0, batch_size=32, learning_rate=0.001)


def trial(number, phase=Phase.SEARCH):
    return Trial(
        number=number, phase=phase, config=CONFIG, seed=number, replicate=1 if phase == Phase.CONFIRM else None
    )


def result(trial, state=State.COMPLETE, **metrics):
    return TrialResult(key=trial.key, state=state, started_at=0.0, ended_at=1.0, metrics=metrics)


@pytest.fixture
def progress():
    return Progress(parse_study(tiny_table(), "tiny.toml"), planned=Planned(10, None), started_at=100.0)


def test_a_trial_is_running_from_its_submission_to_its_result(progress):
    one = trial(0)
    report = EpochReport(one.key, 1, {"val_accuracy": 0.5})
    for event, running in ((None, (one, None)), (report, (one, report)), (WorkerDied(one.key, "killed"), (one, None))):
        progress.hear(one, event)
        assert progress.running == {one.key: running}
    progress.hear(one, result(one, val_accuracy=0.5))
    assert progress.running == {}
    assert progress.n_ended == {State.COMPLETE: 1, State.PRUNED: 0, State.FAILED: 0}


def test_the_best_is_that_of_a_complete_searched_trial(progress):
    first, better, pruned, replicate = trial(0), trial(1), trial(2), trial(0, Phase.CONFIRM)
    progress.hear(first, result(first, val_accuracy=0.7))
    progress.hear(better, result(better, val_accuracy=0.8))
    progress.hear(pruned, result(pruned, State.PRUNED, val_accuracy=0.9))
    progress.hear(replicate, result(replicate, val_accuracy=0.9))
    assert progress.best == (better, 0.8)


def test_trials_of_earlier_commands_count_as_ended_and_not_towards_the_pace(progress):
    progress.remember([RecordedTrial(trial(0), State.COMPLETE, 0.9), RecordedTrial(trial(1), None, None)])
    assert progress.n_ended[State.COMPLETE] == 1
    assert progress.best == (trial(0), 0.9)
    assert progress.remaining_s(110.0) is None
    progress.hear(trial(2), result(trial(2), val_accuracy=0.5))
    assert progress.remaining_s(110.0) == 10.0 * 8  # 10 s for the one trial of this command, 8 of 10 are left


@pytest.mark.parametrize(("sampler", "ending"), [("freeze_thaw", "probed"), ("tpe", "pruned")])
def test_a_search_by_probes_calls_a_trial_that_ended_at_its_rung_probed(sampler, ending, caplog):
    caplog.set_level(logging.INFO)
    table = tiny_table(search={"sampler": sampler, "trials": 9}, training={"max_epochs": 20})
    display, one = Display(parse_study(table, "tiny.toml"), Console()), trial(0)
    display.watch(one, None)
    history = ({"val_accuracy": 0.5, "val_loss": 1.0},)
    display.watch(one, replace(result(one, State.PRUNED), history=history, best_epoch=1))
    assert f"{ending}, val_accuracy 0.5000, val_loss 1.0000 at epoch 1 of 1" in caplog.text
