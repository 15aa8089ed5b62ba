"""SIGKILL and other signals at moments that chance picks."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.checker import check
from tests.faults.driver import Sweep
from tests.faults.engine import EPOCH_S

pytestmark = pytest.mark.faults

N_KILLS, N_REAL_KILLS, N_SIGNALS = 100, 5, 30
KILLS_A_SWEEP = 4
PACE = {EPOCH_S: "0.05"}  # a sweep then takes some seconds, most of them outside start-up


def workers_of(pid: int) -> list[int]:
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return []


def kill(pid: int, who: str, rng: random.Random) -> None:
    with suppress(ProcessLookupError):
        match who:
            case "coordinator":
                os.kill(pid, signal.SIGKILL)
            case "group":
                os.killpg(pid, signal.SIGKILL)
            case "worker":
                if workers := workers_of(pid):
                    os.kill(rng.choice(workers), signal.SIGKILL)


@pytest.mark.parametrize("number", range(N_KILLS // KILLS_A_SWEEP))
def test_random_kills_cost_nothing(tmp_path, migrated, number):
    rng = random.Random(number)
    sweep = Sweep.new(tmp_path / "sweep", migrated)
    for _ in range(KILLS_A_SWEEP):
        process = sweep.start(**PACE)
        time.sleep(rng.uniform(1.0, 7.0))
        kill(process.pid, rng.choice(["coordinator", "group", "worker"]), rng)
        sweep.finish(process)
    assert sweep.run() == 0, sweep.history[-1]
    assert sweep.run("doctor") == 0
    check(sweep)


@pytest.mark.parametrize("number", range(N_REAL_KILLS))
def test_random_kills_of_real_training_cost_nothing(tmp_path, migrated, number):
    rng = random.Random(number)
    sweep = Sweep.new(tmp_path / "sweep", migrated)
    module = "sweep"
    process = sweep.start(module=module)
    time.sleep(rng.uniform(8.0, 16.0))
    kill(process.pid, rng.choice(["coordinator", "group", "worker"]), rng)
    sweep.finish(process)
    assert sweep.run(module=module) == 0, sweep.history[-1]
    assert sweep.run("doctor", module=module) == 0
    check(sweep)


@pytest.mark.parametrize("number", range(N_SIGNALS))
def test_a_signal_ends_it_within_ten_seconds_and_a_second_one_within_two(tmp_path, migrated, number):
    rng = random.Random(number)
    sweep = Sweep.new(tmp_path / "sweep", migrated)
    sent = rng.choice([signal.SIGINT, signal.SIGTERM])
    process = sweep.start(**PACE)
    time.sleep(rng.uniform(2.0, 8.0))
    process.send_signal(sent)
    sent_at = time.monotonic()
    if number % 3 == 0:
        time.sleep(0.05)
        process.send_signal(sent)
        sent_at = time.monotonic()
    exit_code = sweep.finish(process)
    took_s = time.monotonic() - sent_at
    assert exit_code in (0, 128 + sent, 130, -sent), sweep.history[-1]  # 0: it had just ended
    assert took_s < (2 if number % 3 == 0 else 10), f"{took_s:.1f} s"
    assert "Traceback" not in sweep.history[-1]
    assert sweep.run() == 0, sweep.history[-1]
    check(sweep)
