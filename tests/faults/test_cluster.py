"""Sweeps on a cluster in which something dies, falls silent or is cut off: the checker finds nothing lost, doubled or open."""

import os
import signal
import time
from contextlib import suppress

import pytest

from tests.clusters import RayCluster, Wire, run_cluster
from tests.execute.processes import find_descendants, is_running
from tests.faults.checker import check
from tests.faults.driver import Sweep
from tests.faults.engine import EPOCH_S
from tests.faults.machines import FAKE, MACHINES

N_REPEATS = int(os.environ.get("SWEEP_TEST_REPEATS", "3"))  # of each fault on a real cluster
SLOWLY = {EPOCH_S: "0.4"}  # a sweep then trains for half a minute on two machines
SHORT = ["cluster.stored"]  # in `make test`
POINTS = [
    "cluster.said", "cluster.heard", "cluster.arrived", "cluster.stored", "record.claimed", "record.told", "result.synced",
    "result.renamed", "worker.epoch", "worker.sent",
]  # fmt: skip


def on_fake_machines(sweep):
    """The environment of a sweep on two fake machines."""
    return {"RAY_ADDRESS": FAKE, MACHINES: str(sweep.folder / "outposts")}


@pytest.fixture(scope="session")
def reference(tmp_path_factory, migrated):
    """The results of a sweep on this machine's own workers."""
    sweep = Sweep.new(tmp_path_factory.mktemp("reference") / "sweep", migrated)
    assert sweep.run() == 0, sweep.said
    return check(sweep)


@pytest.fixture
def sweep(tmp_path, migrated):
    return Sweep.new(tmp_path / "sweep", migrated)


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=() if point in SHORT else pytest.mark.faults) for point in POINTS]
)
def test_a_kill_at_a_point_of_a_sweep_on_a_cluster(sweep, reference, point):
    environment = on_fake_machines(sweep)
    sweep.act_at(point, **environment)
    assert sweep.mark.exists()
    assert sweep.run(**environment) == 0, sweep.said
    check(sweep, reference)
    assert sweep.run("doctor") == 0, sweep.printed
    assert list((sweep.folder / "outposts").iterdir()) == []


@pytest.mark.faults
@pytest.mark.parametrize("hit", range(1, 7))
def test_a_bridge_that_is_killed_is_replaced_without_help(sweep, reference, hit):
    assert sweep.act_at("cluster.stored", hit, "kill_child", **on_fake_machines(sweep)) == 0, sweep.said
    assert "the bridge to it was killed by signal 9" in sweep.said
    check(sweep, reference)


@pytest.mark.faults
def test_a_study_begun_on_a_cluster_goes_on_here(sweep, reference):
    sweep.act_at("record.told", 3, **on_fake_machines(sweep))
    assert sweep.run() == 0, sweep.said
    check(sweep, reference)


# ---- on Ray


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("ray")
    with run_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def start(sweep, cluster, n_ended=1, **environment):
    """Start a sweep on the cluster; return it once so many trials have ended."""
    process = sweep.start(**cluster.environment, **(SLOWLY | environment))
    sweep.timeout_s = 240
    deadline = time.monotonic() + 90
    while sweep.said.count(": complete") + sweep.said.count(": pruned") < n_ended:
        assert process.is_alive(), sweep.said
        assert time.monotonic() < deadline, sweep.said
        time.sleep(0.1)
    return process


def wait_until_said(sweep, what, within_s):
    began = time.monotonic()
    while what not in sweep.said:
        assert time.monotonic() < began + within_s, f"not said within {within_s} s: {what}\n{sweep.said}"
        time.sleep(0.1)


def find_workers(cluster):
    """The worker processes on the machines of the cluster."""
    pids = [pid for machine in (0, 1) for pid in cluster.pids(f"machine {machine}")]
    return [pid for pid in pids if is_worker(pid)]


def is_worker(pid):
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return b"spawn_main" in file.read()
    return False


@pytest.mark.faults
@pytest.mark.parametrize("repeat", range(N_REPEATS))
def test_the_coordinator_is_killed(sweep, cluster, reference, repeat):
    process = start(sweep, cluster, n_ended=repeat % 4)
    os.kill(process.pid, signal.SIGKILL)
    assert sweep.finish(process) == -signal.SIGKILL
    assert sweep.run(**cluster.environment) == 0, sweep.said
    check(sweep, reference)


@pytest.mark.faults
@pytest.mark.parametrize("who", ["a worker of a machine", "the bridge"])
@pytest.mark.parametrize("repeat", range(N_REPEATS))
def test_a_process_between_is_killed(sweep, cluster, reference, repeat, who):
    process = start(sweep, cluster, n_ended=1 + repeat % 4)
    bridges = filter(is_worker, find_descendants(process.pid))
    os.kill(next(iter(bridges if who == "the bridge" else find_workers(cluster))), signal.SIGKILL)
    assert sweep.finish(process) == 0, sweep.said
    check(sweep, reference)


