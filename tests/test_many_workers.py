"""1,000 trials on 16 workers, with others that look at the record meanwhile: exact numbers on either kind of record."""

import threading
from collections import Counter
from contextlib import contextmanager

import pytest

from sweep.coordinator import open_records
from sweep.record.hold import hold_study
from sweep.record.storage import count_recorded
from sweep.trial import Phase, State
from tests.studies import fake_sweep, job, tiny_table

N_TRIALS, N_WORKERS, N_READERS = 1000, 16, 2
SEARCH = {"trials": N_TRIALS, "workers": N_WORKERS, "sampler": "random"}


@contextmanager
def readers(where):
    """Count the trials of the record again and again; yield the errors that this meets."""
    over, errors = threading.Event(), []

    def count():
        while not over.wait(0.05):
            try:
                count_recorded(where, "tiny")
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(N_READERS)]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.faults
@pytest.mark.parametrize("place", ["runs", "runs_on_server"])
def test_a_thousand_trials_on_sixteen_workers_are_recorded_once_each(request, place):
    runs = request.getfixturevalue(place)
    table = tiny_table(search=SEARCH)
    started = Counter()

    def watch(trial, event):
        started[trial.key] += event is None

    with readers(runs.record) as errors:
        fake_sweep(runs, table, n_slots=N_WORKERS, watch=watch)
    assert errors == []
    with hold_study(runs, "tiny") as held:
        search, confirmation = open_records(job(runs, table), held)
    assert Counter(one.trial.phase for one in search.trials.values()) == {Phase.SEARCH: N_TRIALS, Phase.BASELINE: 1}
    assert {one.state for one in search.trials.values()} == {State.COMPLETE}
    assert [one.trial.number for one in search.trials.values()] == list(range(N_TRIALS + 1))
    assert len({one.trial.config for one in search.trials.values()}) == N_TRIALS + 1
    assert set(started.values()) == {1}
    assert len(started) == len(search.trials) + len(confirmation.trials)
    assert count_recorded(runs.record, "tiny") == len(started)
