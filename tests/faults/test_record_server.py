"""A record on a PostgreSQL server: its coordinators are killed and frozen, its server dies, its password is kept."""

import hashlib
import os
import random
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.checker import check
from tests.faults.driver import Sweep
from tests.faults.engine import EPOCH_S
from tests.faults.sweep_process import LEASE_S
from tests.faults.test_failpoints import ALL_POINTS, OF_HOLD
from tests.faults.test_kills import KILLS_A_TEST, PACE, kill_at_random
from tests.faults.test_secrets import arguments_below, files_with_it, leaks
from tests.postgres import PASSWORD

N_FREEZES, N_KILLS = 20, 20
SHORT_LEASE = {LEASE_S: "1.5"}
IN_USE, LOST = 1, 4  # exit codes
POINTS = [*OF_HOLD, *(point for point in ALL_POINTS if point.startswith("record.") and point != "record.restarted")]


@pytest.fixture
def sweep(tmp_path, migrated, postgres):
    return Sweep.new(tmp_path / "sweep", migrated, record=postgres.new_database())


def finish(sweep: Sweep, **environment: str) -> None:
    """Run it as often as another still holds the study, to its end, and check everything."""
    while (exit_code := sweep.run(**environment)) == IN_USE:
        assert "another sweep is at work on this study" in sweep.said
    assert exit_code == 0, sweep.said
    assert sweep.run("doctor") == 0, sweep.printed
    check(sweep)


def rows(sweep: Sweep, postgres) -> list[object]:
    """Every row of the record that is of a study."""
    tables = postgres.execute(sweep.record, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [sorted(postgres.execute(sweep.record, f"SELECT * FROM {name}"), key=str) for (name,) in tables]


def files(sweep: Sweep) -> dict[Path, str]:
    """The hash of every file that is of the study, MLflow's database among them.

    Logs of processes are of nobody, and so are drafts: a worker that was woken may leave one, for the next start to remove.
    """
    found = (path for path in sweep.runs.root.rglob("*") if path.is_file() and "logs" not in path.parts)
    whole = (path for path in found if not path.parent.name.startswith("."))
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in whole}


def holds_a_file(pid: int) -> bool:
    """Whether a process holds a lock on a file: a SQLite database, which on one disk all would wait for."""
    return any(f" {pid} " in line for line in Path("/proc/locks").read_text().splitlines())


def freeze(sweep: Sweep, process, who: str) -> None:
    """Stop a coordinator, or it and its workers, outside of MLflow's transactions."""
    stop = os.killpg if who == "group" else os.kill
    while True:
        stop(process.pid, signal.SIGSTOP)
        if not holds_a_file(process.pid):
            return
        stop(process.pid, signal.SIGCONT)
        time.sleep(0.01)


@pytest.fixture
def first(sweep):
    """The same study, for the command that is frozen; nothing of it is left frozen."""
    first = sweep.beside("first")
    yield first
    for process in first.started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=pytest.mark.faults if n else pytest.mark.slow) for n in range(N_FREEZES)]
)
def test_nothing_lands_of_a_coordinator_that_wakes_up_after_another_took_over(sweep, first, postgres, number):
    rng = random.Random(number)
    who = ["coordinator", "group"][number % 2]
    frozen = first.start(**{EPOCH_S: "0.3"}, **SHORT_LEASE)
    while ": complete" not in first.said and ": pruned" not in first.said:
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 0.5))
    freeze(first, frozen, who)
    finish(sweep, **SHORT_LEASE)
    before = rows(sweep, postgres), files(sweep)
    (os.killpg if who == "group" else os.kill)(frozen.pid, signal.SIGCONT)
    assert first.finish(frozen) == LOST, first.said
    assert rows(sweep, postgres) == before[0]
    assert set(files(sweep).items()) ^ set(before[1].items()) == set()
    errors = [line for line in first.said.splitlines() if "error" in line]
    assert errors == first.said.splitlines()[-1:]
    # The second where it was frozen within a transaction, which the server ended.
    said = r"error: (this coordinator no longer holds study 'tiny' in|cannot \w+ the record of trials) postgresql://me@"
    assert re.match(said, errors[0])
    assert leaks(first.said.encode(), first.printed.encode()) == []
    assert sweep.run() == 0, sweep.said
    check(sweep)


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_of_a_record_on_a_server_costs_nothing(sweep, point):
    assert sweep.act_at(point) == -signal.SIGKILL, sweep.said
    finish(sweep)


@pytest.mark.faults
@pytest.mark.parametrize("number", range(N_KILLS // KILLS_A_TEST))
def test_random_kills_with_a_record_on_a_server_cost_nothing(tmp_path, migrated, postgres, number):
    kill_at_random(
        lambda n: Sweep.new(tmp_path / f"sweep-{n}", migrated, record=postgres.new_database()), number, 6, finish
    )


@pytest.mark.faults
@pytest.mark.parametrize("number", range(10))
def test_a_server_that_ends_all_sessions_costs_the_command_and_no_trial(sweep, postgres, number):
    """As one that is started again does: the lock goes with its session, and the holder stops."""
    process = sweep.start(**{EPOCH_S: "0.3"}, **SHORT_LEASE)
    while ": complete" not in sweep.said and ": pruned" not in sweep.said:
        time.sleep(0.02)
    time.sleep(random.Random(number).uniform(0, 0.5))
    postgres.execute(
        sweep.record,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    assert sweep.finish(process) == LOST, sweep.said
    assert "Traceback" not in sweep.said
    finish(sweep)


@pytest.mark.slow
def test_the_password_of_a_record_is_in_no_byte_that_is_written_said_or_started(sweep):
    assert PASSWORD.encode() in leaks(PASSWORD.encode())
    process = sweep.start(**PACE)
    seen = set()
    while process.is_alive():
        seen.add(arguments_below(process.pid or 0))
        time.sleep(0.05)
    assert sweep.finish(process) == 0, sweep.said
    for command in ("sync", "report", "doctor", "export"):
        assert sweep.run(command) == 0, sweep.said
        seen |= {sweep.said.encode(), sweep.printed.encode()}
    assert leaks(*seen) == []
    assert files_with_it(sweep.folder) == []


@pytest.mark.parametrize("command", ["run", "sync", "doctor"])
def test_no_server_that_refuses_has_the_password_repeated(sweep, command):
    wrong = f"postgresql://me:wrong-{PASSWORD}@127.0.0.1:{sweep.record.port}/{sweep.record.database}"
    for address in (wrong, wrong.replace(str(sweep.record.port), "1")):
        assert sweep.run(command, SWEEP_RECORD=address) == 4, sweep.said
        assert sweep.said.count("\n") == 1
        assert leaks(sweep.said.encode(), sweep.printed.encode()) == []
    with suppress(FileNotFoundError):
        assert files_with_it(sweep.folder) == []
