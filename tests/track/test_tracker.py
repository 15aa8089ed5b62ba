"""The writer thread, on a projection that fails as it is told to."""

import logging
import threading

import pytest

from sweep.errors import DamagedResultError, LostStudyError, TrackingError
from sweep.study.config import Config
from sweep.track.tracker import Tracker
from sweep.trial import Trial

CONFIG = Config(units=(8,), dropout=0.2, batch_size=32, learning_rate=0.01)
FOREVER_S = 1e6  # no test waits for a retry by the clock


def trial(number):
    return Trial(number=number, phase="search", config=CONFIG, seed=1)


class Projection:
    """Takes trials, once it has raised every error it was given."""

    at_once = 2

    def __init__(self, errors=()):
        self.errors = list(errors)
        self.written = []
        self.status = None
        self.n_opened = 0
        self.has_three = threading.Event()

    def open(self):
        self.n_opened += 1
        return self

    def lacks(self, trial):
        return trial.number not in self.written

    def write(self, ended):
        for one in ended:
            if self.errors and (error := self.errors.pop(0)) is not None:
                raise error
            self.written.append(one.trial.number)
            if len(self.written) == 3:
                self.has_three.set()

    def close(self, status):
        self.status = status


def track(projection, n=3, **options):
    tracker = Tracker(projection.open, **options)
    for number in range(n):
        tracker.track(trial(number), lambda: (None, None))
    return tracker


def test_everything_is_written_in_order_and_then_closed():
    projection = Projection()
    assert track(projection).close("FINISHED") is None
    assert (projection.written, projection.status) == ([0, 1, 2], "FINISHED")


def test_what_could_not_be_written_is_written_when_it_can_be_again():
    projection = Projection([None, TrackingError("away"), TrackingError("still away")])
    tracker = track(projection, retry_s=0)
    assert projection.has_three.wait(60)
    assert tracker.close("FINISHED") is None
    assert projection.written == [0, 1, 2]
    assert projection.n_opened == 3


def test_closing_tries_once_more_and_says_how_many_are_left():
    projection = Projection([TrackingError("away")] * 100)
    trouble = track(projection, retry_s=FOREVER_S).close("FINISHED")
    assert isinstance(trouble, TrackingError)
    assert str(trouble).startswith("3 runs are not tracked yet: away; nothing is lost: `python -m sweep sync`")
    assert projection.n_opened == 2
    assert projection.status is None


def test_how_far_mlflow_is_behind_is_said_once_a_minute(caplog):
    projection, all_wait = Projection(), threading.Event()
    projection.at_once = 1
    times = iter([0] * 6 + [59, 60, 119, 121, 200, 200])  # six are handed over, then each is written

    def open_late():
        all_wait.wait()
        return projection

    with caplog.at_level(logging.INFO, logger="sweep"):
        tracker = Tracker(open_late, clock=lambda: next(times))
        for number in range(6):
            tracker.track(trial(number), lambda: (None, None))
        all_wait.set()
        tracker.close("FINISHED")
    assert [record.message for record in caplog.records] == [
        "MLflow is 60 s behind; trials without a run so far: 4",
        "MLflow is 121 s behind; trials without a run so far: 2",
        "MLflow is 200 s behind; trials without a run so far: 1",
    ]


def test_a_damaged_result_is_told_and_the_others_are_written():
    def damaged():
        raise DamagedResultError("trial-00001: damaged")

    projection = Projection()
    tracker = Tracker(projection.open)
    for number, load in enumerate([lambda: (None, None), damaged, lambda: (None, None)]):
        tracker.track(trial(number), load)
    damage = tracker.close("FINISHED")
    assert isinstance(damage, DamagedResultError)
    assert (projection.written, projection.status) == ([0, 2], "FINISHED")


def test_our_own_mistake_is_raised_where_it_is_seen():
    tracker = track(Projection([ZeroDivisionError("ours")]))
    with pytest.raises(ZeroDivisionError, match="ours"):
        tracker.close("FINISHED")


def test_closing_waits_no_longer_than_it_should():
    released = threading.Event()

    class Stuck(Projection):
        def write(self, ended):
            released.wait()
            super().write(ended)

    projection = Stuck()
    tracker = track(projection, n=1)
    assert tracker.close("KILLED", gives_up=lambda: True) is None
    assert projection.written == []
    released.set()
    assert tracker.close("KILLED") is None
    assert (projection.written, projection.status) == ([0], "KILLED")


@pytest.mark.parametrize(("n_checks", "n_opened"), [(0, 0), (1, 1)])
def test_nothing_is_written_once_the_study_is_lost(n_checks, n_opened):
    left = iter(range(n_checks))

    def check_hold():
        if next(left, None) is None:
            raise LostStudyError("lost")

    projection = Projection()
    tracker = track(projection, check_hold=check_hold)
    with pytest.raises(LostStudyError):
        tracker.close("FAILED")
    assert (projection.written, projection.status, projection.n_opened) == ([], None, n_opened)


def test_the_parent_run_is_not_ended_once_the_study_is_lost():
    is_lost = threading.Event()

    class Losing(Projection):
        def write(self, ended):
            super().write(ended)
            is_lost.set()

    def check_hold():
        if is_lost.is_set():
            raise LostStudyError("lost")

    projection = Losing()
    tracker = track(projection, n=2, check_hold=check_hold)
    with pytest.raises(LostStudyError):
        tracker.close("FINISHED")
    assert (projection.written, projection.status) == ([0, 1], None)
