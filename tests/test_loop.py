from pathlib import Path

import pytest

from sweep.errors import Interrupted
from sweep.execute.fake import FakeExecutor
from sweep.loop import run_trials
from sweep.record.recover import MAX_DEATHS
from sweep.record.trials import Record
from sweep.search.sources import SearchSource
from sweep.study.config import Config
from sweep.study.file import parse_study
from sweep.trial import EpochReport, Phase, State, Trial, TrialResult, WorkerDied
from tests.studies import FACTS, tiny_table


class ListSource:
    """Supplies trials from a list, and keeps the results and reports that it is given."""

    def __init__(self, n, rungs=()):
        config = Config(units=(8,), dropout=0.0, batch_size=32, learning_rate=0.001)
        self.waiting = [Trial(number=i, phase=Phase.SEARCH, config=config, seed=i, rungs=rungs) for i in range(n)]
        self.by_key = {trial.key: trial for trial in self.waiting}
        self.told = []
        self.asked = []

    def next(self):
        return self.waiting.pop(0) if self.waiting else None

    def judge(self, reports):
        self.asked += [(report.key, report.epoch) for report in reports]
        return {report.key: report.key != "trial-00001" for report in reports}

    def tell(self, result):
        self.told.append(result)
        return self.by_key[result.key]


def run(source, executor, watch=lambda trial, event: None, **options):
    tracked = []
    run_trials(
        source, lambda: executor, lambda trial, result: tracked.append((trial.key, result.key)), watch, **options
    )
    return tracked


def test_every_trial_is_told_and_tracked_once(tmp_path):
    source = ListSource(7)
    tracked = run(source, FakeExecutor(tmp_path, n_slots=3))
    keys = [f"trial-{i:05d}" for i in range(7)]
    assert sorted(result.key for result in source.told) == keys
    assert sorted(tracked) == [(key, key) for key in keys]


def test_no_executor_is_started_for_nothing(tmp_path):
    def start():
        raise AssertionError("started")

    run_trials(ListSource(0), start, lambda trial, result: None, lambda trial, event: None)


def test_a_trial_is_pruned_at_its_rung_and_the_others_go_on(tmp_path):
    source = ListSource(3, rungs=(2,))
    run(source, FakeExecutor(tmp_path, max_epochs=5))
    assert sorted(source.asked) == [(f"trial-{i:05d}", 2) for i in range(3)]
    assert {r.key: (r.state, len(r.history)) for r in source.told} == {
        "trial-00000": (State.COMPLETE, 5),
        "trial-00001": (State.PRUNED, 2),
        "trial-00002": (State.COMPLETE, 5),
    }


def test_a_freed_slot_is_filled_before_the_ended_trial_is_told(tmp_path):
    order = []
    source = ListSource(4)
    source.tell = lambda result: order.append(("told", result.key)) or source.by_key[result.key]
    run(
        source,
        FakeExecutor(tmp_path, n_slots=1),
        lambda trial, event: order.append(("start", trial.key)) if event is None else None,
    )
    assert order[:3] == [("start", "trial-00000"), ("start", "trial-00001"), ("told", "trial-00000")]


def test_an_interruption_stops_between_events(tmp_path):
    countdown = iter(range(4))
    source = ListSource(5)
    with pytest.raises(Interrupted):
        run(source, FakeExecutor(tmp_path), is_interrupted=lambda: next(countdown, None) is None)
    assert source.told == []


class DyingExecutor(FakeExecutor):
    """Kills each of the first `n_deaths` attempts at trial 2 after an epoch."""

    def __init__(self, folder: Path, n_deaths: int, blames_trial: bool = True) -> None:
        super().__init__(folder)
        self.n_deaths = n_deaths
        self.blames_trial = blames_trial

    def wait(self, timeout_s):
        event = super().wait(timeout_s)
        if isinstance(event, EpochReport) and event.key == "trial-00002" and self.n_deaths:
            self.n_deaths -= 1
            self._running = type(self._running)(pair for pair in self._running if pair[0].key != event.key)
            return WorkerDied(event.key, "its worker was killed by signal 9", self.blames_trial)
        return event


def search(runs):
    """Return the source of the tiny study's search: a baseline, then four trials."""
    study = parse_study(tiny_table(search={"trials": 4, "sampler": "random"}), "tiny.toml")
    record = Record.open(runs.optuna_db, study, Phase.SEARCH, FACTS)
    return SearchSource(study, record, runs.results("tiny"))


@pytest.mark.parametrize(
    ("n_deaths", "state"), [(1, State.COMPLETE), (MAX_DEATHS - 1, State.COMPLETE), (MAX_DEATHS, State.FAILED)]
)
def test_a_trial_whose_worker_dies_is_tried_again_and_then_given_up(runs, n_deaths, state):
    results = {}
    run_trials(
        search(runs),
        lambda: DyingExecutor(runs.results("tiny"), n_deaths),
        lambda trial, result: results.update({trial.key: (trial.attempt, result)}),
        lambda trial, event: None,
    )
    attempt, result = results["trial-00002"]
    assert (attempt, result.state) == (min(n_deaths + 1, MAX_DEATHS), state)
    assert len(results) == 5
    assert isinstance(result, TrialResult)
    if state == State.FAILED:
        assert result.reason == "its worker was killed by signal 9, 3 times in a row"


def test_a_trial_whose_machine_is_lost_is_tried_again_however_often(runs):
    results = {}
    run_trials(
        search(runs),
        lambda: DyingExecutor(runs.results("tiny"), 2 * MAX_DEATHS, blames_trial=False),
        lambda trial, result: results.update({trial.key: (trial.attempt, result.state)}),
        lambda trial, event: None,
    )
    assert results["trial-00002"] == (2 * MAX_DEATHS + 1, State.COMPLETE)


class EndsAndDies(FakeExecutor):
    """Once, when a trial ends, the other trial's worker dies at the same moment: two slots are free, one event waits."""

    died: WorkerDied | None = None
    has_died = False

    def wait(self, timeout_s):
        if self.died is not None:
            event, self.died = self.died, None
            return event
        event = super().wait(timeout_s)
        if isinstance(event, TrialResult) and self._running and not self.has_died:
            self.has_died = True
            self.died = WorkerDied(self._running.popleft()[0].key, "its worker was killed by signal 9")
        return event

    @property
    def n_running(self):
        return super().n_running + (self.died is not None)


def test_a_slot_of_a_dead_worker_may_be_taken_before_its_death_is_heard(runs):
    states = {}
    run_trials(
        search(runs),
        lambda: EndsAndDies(runs.results("tiny")),
        lambda trial, result: states.update({trial.key: result.state}),
        lambda trial, event: None,
    )
    assert len(states) == 5
    assert set(states.values()) == {State.COMPLETE}


def test_stops_of_the_coordinator_are_not_deaths_of_a_worker(runs):
    source = search(runs)
    cut_off = [source.next() for _ in range(5)]
    for _ in range(4):
        source = search(runs)
    again = source.handle_death(WorkerDied(cut_off[0].key, "its worker was killed by signal 9"))
    assert isinstance(again, Trial)
    assert again.attempt == 6
