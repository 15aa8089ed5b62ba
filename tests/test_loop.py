import sqlite3
from collections import Counter
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from sqlalchemy import event

from sweep.errors import Interrupted
from sweep.execute.fake import FakeExecutor
from sweep.loop import POLL_S, run_trials
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

    def write_together(self):
        return nullcontext()

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


PRUNED = {"pruner": {"kind": "median", "rungs": [1]}}


def search(runs, more=None):
    """Return the source of the tiny study's search: a baseline, then four trials."""
    study = parse_study(tiny_table(search={"trials": 4, "sampler": "random", **(more or {})}), "tiny.toml")
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


class Bursts(FakeExecutor):
    """Gives all events that its trials have ready at once, as many workers do that end together."""

    def wait(self, timeout_s):
        return super().wait(timeout_s or POLL_S)


def read_states(runs):
    """Return the states of trials as another process reads them, by key."""
    with closing(sqlite3.connect(runs.optuna_db)) as connection:
        return {f"trial-{n:05d}": state for n, state in connection.execute("SELECT number, state FROM trials")}


def test_in_a_burst_trials_start_once_claimed_on_disk_and_are_tracked_once_told_there(runs):
    started, tracked = {}, {}

    def watch(trial, event):
        if event is None:
            started[trial.key] = read_states(runs).get(trial.key)

    run_trials(
        search(runs),
        lambda: Bursts(runs.results("tiny"), n_slots=3),
        lambda trial, result: tracked.update({trial.key: read_states(runs).get(trial.key)}),
        watch,
    )
    assert list(started.values()) == ["RUNNING"] * 5
    assert tracked == dict.fromkeys(started, "COMPLETE")


class AnswersSeen(Bursts):
    """Remembers which values at rungs another process can read when a trial is answered."""

    def __init__(self, runs):
        super().__init__(runs.results("tiny"), n_slots=3)
        self.runs = runs
        self.answered = []

    def answer(self, key, goes_on):
        with closing(sqlite3.connect(self.runs.optuna_db)) as connection:
            rows = connection.execute("SELECT number FROM trials JOIN trial_intermediate_values USING (trial_id)")
            self.answered.append(key in {f"trial-{number:05d}" for (number,) in rows})
        super().answer(key, goes_on)


def test_a_verdict_is_given_once_the_value_that_it_rests_on_is_on_disk(runs):
    executor = AnswersSeen(runs)
    run_trials(search(runs, PRUNED), lambda: executor, lambda trial, result: None, lambda trial, event: None)
    assert executor.answered == [True] * 4


class DiesWaiting(FakeExecutor):
    """The first trial that waits for a verdict has lost its worker by the time that it is heard."""

    died: WorkerDied | None = None
    has_died = False

    def wait(self, timeout_s):
        if self.died is not None:
            event, self.died = self.died, None
            self._running = type(self._running)(pair for pair in self._running if pair[0].key != event.key)
            return event
        event = super().wait(timeout_s)
        if isinstance(event, EpochReport) and event.waits and not self.has_died:
            self.has_died, self.died = True, WorkerDied(event.key, "its worker was killed by signal 9")
        return event

    def answer(self, key, goes_on):
        assert key in {trial.key for trial, _ in self._running}, "its worker is gone"
        super().answer(key, goes_on)


def test_a_trial_whose_worker_died_while_it_waited_is_not_answered_and_tried_again(runs):
    attempts = {}
    run_trials(
        search(runs, PRUNED),
        lambda: DiesWaiting(runs.results("tiny")),
        lambda trial, result: attempts.update({trial.key: trial.attempt}),
        lambda trial, event: None,
    )
    assert sorted(attempts.values()) == [1, 1, 1, 1, 2]


def test_what_waits_is_written_in_one_transaction(runs):
    source = search(runs)
    n_commits = [0]
    event.listen(
        source._record._storage.engine, "commit", lambda connection: n_commits.__setitem__(0, n_commits[0] + 1)
    )
    trials = [source.next() for _ in range(3)]
    assert n_commits == [3]
    executor = FakeExecutor(runs.results("tiny"), n_slots=3)
    for trial in trials:
        executor.submit(trial)
    ended = []
    while executor.n_running:
        heard = executor.wait(POLL_S)
        if isinstance(heard, TrialResult):
            ended.append(heard)
    n_commits[0] = 0
    with source.write_together():
        for result in ended:
            source.tell(result)
        source.next()
    assert n_commits == [1]
    assert Counter(read_states(runs).values()) == {"COMPLETE": 3, "RUNNING": 1}


def test_of_what_is_written_together_nothing_stays_where_it_cannot_all_be_written(runs):
    source = search(runs)

    def claim_and_fail():
        with source.write_together():
            source.next()
            source.next()
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        claim_and_fail()
    assert read_states(runs) == {}
    assert search(runs).next().number == 0
