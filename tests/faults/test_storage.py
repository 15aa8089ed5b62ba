"""Disks that are full, databases that are locked, files that are damaged."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager

import pytest

from sweep.record import results
from tests.faults.checker import check
from tests.faults.driver import Sweep
from tests.faults.engine import EPOCH_S
from tests.faults.test_failpoints import ONLY_AFTER_A_CRASH, ONLY_WITHOUT_A_DATABASE, POINTS, engines
from tests.studies import ROOT

pytestmark = pytest.mark.faults

N_DISKS, N_STORMS, N_FLIPS = 20, 20, 100
FLIPS_A_SWEEP = 20
STORAGE, TRACKING = 4, 3  # exit codes
PACE = {EPOCH_S: "0.05"}


@pytest.fixture
def sweep(tmp_path, migrated):
    return Sweep.new(tmp_path / "sweep", migrated)


@contextmanager
def small_disk(folder, n_kb):
    """A file system of `n_kb` at `folder`, which keeps what it holds when it grows."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={n_kb}k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    "n_spare_kb", [2**i // 4 for i in range(4, 4 + N_DISKS // 2)] + [100 * i for i in range(1, 11)]
)
def test_a_full_disk_is_a_clear_end_and_room_is_all_it_takes(tmp_path, migrated, n_spare_kb):
    used_kb = sum(path.stat().st_size for path in migrated.root.rglob("*") if path.is_file()) // 1024 + 400
    disk = tmp_path / "disk"
    with small_disk(disk, used_kb + n_spare_kb):
        sweep = Sweep.new(disk / "sweep", migrated)
        exit_code = sweep.run()
        assert exit_code in (0, STORAGE, TRACKING), sweep.said
        assert "Traceback" not in sweep.said, sweep.said
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert sweep.run() == 0, sweep.said
        assert sweep.run("doctor", "--fix") == 0, sweep.said
        check(sweep)


def test_a_disk_that_turned_read_only_is_a_clear_end_and_writing_is_all_it_takes(tmp_path, migrated):
    disk = tmp_path / "disk"
    with small_disk(disk, 64 * 1024):
        sweep = Sweep.new(disk / "sweep", migrated)
        process = sweep.start(**PACE)
        while ": complete" not in sweep.said:
            time.sleep(0.05)
        # What is open for writing keeps a disk from turning.
        os.killpg(process.pid, signal.SIGKILL)
        sweep.finish(process)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        said = subprocess.run(
            [sys.executable, "-m", "tests.faults.sweep_process", "run", str(sweep.folder / "tiny.toml"), "--runs-dir", str(sweep.runs.root)],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert said.returncode == STORAGE, said.stderr
        assert said.stderr.splitlines()[-1].startswith("error: ")
        assert "Traceback" not in said.stderr
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert sweep.run() == 0, sweep.said
        check(sweep)


@pytest.mark.parametrize("point", [p for p in POINTS if p not in ONLY_AFTER_A_CRASH])
def test_no_space_at_any_point_is_a_clear_end(tmp_path, migrated, point):
    sweep = Sweep.new(tmp_path / "sweep", migrated, *engines(point))
    if point in ONLY_WITHOUT_A_DATABASE:
        sweep.runs.mlflow_db.unlink()
    exit_code = sweep.act_at(point, action="full")
    assert sweep.mark.exists()
    assert exit_code in (0, STORAGE, TRACKING), sweep.said
    assert "Traceback" not in sweep.said
    assert sweep.run() == 0, sweep.said
    check(sweep)


@pytest.mark.parametrize("number", range(N_STORMS))
def test_a_storm_of_locks_delays_and_costs_nothing(sweep, number):
    rng = random.Random(number)
    calm = threading.Event()

    def storm():
        while not calm.is_set():
            db = rng.choice([sweep.runs.optuna_db, sweep.runs.mlflow_db])
            with closing(sqlite3.connect(db, timeout=60, isolation_level=None)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                time.sleep(rng.uniform(0.01, 1.0))
                connection.execute("ROLLBACK")
            time.sleep(rng.uniform(0.0, 0.3))

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        exit_code = sweep.run(**PACE)
    finally:
        calm.set()
        thread.join()
    assert exit_code in (0, STORAGE, TRACKING), sweep.said
    assert sweep.run() == 0, sweep.said
    check(sweep)


@pytest.mark.parametrize("number", range(N_FLIPS // FLIPS_A_SWEEP))
def test_a_flipped_or_cut_file_is_named_by_the_doctor(sweep, number):
    assert sweep.run() == 0, sweep.said
    rng = random.Random(number)
    artifacts = sweep.runs.artifacts("tiny")
    files = [p for p in sorted(sweep.runs.results("tiny").rglob("*")) if p.is_file() and p.name != ".lock"]
    files += [p for p in sorted(artifacts.rglob("*")) if p.name in (results.MODEL, *results.TRACKED)]
    for _ in range(FLIPS_A_SWEEP):
        path = rng.choice(files)
        good = path.read_bytes()
        at = rng.randrange(len(good))
        path.write_bytes(
            good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :] if rng.random() < 0.7 else good[:at]
        )
        assert sweep.run("doctor") == 1, f"{path} at {at}"
        assert path.parent.name in sweep.printed or path.name in sweep.printed
        path.write_bytes(good)
    assert sweep.run("doctor") == 0


@pytest.mark.parametrize("name", ["optuna.db", "mlflow.db"])
def test_a_file_that_is_no_database_is_named_and_continued_when_it_is_back(sweep, name):
    backup = sweep.folder / "backup"
    db = sweep.runs.root / name
    shutil.copy(db, backup)
    db.write_bytes(b"not a database" * 1000)
    assert sweep.run() in (STORAGE, TRACKING), sweep.said
    assert name in sweep.said
    shutil.copy(backup, db)
    assert sweep.run() == 0, sweep.said
    check(sweep)
