"""Kill at every named point of the write protocol, and then the same command: nothing lost, doubled or left open."""

import random
import re
import signal
from pathlib import Path

import pytest

from tests.faults.checker import check, rows_written
from tests.faults.driver import PROBING, Sweep
from tests.studies import ROOT

ALL_POINTS = sorted(
    {
        point
        for path in (ROOT / "sweep").rglob("*.py")
        for point in re.findall(r'failpoint\("([a-z_.]+)"\)', path.read_text())
    }
)
ON_A_SERVER = [point for point in ALL_POINTS if point.startswith("client.")]  # see test_server.py
OF_DELETE = [point for point in ALL_POINTS if point.startswith("delete.")]  # see test_delete.py
OF_CLUSTERS = [point for point in ALL_POINTS if point.startswith("cluster.")]  # see test_cluster.py
OF_HOLD = [point for point in ALL_POINTS if point.startswith("hold.")]  # see test_record_server.py
POINTS = [point for point in ALL_POINTS if point not in (*ON_A_SERVER, *OF_DELETE, *OF_CLUSTERS, *OF_HOLD)]
SHORT = ["record.told", "track.created", "cohort.epoch"]  # in `make test`
KILLS = [
    pytest.param(point, who, marks=() if point in SHORT and who == "itself" else pytest.mark.faults)
    for who in ("itself", "the other side")
    for point in POINTS
]
ONLY_AFTER_A_CRASH = {"record.restarted"}
ONLY_WITHOUT_A_DATABASE = {"track.database"}
AT_MOST_TWICE = {  # in the life of a process
    *ONLY_AFTER_A_CRASH, *ONLY_WITHOUT_A_DATABASE,
    "data.draft", "data.prepared", "record.created", "record.identified", "track.experiment", "track.parent", "worker.ready",
    "cohort.ready", "announce.noted", "report.published", *(point for point in POINTS if point.startswith(("export.", "register."))),
}  # fmt: skip
# A small sweep is two cohorts, what is searched and what is confirmed, and may be tracked in as few goes.
HITS = dict.fromkeys(("cohort.trials", "track.rows", "track.created", "track.closed"), 2)


def engines(*points: str) -> list[str]:
    """Those that come by one of the points only; none where every engine comes by all."""
    own = {"worker.": "graph", "cohort.": "cohort"}
    return sorted({engine for start, engine in own.items() if any(point.startswith(start) for point in points)})


PAIRS = random.Random(2019).sample([(a, b) for a in POINTS for b in POINTS if len(engines(a, b)) < 2], 50)


@pytest.fixture(scope="session")
def reference(tmp_path_factory, migrated):
    """The results of a sweep that nothing happens to."""
    sweep = Sweep.new(tmp_path_factory.mktemp("reference") / "sweep", migrated)
    assert sweep.run() == 0, sweep.said
    before = rows_written(sweep)
    assert sweep.run() == 0
    assert rows_written(sweep) == before, "a finished study was written to"
    return check(sweep)


@pytest.fixture
def sweep(tmp_path, migrated):
    return Sweep.new(tmp_path / "sweep", migrated)


@pytest.fixture
def reaching(tmp_path, migrated):
    """Makes a sweep that comes by the points that are given: in cohorts where one is theirs, else with workers."""
    return lambda *points: Sweep.new(tmp_path / "sweep", migrated, *engines(*points))


def crash(sweep: Sweep, point: str, action: str = "kill", hit: int = 1) -> int:
    """Kill at `point`, after a first crash where the point is one of recovery; the exit code."""
    if point in ONLY_AFTER_A_CRASH:
        sweep.act_at("record.tell")
    if point in ONLY_WITHOUT_A_DATABASE:
        sweep.runs.mlflow_db.unlink()
    exit_code = sweep.act_at(point, hit, action)
    assert sweep.mark.exists(), f"{point} was not reached:\n{sweep.said}"
    return exit_code


def finish(sweep: Sweep) -> None:
    assert sweep.run() == 0, sweep.said
    assert sweep.run("doctor") == 0, sweep.printed


@pytest.mark.parametrize(("point", "who"), KILLS)
def test_a_kill_of_either_side_at_any_point_costs_nothing(reaching, reference, point, who):
    sweep = reaching(point)
    is_coordinators = not point.startswith(("worker.", "cohort.", "result."))
    other = "kill_child" if is_coordinators else "kill_parent"
    exit_code = crash(sweep, point, "kill" if who == "itself" else other)
    coordinator_dies = is_coordinators == (who == "itself")
    assert exit_code == (-signal.SIGKILL if coordinator_dies else 0), sweep.said
    finish(sweep)
    check(sweep, reference)


@pytest.fixture(scope="session")
def probed(tmp_path_factory, migrated):
    """The results of a search by probes that nothing happens to."""
    sweep = Sweep.new(tmp_path_factory.mktemp("probed") / "sweep", migrated, study=PROBING)
    assert sweep.run() == 0, sweep.said
    return check(sweep)


@pytest.mark.parametrize(
    ("point", "hit"),
    [
        pytest.param(point, hit, marks=() if (point, hit) == ("record.told", 4) else pytest.mark.faults)
        for point in ("record.claimed", "record.rung", "record.tell", "record.told", "result.written", "result.renamed")
        for hit in ((1, 3) if point == "record.rung" else (2, 3, 4, 5, 6))
    ],
)
def test_a_kill_between_a_probe_and_its_promotion_leaves_the_search_as_it_would_have_been(
    tmp_path, migrated, probed, point, hit
):
    sweep = Sweep.new(tmp_path / "sweep", migrated, study=PROBING)
    crash(sweep, point, "kill_parent" if point.startswith("result.") else "kill", hit)
    finish(sweep)
    found = check(sweep, probed)
    assert found.keys() == probed.keys()


@pytest.mark.faults
@pytest.mark.parametrize("action", ["kill", "kill_parent"])
@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("result.")])
def test_a_kill_of_what_writes_for_cohorts_or_of_what_trains_them_costs_nothing(
    tmp_path, migrated, reference, point, action
):
    sweep = Sweep.new(tmp_path / "sweep", migrated, "cohort")
    assert crash(sweep, point, action) == 0, sweep.said
    finish(sweep)
    check(sweep, reference)


@pytest.mark.faults
@pytest.mark.parametrize("point", [p for p in POINTS if p not in AT_MOST_TWICE])
def test_a_kill_at_a_later_hit_costs_nothing(reaching, reference, point):
    sweep = reaching(point)
    crash(sweep, point, hit=HITS.get(point, 3))
    finish(sweep)
    check(sweep, reference)


@pytest.mark.faults
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_kills_in_a_row_cost_nothing(reaching, reference, first, second):
    sweep = reaching(first, second)
    sweep.act_at(first)
    sweep.act_at(second)
    finish(sweep)
    check(sweep, reference)


def test_a_sweep_that_is_cut_off_and_moved_goes_on_where_it_lies_now(sweep, reference, tmp_path):
    sweep.act_at("track.artifacts")
    moved = Sweep(sweep.folder.rename(tmp_path / "elsewhere"), sweep.history)
    finish(moved)
    check(moved, reference)
    assert not sweep.folder.exists()


def test_there_are_points_enough_and_each_stands_once():
    assert len(POINTS) >= 25
    texts = [path.read_text() for path in Path(ROOT / "sweep").rglob("*.py")]
    assert all(sum(text.count(f'failpoint("{point}")') for text in texts) == 1 for point in ALL_POINTS)
