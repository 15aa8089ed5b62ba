"""Every executor keeps to the protocol of `sweep/execute/executor.py`; processes are real, engines train nothing."""

import os
import time
from functools import partial
from itertools import count
from multiprocessing import resource_tracker

import pytest

from sweep.data.prepared import PreparedData
from sweep.execute.cluster.bridge import BridgeOptions
from sweep.execute.cluster.executor import ClusterExecutor
from sweep.execute.cluster.link import Link, start_bridge
from sweep.execute.cluster.messages import Assignment
from sweep.execute.cohort_process import CohortOptions
from sweep.execute.cohorts import CohortExecutor
from sweep.execute.fake import FakeExecutor
from sweep.execute.tabular import TabularExecutor, VirtualClock
from sweep.execute.worker import WorkerOptions
from sweep.execute.workers import WorkerExecutor
from sweep.record import results
from sweep.study.config import Config
from sweep.study.training import Training
from sweep.trial import CohortReport, EpochReport, Phase, State, Trial, TrialResult
from tests.execute.engines import (
    DIVERGING,
    MAX_EPOCHS,
    load_fake_cluster,
    make_logs,
    no_rows,
    start_cohort_engine,
    start_cohorts,
    start_engine,
    start_workers,
)
from tests.execute.processes import find_descendants, is_running
from tests.studies import FACTS, FILES

BOUND = 2  # trials of the search at a time
CONFIG = Config(units=(8,), dropout=0.2, batch_size=32, learning_rate=0.01)


def start_executor(kind, folder):
    """Start an executor of BOUND slots that puts its results into `folder / "results"`."""
    data = PreparedData(folder / "none", FACTS)
    options = {"data": data, "training": Training(max_epochs=MAX_EPOCHS), "provenance": {"git_commit": "none"}}
    options |= {"results": folder / "results", "logs": folder / "logs"}
    match kind:
        case "fake":
            return FakeExecutor(folder / "results", MAX_EPOCHS, BOUND, make_logs, FILES)
        case "tabular":
            training = options["training"]
            return TabularExecutor(folder / "results", training, make_logs, BOUND, VirtualClock(), FILES)
        case "workers":
            return WorkerExecutor(WorkerOptions(**options, start_engine=start_engine), BOUND)
        case "cohorts":
            programs = folder / "programs"
            return CohortExecutor(CohortOptions(**options, programs=programs, start_engine=start_cohort_engine), BOUND)
        case "cluster":
            return start_fake_cluster(folder, (1, 1), start_workers)
        case "cluster of cohorts":
            return start_fake_cluster(folder, (1,), start_cohorts)


def start_fake_cluster(folder, machines, start):
    """Start the executor on machines with these numbers of cores, and wait until all are there."""
    options = BridgeOptions(
        load_cluster=partial(load_fake_cluster, machines, folder / "scratch"),
        assignment=Assignment(study="tiny", facts=FACTS, start=start),
        rows=no_rows,
        log=folder / "logs" / "bridge.log",
    )
    link = Link("a fake cluster", partial(start_bridge, options), options.log)
    executor = ClusterExecutor(link, folder / "results", None, {})
    deadline = time.monotonic() + 60
    while executor.n_machines < len(machines):
        assert executor.wait(0.1) is None
        assert time.monotonic() < deadline, "the machines are not there"
    return executor


