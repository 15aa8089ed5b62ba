"""The invariants of a finished study, read from its databases and files by SQL alone: nothing of `sweep` is asked, but what bundles check themselves with."""

import hashlib
import json
import math
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from sweep.champion.verify import check_sums
from sweep.record_server import RecordServer
from tests.faults.driver import Sweep

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
STATUSES = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
N_TRIALS = 6  # five searched and a baseline
LASTING = ("state", "history", "metrics", "best_epoch", "params_count", "files")  # of a result, whoever trained it when


def check(sweep: Sweep, reference: dict[str, dict[str, Any]] | None = None) -> dict[str, dict[str, Any]]:
    """Assert every invariant; the results by config and phase, to be a reference for others."""
    recorded, runs = _recorded(sweep.runs.record), _runs(sweep.runs.mlflow_db)
    folder = sweep.runs.results("tiny")
    files = [sweep.runs.mlflow_db, *([] if sweep.record else [sweep.runs.optuna_db])]
    assert [_integrity(file) for file in files] == ["ok" for _ in files]

    # the budget is met exactly, nothing is left open
    assert sum(key.startswith("trial") for key in recorded) == N_TRIALS
    assert {row["state"] for row in recorded.values()} <= STATES.keys()
    assert set(Counter(map(_identity, recorded.values())).values()) == {1}, "a config was trained twice"
    for row in recorded.values():
        if row.get("promoted_from") is not None:
            probe = recorded[f"trial-{row['promoted_from']:05d}"]
            assert (probe["state"], probe["config"], probe["seed"]) == ("PRUNED", row["config"], row["seed"])

    # trials and runs are one to one, with equal states and values
    assert Counter(run["key"] for run in runs if run["phase"] != "study") == dict.fromkeys(recorded, 1)
    assert [run["status"] for run in runs if run["phase"] == "study"] == ["FINISHED"]
    found = {}
    for run in runs:
        if run["phase"] == "study":
            continue
        row, result = recorded[run["key"]], _result(folder / run["key"])
        state = STATES[row["state"]]
        assert (run["state"], run["status"], result["state"]) == (state, STATUSES[state], state), run["key"]
        if state == "complete":
            ranked_by = "settled_val_accuracy"
            assert row["value"] == result["metrics"][ranked_by] == run["metrics"][ranked_by]
        n_points = sum(math.isfinite(value) for logs in result["history"] for value in logs.values())
        assert run["n_points"] == n_points, f"{run['key']}: its curves are not whole"
        score = folder / run["key"] / "score.json"
        assert score.exists() == ("test_accuracy" in run["metrics"]) == (row["phase"] == "confirm")
        files = dict(result["files"])
        if score.exists():
            files |= json.loads(score.read_text())["content"]["files"]
        _check_artifacts(sweep.runs.artifacts("tiny"), run, files)
        found[_identity(row)] = {k: result[k] for k in LASTING}

    # no draft, no folder of nobody
    assert {path.name for path in folder.iterdir() if path.is_dir()} == recorded.keys()
    assert not [path for path in folder.rglob(".*") if path.name != ".lock"]

    # the champion is handed on: a bundle that is whole, and one version with the alias
    exports = sweep.runs.all_exports
    assert {path.name for path in exports.iterdir()} == {"tiny", ".lock"}
    check_sums(exports / "tiny")
    with closing(_open(sweep.runs.mlflow_db)) as connection:
        versions = connection.execute("SELECT name, version FROM model_versions").fetchall()
        assert versions == connection.execute("SELECT name, version FROM registered_model_aliases").fetchall()
        assert versions == [("tiny", 1)]

    # what was said to have ended has ended so
    states = {run["name"]: run.get("state") for run in runs}
    for label, state in sweep.acknowledged:
        assert states[label] == state, f"{label} was said to be {state}"

    if reference is not None:
        assert found.keys() >= {key for key in reference if json.loads(key)[0] != "confirm"}
        for key in found.keys() & reference.keys():
            before, after = reference[key], found[key]
            n_epochs = min(len(before["history"]), len(after["history"]))
            assert before["history"][:n_epochs] == after["history"][:n_epochs]
            is_as_long = len(before["history"]) == len(after["history"])
            if before["state"] == after["state"] and is_as_long:  # who is pruned, and where, depends on who came first
                assert before == after
    return found


