"""Short forms of `python -m tests.bench.virtual_clock`, and proof that its checks see what they are for."""

import pytest

from sweep.record.trials import Record
from tests.simulation import Plan, SimulatedCluster, Simulation, check


@pytest.mark.parametrize(("seed", "sampler"), [(1, "random"), (2, "tpe")])
def test_of_a_search_whose_machines_are_lost_and_whose_coordinator_crashes_nothing_is_lost(runs, seed, sampler):
    done = Simulation(Plan(n_trials=60, losses=12, crashes=4, seed=seed, n_workers=16, sampler=sampler), runs)
    done.run()
    assert done.faults == []
    assert done.n_crashes == 4
    assert done.n_deaths > 3


def test_a_seed_repeats_a_whole_search(new_runs):
    plan = Plan(n_trials=30, losses=4, crashes=2, seed=4, n_workers=16)
    first, second = (Simulation(plan, new_runs()) for _ in range(2))
    for done in (first, second):
        done.run()
    assert (first.virtual_hours, first.tracked, first.saved) == (second.virtual_hours, second.tracked, second.saved)


def test_a_result_that_is_told_though_its_machine_was_given_up_is_seen(runs, monkeypatch):
    monkeypatch.setattr(SimulatedCluster, "_give_up", lambda self, lost: None)  # its trials never end
    done = Simulation(Plan(n_trials=40, losses=5, crashes=0, seed=5, n_workers=16), runs)
    with pytest.raises(IndexError):  # nothing is left to happen, and trials still run
        done.run()
    assert any("RUNNING" in fault for fault in check(done))


def test_a_record_that_forgets_what_it_was_told_is_seen(runs, monkeypatch):
    tell = Record.tell

    def forget(self, result):
        if result.key != "trial-00007":
            tell(self, result)

    monkeypatch.setattr(Record, "tell", forget)
    done = Simulation(Plan(n_trials=20, losses=0, crashes=0, seed=6, n_workers=8), runs)
    done.run()
    assert "trial-00007 was left RUNNING" in done.faults