@pytest.mark.faults
@pytest.mark.parametrize("repeat", range(N_REPEATS))
def test_a_machine_is_killed_and_missed_within_15_s(sweep, cluster, reference, repeat):
    process = start(sweep, cluster, n_ended=1 + repeat % 4, **{EPOCH_S: "1"})
    cluster.kill(f"machine {repeat % 2}")
    try:
        wait_until_said(sweep, "lost machine", 15)
        assert sweep.finish(process) == 0, sweep.said
        check(sweep, reference)
    finally:
        cluster.add(repeat % 2)


@pytest.mark.faults
@pytest.mark.parametrize("repeat", range(N_REPEATS))
def test_a_machine_is_frozen_and_missed_within_70_s_and_thawed_when_all_is_over(sweep, cluster, reference, repeat):
    process = start(sweep, cluster, n_ended=1 + repeat % 4, **{EPOCH_S: "1"})
    frozen = cluster.freeze(f"machine {repeat % 2}")
    try:
        wait_until_said(sweep, "lost machine", 70)
        assert sweep.finish(process) == 0, sweep.said
        check(sweep, reference)
    finally:
        for pid in filter(is_running, frozen):
            os.kill(pid, signal.SIGCONT)
        cluster.kill(f"machine {repeat % 2}")
        cluster.add(repeat % 2)
    check(sweep, reference)


@pytest.fixture(scope="module")
def wired(tmp_path_factory):
    """A cluster whose second machine is at the far end of a wire, and that wire."""
    pytest.importorskip("ray")
    try:
        wire = Wire()
    except OSError as error:
        pytest.skip(f"no network namespace can be made here: {error}")
    cluster = RayCluster(tmp_path_factory.mktemp("wired"), wire.near)
    try:
        cluster.add(0, wire.near)
        cluster.add(1, wire.far, wire.within)
        yield cluster, wire
    finally:
        cluster.close()
        wire.remove()


@pytest.mark.faults
@pytest.mark.parametrize("repeat", range(N_REPEATS))
def test_the_link_to_a_machine_is_cut_and_missed_within_70_s_and_mended_when_all_is_over(
    sweep, wired, reference, repeat
):
    cluster, wire = wired
    process = start(sweep, cluster, n_ended=1 + repeat % 4, **{EPOCH_S: "1"})
    wire.cut()
    try:
        wait_until_said(sweep, "lost machine", 70)
        assert sweep.finish(process) == 0, sweep.said
        check(sweep, reference)
    finally:
        wire.mend()
        cluster.kill("machine 1")
        cluster.add(1, wire.far, wire.within)
    check(sweep, reference)


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_cluster_does_not_answer_ends_the_command_within_10_s(sweep, tmp_path, number):
    with run_cluster(tmp_path, n_machines=0) as silent:
        frozen = silent.freeze("head")
        process = sweep.start(**silent.environment)
        wait_until_said(sweep, "starting outposts", 30)
        began = time.monotonic()
        os.kill(process.pid, number)
        assert sweep.finish(process) == 128 + number
        assert time.monotonic() - began < 10
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.faults
@pytest.mark.parametrize("what", ["no head", "silent head", "wrong token"])
def test_a_cluster_that_cannot_be_joined_is_one_line_and_the_exit_code_of_workers(sweep, cluster, tmp_path, what):
    environment = dict(cluster.environment)
    if what == "no head":
        environment["RAY_ADDRESS"] = "127.0.0.2:1"
    if what == "wrong token":
        environment["RAY_AUTH_TOKEN"] = "0" * 64
    frozen = cluster.freeze("head") if what == "silent head" else []
    try:
        process = sweep.start(**environment)
        wait_until_said(sweep, "starting outposts", 30)
        began = time.monotonic()
        assert sweep.finish(process) == 1
        assert time.monotonic() - began < 25  # 10 after Ray has been loaded
        [line] = [line for line in sweep.said.splitlines() if line.startswith("error: ")]
        assert "cannot work on the cluster at" in line
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.faults
def test_a_head_that_is_killed_ends_the_command_and_the_study_goes_on_here(sweep, reference, tmp_path):
    with run_cluster(tmp_path, n_machines=1) as cluster:
        process = start(sweep, cluster, n_ended=0, **{EPOCH_S: "30"})
        wait_until_said(sweep, ": 1 workers", 60)
        cluster.kill("head")
        assert sweep.finish(process) == 1
        assert "cannot work on the cluster at" in sweep.said
    assert sweep.run() == 0, sweep.said
    check(sweep, reference)