def _identity(row: dict[str, Any]) -> str:
    """What a trial is, whatever its number; a probe and the training to the end that it was promoted to are two."""
    return json.dumps([row["phase"], row["config"], row["replicate"], row.get("promoted_from") is not None])


def rows_written(sweep: Sweep) -> dict[str, int]:
    """How many rows each table of both databases holds."""
    counts = {}
    for db in (sweep.runs.optuna_db, sweep.runs.mlflow_db):
        with closing(_open(db)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                counts[f"{db.name}:{table}"] = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
    return counts


def _open(db: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{db}?mode=ro", uri=True)


def _integrity(db: Path) -> str:
    with closing(_open(db)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def _recorded(where: Path | RecordServer) -> dict[str, dict[str, Any]]:
    """Optuna's trials by our key."""
    query = """
        SELECT trials.number, trials.state, trial_values.value, trial_user_attributes.value_json
        FROM trials
        LEFT JOIN trial_values USING (trial_id)
        JOIN trial_user_attributes ON trial_user_attributes.trial_id = trials.trial_id AND key = 'trial'
    """
    recorded = {}
    opened = closing(_open(where)) if isinstance(where, Path) else psycopg.connect(**where.connect_args())
    with opened as connection:
        for number, state, value, attribute in connection.execute(query):
            lasting = json.loads(attribute)
            kind = "trial" if lasting["replicate"] is None else "replicate"
            recorded[f"{kind}-{number:05d}"] = {**lasting, "state": state, "value": value}
    return recorded


def _runs(db: Path) -> list[dict[str, Any]]:
    """MLflow's runs that are not deleted: id, name, status, tags, last metrics, number of points of curves, models."""
    with closing(_open(db)) as connection:
        runs = []
        for run_id, name, status in connection.execute(
            "SELECT run_uuid, name, status FROM runs WHERE lifecycle_stage = 'active'"
        ):
            tags = dict(connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)))
            metrics = dict(connection.execute("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (run_id,)))
            (n_points,) = connection.execute(
                "SELECT count(*) FROM metrics WHERE run_uuid = ? AND key LIKE 'epoch/%'", (run_id,)
            ).fetchone()
            models = connection.execute(
                "SELECT model_id, status FROM logged_models WHERE source_run_id = ?", (run_id,)
            ).fetchall()
            assert [model_status for _, model_status in models] in ([], [2]), "a model is not READY, or there are two"
            runs.append(
                {**tags, "id": run_id, "name": name, "status": status, "metrics": metrics, "n_points": n_points,
                 "model": models[0][0] if models else None}
            )  # fmt: skip
        return runs


def _result(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())["content"]
    for name, digest in result["files"].items():
        assert _sha256(folder / name) == digest, f"{folder / name} is not what was written"
    return result


def _check_artifacts(artifacts: Path, run: dict[str, Any], files: dict[str, str]) -> None:
    for name, digest in files.items():
        paths = [artifacts / run["id"] / "artifacts" / name]
        if name == "model.keras":
            # Searched in a cohort, it is a file of its run, and a logged model as well where it is among the best ten.
            is_archived = run.get("engine") == "cohort" and run["phase"] == "search"
            assert run["model"] or (is_archived and run["state"] == "pruned"), f"{run['key']} has no logged model"
            logged = [artifacts / "models" / run["model"] / "artifacts" / "data" / name] if run["model"] else []
            paths = [*(paths if is_archived else []), *logged]
        for path in paths:
            assert _sha256(path) == digest, f"{path} is not what was written"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
