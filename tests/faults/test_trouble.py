"""Numbers that are none, exceptions and exits, at every stage of a trial: it fails with its reason, and the sweep goes on."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from tests.faults.checker import check
from tests.faults.driver import Sweep
from tests.faults.engine import TROUBLE

pytestmark = pytest.mark.faults

EPOCHS = ("1", "2", "5")  # rungs are after 1 and 2
CASES = [
    *((kind, stage, "nan") for kind in ("nan", "inf", "-inf") for stage in EPOCHS),
    *(("exception", stage, "ValueError: an error") for stage in ("before", *EPOCHS)),
    *(("memory", stage, "MemoryError") for stage in ("before", *EPOCHS)),
    *(("exit", stage, "exit code 1, 3 times in a row") for stage in ("before", *EPOCHS)),
    *(("kill", stage, "when memory runs out, 3 times in a row") for stage in ("before", *EPOCHS)),
    ("exception", "saving", "TypeError"),
]


@pytest.fixture
def sweep(tmp_path, migrated):
    return Sweep.new(tmp_path / "sweep", migrated)


@pytest.mark.parametrize(("kind", "stage", "reason"), CASES)
def test_a_trial_that_comes_to_grief_fails_with_its_reason_and_the_others_are_trained(sweep, kind, stage, reason):
    assert sweep.run("run", "--workers", "1", **{TROUBLE: f"{kind}:{stage}"}) == 0, sweep.said
    assert "Traceback" not in sweep.said
    with closing(sqlite3.connect(sweep.runs.mlflow_db)) as connection:
        [(key, found)] = connection.execute(
            "SELECT keys.value, reasons.value FROM tags AS reasons JOIN tags AS keys USING (run_uuid) "
            "JOIN tags AS states USING (run_uuid) WHERE reasons.key = 'reason' AND keys.key = 'key' "
            "AND states.key = 'state' AND states.value = 'failed'"
        )
    assert key == "trial-00000"
    assert reason in found
    assert sweep.run("doctor") == 0, sweep.printed
    check(sweep)


@pytest.mark.parametrize("kind", ["exit", "kill"])
@pytest.mark.parametrize("stage", EPOCHS)
def test_a_trial_that_kills_its_cohort_fails_alone(tmp_path, migrated, kind, stage):
    sweep = Sweep.new(tmp_path / "sweep", migrated, engine="cohort")
    assert sweep.run(**{TROUBLE: f"{kind}:{stage}"}) == 0, sweep.said
    assert "Traceback" not in sweep.said
    [failed] = [label for label, state in sweep.acknowledged if state == "failed"]
    assert failed.startswith("0 · by hand"), sweep.said
    assert sweep.run("doctor") == 0, sweep.printed
    check(sweep)


@pytest.mark.parametrize("kind", ["exception", "memory", "exit"])
def test_workers_that_cannot_start_end_it_with_one_line_and_it_continues(sweep, kind):
    assert sweep.run(**{TROUBLE: f"{kind}:start"}) == 1
    assert sweep.said.splitlines()[-1].startswith("error: workers do not start")
    assert "Traceback" not in sweep.said
    assert sweep.run() == 0, sweep.said
    check(sweep)


# A class that a part of the data has no row of: where it is rare, how many rows it keeps, and what the study says of the data.
WITHOUT_A_CLASS = {
    "test": ("y_test", 0, "validation_rows = 100\n"),
    "validation": ("y_train", 2, "validation_rows = 20\n"),
    "train": ("y_train", 3, "validation_rows = 100\ntrain_rows = 12\n"),
}


@pytest.mark.parametrize("part", WITHOUT_A_CLASS)
def test_a_part_without_a_class_is_trained_told_and_handed_on_as_any_other(sweep, part):
    labels, n_kept, said = WITHOUT_A_CLASS[part]
    with np.load(sweep.folder / "tiny.npz") as stored:
        arrays = dict(stored)
    keep = arrays[labels] != 2
    keep[np.flatnonzero(~keep)[:n_kept]] = True
    arrays |= {name: arrays[name][keep] for name in (labels, labels.replace("y", "x"))}
    np.savez(sweep.folder / "tiny.npz", **arrays)
    study = sweep.folder / "tiny.toml"
    study.write_text(study.read_text().replace("validation_rows = 100\n", said))
    assert sweep.run(is_training=True) == 0, sweep.said
    [prepared] = sweep.runs.data_cache.glob(f"*/{part}/y.npy")
    assert 2 not in np.load(prepared)
    assert "Warning" not in sweep.said
    assert "nan" not in sweep.printed
    assert sweep.run("doctor") == 0, sweep.printed
    check(sweep)
