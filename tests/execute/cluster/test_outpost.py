"""What an outpost says and forgets, and the folder that it works in. Its workers are real and train nothing."""

import time

import pytest

from sweep.execute.cluster.messages import Answer, Assignment, Kill, Submit
from sweep.execute.cluster.outpost import BrokenOutpostError, Outpost
from sweep.execute.cluster.scratch import open_scratch
from sweep.trial import EpochReport, Phase, Trial, TrialResult, WorkerDied
from tests.execute.cluster.test_rules import CONFIG
from tests.execute.engines import start_workers
from tests.studies import FACTS, FILES


def trial(number, rungs=()):
    return Trial(number=number, phase=Phase.SEARCH, config=CONFIG, seed=number, rungs=rungs)


def start_nothing(place, provenance, n_workers):
    raise OSError("no space left")


@pytest.fixture
def start(tmp_path):
    """Start an outpost with one worker, and close it in the end."""
    started = []

    def start_outpost(start=start_workers, rows=None):
        assignment = Assignment(study="tiny", facts=FACTS, start=start)
        started.append(Outpost(assignment, lambda: rows or {}, 1, tmp_path / "outposts"))
        return started[-1]

    yield start_outpost
    for outpost in started:
        outpost.close()


def hear_until(outpost, kind, acknowledged=0):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        said = outpost.hear(acknowledged, 1.0)
        if said and isinstance(said[-1].event, kind):
            return said
    raise AssertionError(f"no {kind.__name__}")


def test_what_was_said_is_said_again_until_it_is_acknowledged_and_then_its_files_are_removed(start, tmp_path):
    outpost = start()
    outpost.order(1, (Submit(trial(0)),))
    said = hear_until(outpost, TrialResult)
    assert [one.number for one in said] == [1, 2, 3, 4, 5]
    assert outpost.hear(0, 1.0) == said
    assert outpost.hear(4, 1.0) == said[4:]
    assert said[-1].files.keys() == said[-1].event.files.keys() >= FILES.keys()
    [folder] = (tmp_path / "outposts").glob("*/results/trial-00000")
    assert outpost.hear(5, 0.0) == ()
    assert not folder.exists()


def test_orders_that_come_twice_are_followed_once(start):
    outpost = start()
    for _ in range(2):
        outpost.order(1, (Submit(trial(0)),))
    said = hear_until(outpost, TrialResult)
    outpost.order(2, (Submit(trial(1)),))
    said = hear_until(outpost, TrialResult, said[-1].number)
    assert {one.event.key for one in said} == {"trial-00001"}


def test_a_verdict_reaches_the_trial_that_waits_for_it(start):
    outpost = start()
    outpost.order(1, (Submit(trial(0, rungs=(2,))),))
    hear_until(outpost, EpochReport, 1)
    outpost.order(2, (Answer("trial-00000", False),))
    assert len(hear_until(outpost, TrialResult)[-1].event.history) == 2


def test_a_worker_that_is_ordered_to_be_killed_is_reported_dead(start):
    outpost = start()
    outpost.order(1, (Submit(trial(0, rungs=(1,))),))
    hear_until(outpost, EpochReport)
    outpost.order(2, (Kill("trial-00000"),))
    assert hear_until(outpost, WorkerDied)[-1].event.key == "trial-00000"


def test_an_outpost_that_cannot_start_says_why(start):
    outpost = start(start_nothing)
    with pytest.raises(BrokenOutpostError, match="OSError: no space left"):
        outpost.describe()
    with pytest.raises(BrokenOutpostError, match="OSError: no space left"):
        outpost.hear(0, 1.0)


def test_it_describes_its_machine_and_keeps_the_rows_on_its_disk(start, tmp_path):
    outpost = start(rows={"train/x.npy": b"rows"})
    described = outpost.describe()
    assert (described.capacity.n_slots, described.provenance["host"]) == (1, described.host)
    assert described.provenance.keys() > {"git_commit", "version_tensorflow", "processor"}
    [rows] = (tmp_path / "outposts").glob("*/rows/train/x.npy")
    assert rows.read_bytes() == b"rows"
    outpost.close()
    assert list((tmp_path / "outposts").iterdir()) == []


def test_folders_of_dead_outposts_are_removed_and_those_of_living_ones_are_not(tmp_path):
    dead = tmp_path / "tiny-dead"
    dead.mkdir()
    (dead / ".lock").touch()
    with open_scratch(tmp_path, "tiny") as living, open_scratch(tmp_path, "tiny") as other:
        assert set(tmp_path.iterdir()) == {living, other}