@pytest.fixture(scope="module", params=["fake", "tabular", "workers", "cohorts", "cluster", "cluster of cohorts"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return tmp_path_factory.mktemp(kind)


@pytest.fixture(scope="module")
def started(kind, folder):
    executor = start_executor(kind, folder)
    yield executor
    executor.close()


@pytest.fixture
def executor(started):
    assert started.n_running == 0, "an earlier test left trials running"
    return started


numbers = count()


def new_trial(phase=Phase.SEARCH, config=CONFIG, rungs=()):
    number = next(numbers)
    replicate = 1 if phase == Phase.CONFIRM else None
    return Trial(number=number, phase=phase, config=config, seed=number, replicate=replicate, rungs=rungs)


def next_event(executor, within_s=60.0):
    deadline = time.monotonic() + within_s
    while (event := executor.wait(1.0)) is None:
        assert time.monotonic() < deadline, f"no event within {within_s} s"
    return event


def reports_in(event):
    match event:
        case EpochReport():
            return [event]
        case CohortReport(reports):
            return list(reports)
        case _:
            return []


def run(executor, trials, verdict=lambda report: True):
    """Run `trials` to their ends; return their reports, in order, and their results by key. `verdict` answers at rungs."""
    for trial in trials:
        executor.submit(trial)
    reports, ended = [], {}
    while executor.n_running:
        event = next_event(executor)
        for report in reports_in(event):
            reports.append(report)
            if report.waits:
                executor.answer(report.key, verdict(report))
        if isinstance(event, TrialResult):
            assert event.key not in ended
            ended[event.key] = event
    return reports, ended


def test_it_takes_trials_up_to_its_bound_and_again_once_they_have_ended(executor):
    trials = [new_trial() for _ in range(BOUND)]
    for trial in trials:
        assert executor.takes(trial)
        executor.submit(trial)
    assert not executor.takes(new_trial())
    _, ended = run(executor, [])
    assert ended.keys() == {trial.key for trial in trials}
    assert executor.takes(new_trial())


def test_a_trial_counts_as_running_from_its_submission_until_its_result_is_returned(executor):
    n_running = 0
    for _ in range(BOUND):
        executor.submit(new_trial())
        n_running += 1
        assert executor.n_running == n_running
    while n_running:
        n_running -= isinstance(next_event(executor), TrialResult)
        assert executor.n_running == n_running


def test_epochs_are_reported_in_order_each_once_before_the_result_that_holds_them(executor):
    trials = [new_trial(rungs=(1, 3)) for _ in range(BOUND)]
    reports, ended = run(executor, trials)
    for trial in trials:
        mine = [report for report in reports if report.key == trial.key]
        assert [report.epoch for report in mine] == [1, 2, 3, 4]
        assert [report.waits for report in mine] == [True, False, True, False]
        assert [report.logs for report in mine] == ended[trial.key].history
        assert ended[trial.key].state == State.COMPLETE


def test_at_a_rung_a_trial_waits_for_its_verdict_and_ends_there_if_that_is_no(executor):
    trial = new_trial(rungs=(2,))
    executor.submit(trial)
    while not any(report.waits for report in reports_in(next_event(executor))):
        pass
    assert executor.wait(0.3) is None
    assert executor.n_running == 1
    executor.answer(trial.key, False)
    _, ended = run(executor, [])
    assert (ended[trial.key].state, len(ended[trial.key].history)) == (State.PRUNED, 2)


def test_a_verdict_is_for_one_trial_alone(executor):
    stopped, other = new_trial(rungs=(1,)), new_trial(rungs=(1,))
    _, ended = run(executor, [stopped, other], verdict=lambda report: report.key == other.key)
    assert {key: result.state for key, result in ended.items()} == {
        stopped.key: State.PRUNED,
        other.key: State.COMPLETE,
    }


@pytest.mark.parametrize("phase", Phase)
def test_a_result_of_any_phase_is_durable_when_it_is_returned(executor, folder, phase):
    trial = new_trial(phase)
    executor.submit(trial)
    while not isinstance(event := next_event(executor), TrialResult):
        pass
    assert (event.key, event.state) == (trial.key, State.COMPLETE)
    assert results.load(folder / "results" / trial.key) == event
    assert event.files.keys() == {results.HISTORY, *FILES}


def test_a_trial_that_diverges_has_a_result_that_says_so_and_the_next_one_runs(executor, folder):
    failing, sound = new_trial(config=DIVERGING), new_trial()
    _, ended = run(executor, [failing])
    result = ended[failing.key]
    assert (result.state, len(result.history)) == (State.FAILED, 2)
    assert result.reason.startswith("nan: ")
    assert results.load(folder / "results" / failing.key).reason == result.reason
    _, ended = run(executor, [sound])
    assert ended[sound.key].state == State.COMPLETE


def test_without_an_event_wait_returns_none_after_its_timeout(executor):
    began = time.monotonic()
    assert executor.wait(0.2) is None
    assert time.monotonic() - began < 5


def test_closing_stops_what_runs_at_once_and_leaves_no_process_behind(kind, tmp_path):
    resource_tracker.ensure_running()  # it serves the whole test process, and stays
    before = find_descendants(os.getpid())
    executor = start_executor(kind, tmp_path)
    try:
        run(executor, [new_trial()])  # whatever is started for a result has been started
        executor.submit(new_trial(rungs=(1,)))
        while not any(report.waits for report in reports_in(next_event(executor))):
            pass
        started = find_descendants(os.getpid()) - before
        assert started or kind in ("fake", "tabular")
    finally:
        executor.close()
    deadline = time.monotonic() + 10
    while (left := set(filter(is_running, started))) and time.monotonic() < deadline:
        time.sleep(0.05)  # a killed grandchild may take a moment
    assert left == set()
