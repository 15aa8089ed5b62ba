"""The rules of a cluster, without one."""

import pytest

from sweep.execute.cluster.messages import Capacity, Machine
from sweep.execute.cluster.rules import (
    FIRST_DEADLINE_S,
    GAP_S,
    PATIENCE,
    QUARANTINE_S,
    SHORTEST_DEADLINE_S,
    Quarantine,
    Watchdog,
    is_free,
    plan_outposts,
)
from sweep.study.config import Config
from sweep.trial import Phase, Trial

CONFIG = Config(units=(8,), dropout=0.2, batch_size=32, learning_rate=0.01)
GRAPH, COHORT = Capacity("graph", 2), Capacity("cohort", 2)


def machine(id, n_cores=2, is_alive=True):
    return Machine(id, f"10.0.0.{len(id)}", is_alive, n_cores)


def trial(number, phase=Phase.SEARCH):
    return Trial(number=number, phase=phase, config=CONFIG, seed=1, replicate=1 if phase == Phase.CONFIRM else None)


@pytest.mark.parametrize(
    ("capacity", "running", "sent", "phase", "free"),
    [
        (GRAPH, [], [], Phase.SEARCH, True),
        (GRAPH, [trial(0), trial(1)], [], Phase.SEARCH, False),
        (GRAPH, [trial(0), trial(1)], [], Phase.CONFIRM, False),
        (COHORT, [trial(0)], [], Phase.SEARCH, True),
        (COHORT, [trial(0), trial(1)], [], Phase.SEARCH, False),
        (COHORT, [trial(0)], ["trial-00000"], Phase.SEARCH, False),  # that cohort trains already
        (COHORT, [trial(0), trial(1)], ["trial-00000"], Phase.CONFIRM, True),
        (COHORT, [trial(0, Phase.CONFIRM)], [], Phase.SEARCH, True),
    ],
)
def test_an_outpost_takes_what_its_executor_would(capacity, running, sent, phase, free):
    assert is_free(capacity, running, sent, trial(9, phase)) is free


def test_every_living_machine_without_an_outpost_gets_one_up_to_the_bound_of_workers():
    machines = [machine("a"), machine("b", is_alive=False), machine("c", 4), machine("d", 0), machine("e")]
    assert [(m.id, n) for m, n in plan_outposts(machines, ["a"], Quarantine(), None)] == [("c", 4), ("e", 2)]
    assert [(m.id, n) for m, n in plan_outposts(machines, ["a"], Quarantine(), 5)] == [("c", 4), ("e", 1)]
    assert plan_outposts(machines, ["a"], Quarantine(), 0) == []


def test_a_lost_machine_gets_none_while_the_cluster_still_calls_it_alive():
    quarantine = Quarantine()
    quarantine.add("a", now=0.0)
    quarantine.look([machine("a")], now=QUARANTINE_S - 1)
    assert plan_outposts([machine("a")], [], quarantine, None) == []


def test_a_lost_machine_gets_one_again_once_it_was_called_dead():
    quarantine = Quarantine()
    quarantine.add("a", now=0.0)
    quarantine.look([machine("a", is_alive=False)], now=1.0)
    assert [m.id for m, _ in plan_outposts([machine("a")], [], quarantine, None)] == ["a"]


def test_each_loss_in_a_row_keeps_a_machine_out_for_twice_as_long_until_it_finishes_a_trial():
    quarantine = Quarantine()
    for n_losses in (1, 2):
        quarantine.add("a", now=0.0)
        quarantine.look([machine("a")], now=n_losses * QUARANTINE_S - 1)
        assert quarantine.holds("a")
        quarantine.look([machine("a")], now=n_losses * QUARANTINE_S + 1)
        assert not quarantine.holds("a")
    quarantine.forgive("a")
    quarantine.add("a", now=0.0)
    quarantine.look([machine("a")], now=QUARANTINE_S + 1)
    assert not quarantine.holds("a")


def look_often(watchdog, start, end):
    found = []
    now = start
    while now <= end and not found:
        found = watchdog.find_hung(now)
        now += 1.0
    return found, now - 1.0


def test_before_anything_is_known_of_epochs_a_trial_has_half_an_hour():
    watchdog = Watchdog()
    watchdog.expect("one", 0.0)
    found, at = look_often(watchdog, 0.0, 2 * FIRST_DEADLINE_S)
    assert (found, at) == (["one"], FIRST_DEADLINE_S + 1)


@pytest.mark.parametrize(("epoch_s", "deadline_s"), [(1.0, SHORTEST_DEADLINE_S), (30.0, 30.0 * PATIENCE)])
def test_a_trial_hangs_that_is_silent_ten_times_as_long_as_the_slowest_epoch(epoch_s, deadline_s):
    watchdog = Watchdog()
    watchdog.expect("one", 0.0)
    watchdog.hear("one", epoch_s)
    found, at = look_often(watchdog, epoch_s, epoch_s + 2 * deadline_s)
    assert (found, at) == (["one"], epoch_s + deadline_s + 1)


def test_a_trial_that_ended_is_not_waited_for():
    watchdog = Watchdog()
    watchdog.expect("one", 0.0)
    watchdog.forget("one")
    assert look_often(watchdog, 0.0, 2 * FIRST_DEADLINE_S)[0] == []


def test_while_the_coordinator_itself_was_stopped_nobody_hangs():
    watchdog = Watchdog()
    watchdog.expect("one", 0.0)
    assert watchdog.find_hung(1.0) == []
    assert watchdog.find_hung(1.0 + GAP_S + 2 * FIRST_DEADLINE_S) == []
