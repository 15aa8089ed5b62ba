"""MLflow takes nothing from a coordinator that has lost its study, not even what it was about to write when it was frozen."""

import pytest

from sweep.errors import LostStudyError
from sweep.track.client import open_client
from sweep.track.guard import guard_client
from sweep.track.mlflow_api import MlflowException
from sweep.track.tables import find_engine_of_client


class LosesIt:
    """A check that passes `n` times; the study is lost from then on."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise LostStudyError("lost")


def guarded(runs, n):
    return guard_client(open_client(runs), LosesIt(n), find_engine_of_client(runs))


@pytest.mark.parametrize("n", [0, 1], ids=["before the call", "before its commit"])
def test_a_call_writes_nothing_where_the_study_is_lost(runs, n):
    with pytest.raises(LostStudyError):
        guarded(runs, n).create_experiment("late")
    assert open_client(runs).get_experiment_by_name("late") is None


def test_a_call_of_a_study_that_is_held_writes_and_others_are_not_asked_afterwards(runs):
    client = guarded(runs, 10)
    client.create_experiment("in time")
    client._check_hold.left = 0
    assert open_client(runs).get_experiment_by_name("in time").lifecycle_stage == "active"
    open_client(runs).create_experiment("of another")


def test_an_error_of_mlflow_stays_what_it_is(runs):
    client = guarded(runs, 10)
    client.create_experiment("twice")
    with pytest.raises(MlflowException, match="already exists"):
        client.create_experiment("twice")
