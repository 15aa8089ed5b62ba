"""SIGKILL and other signals at moments that chance picks."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from tests.faults.checker import check
from tests.faults.driver import PROBING, STUDY, Sweep
from tests.faults.engine import EPOCH_S

pytestmark = pytest.mark.faults

N_KILLS, N_COHORT_KILLS, N_PROBING_KILLS, N_REAL_KILLS, N_FRESH_KILLS, N_SIGNALS = 100, 20, 20, 5, 10, 30
KILLS_A_TEST = 10
OF_COHORTS = N_KILLS // KILLS_A_TEST  # the first number of those
OF_PROBES = OF_COHORTS + N_COHORT_KILLS // KILLS_A_TEST
PACE = {EPOCH_S: "0.05"}  # a sweep then takes some seconds, most of them outside start-up


@pytest.fixture(scope="session")
def whole_s(tmp_path_factory, migrated):
    """How long a sweep takes that nothing happens to, seconds."""
    sweep = Sweep.new(tmp_path_factory.mktemp("whole") / "sweep", migrated)
    started_at = time.monotonic()
    assert sweep.run(**PACE) == 0, sweep.said
    return time.monotonic() - started_at


def workers_of(pid: int) -> list[int]:
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return []


def kill(process: ForkServerProcess, who: str, rng: random.Random) -> bool:
    """Whether there was somebody to kill."""
    pid = process.pid or 0
    try:
        match who:
            case "coordinator":
                os.kill(pid, signal.SIGKILL)
            case "group":
                os.killpg(pid, signal.SIGKILL)
            case "worker":
                os.kill(rng.choice(workers_of(pid)), signal.SIGKILL)
    except (ProcessLookupError, IndexError):
        return False
    return True


def finish(sweep: Sweep, **settings: bool) -> None:
    assert sweep.run(**settings) == 0, sweep.said
    assert sweep.run("doctor", **settings) == 0, sweep.printed
    check(sweep)


def kill_at_random(
    new_sweep: Callable[[int], Sweep], seed: int, whole_s: float, finish: Callable[[Sweep], None]
) -> None:
    """Kill sweeps, each started again until it ends, KILLS_A_TEST times in all; then `finish` each."""
    rng, n_kills = random.Random(seed), 0
    for n_sweep in range(KILLS_A_TEST * 10):
        sweep, has_ended = new_sweep(n_sweep), False
        while n_kills < KILLS_A_TEST and not has_ended:
            process = sweep.start(**PACE)
            time.sleep(rng.uniform(0, whole_s))
            n_kills += kill(process, rng.choice(["coordinator", "group", "worker"]), rng)
            has_ended = sweep.finish(process) == 0
        finish(sweep)
        if n_kills == KILLS_A_TEST:
            return
    pytest.fail(f"{n_kills} of {KILLS_A_TEST} kills found somebody")


@pytest.mark.parametrize("number", range((N_KILLS + N_COHORT_KILLS + N_PROBING_KILLS) // KILLS_A_TEST))
def test_random_kills_cost_nothing(tmp_path, migrated, whole_s, number):
    engine = "cohort" if OF_COHORTS <= number < OF_PROBES else "graph"
    study = PROBING if number >= OF_PROBES else STUDY
    kill_at_random(lambda n: Sweep.new(tmp_path / f"sweep-{n}", migrated, engine, study), number, whole_s, finish)


@pytest.mark.parametrize("number", range(N_REAL_KILLS))
def test_random_kills_of_real_training_cost_nothing(tmp_path, migrated, number):
    rng = random.Random(number)
    sweep = Sweep.new(tmp_path / "sweep", migrated)
    process = sweep.start(is_training=True)
    while ": complete" not in sweep.said:
        time.sleep(0.05)
    time.sleep(rng.uniform(0.0, 1.0))
    assert kill(process, ["coordinator", "group", "worker"][number % 3], rng)
    sweep.finish(process)
    finish(sweep, is_training=True)


@pytest.mark.parametrize("number", range(N_FRESH_KILLS))
def test_random_kills_of_a_first_start_cost_nothing(tmp_path, migrated, number):
    sweep = Sweep.new(tmp_path / "sweep", migrated)
    for db in (sweep.runs.optuna_db, sweep.runs.mlflow_db):
        db.unlink()
    process = sweep.start(**PACE)
    time.sleep(random.Random(number).uniform(0, 4))  # its databases are created in the meantime
    kill(process, "group", random.Random(number))
    sweep.finish(process)
    finish(sweep)


def test_a_kill_of_what_scores_is_met_by_scoring_again(tmp_path, migrated):
    sweep = Sweep.new(tmp_path / "sweep", migrated)
    process = sweep.start(is_training=True)
    while "scoring" not in sweep.said:
        time.sleep(0.05)
    while not kill(process, "worker", random.Random(0)):
        time.sleep(0.05)
    assert sweep.finish(process) == 0, sweep.said
    check(sweep)


@pytest.mark.parametrize("number", range(N_SIGNALS))
def test_a_signal_ends_it_within_ten_seconds_and_a_second_one_within_two(tmp_path, migrated, whole_s, number):
    rng = random.Random(number)
    sweep = Sweep.new(tmp_path / "sweep", migrated)
    sent, is_twice = rng.choice([signal.SIGINT, signal.SIGTERM]), number % 3 == 0
    process = sweep.start(**PACE)
    time.sleep(rng.uniform(0.3, whole_s))  # it is a sweep by then
    sent_at = time.monotonic()
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(process.pid or 0, sent)
        if is_twice:
            time.sleep(rng.uniform(0.01, 0.2))
            sent_at = time.monotonic()
            os.kill(process.pid or 0, sent)
    exit_code = sweep.finish(process)
    took_s = time.monotonic() - sent_at
    assert exit_code in (0, 128 + sent, -sent), sweep.said  # 0: it had just ended; -sent: it had not yet begun
    assert took_s < (2 if is_twice else 10), f"{took_s:.1f} s"
    assert "Traceback" not in sweep.said
    finish(sweep)
