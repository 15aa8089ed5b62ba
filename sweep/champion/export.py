"""The champion as a bundle to hand on: its model, its evidence, and the means to check both."""

import json
import re
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sweep.champion import bundle, verify
from sweep.champion.bundle import Convert, Parity
from sweep.champion.card import to_card
from sweep.champion.confusion import draw_confusion
from sweep.champion.value_picture import draw_values
from sweep.data.facts import DataFacts
from sweep.data.files import is_text
from sweep.data.prepared import PreparedData, find_prepared, read_drawn_test_rows
from sweep.data.text_table import MISSING
from sweep.durable.files import make_folder, sha256_of
from sweep.durable.lock import hold_in_turn
from sweep.errors import DamagedResultError, MissingRunsError
from sweep.plain_text import to_csv
from sweep.record import results
from sweep.record.predictions import Predictions, Values
from sweep.report.conclusion import Column, Conclusion
from sweep.report.text import champion_line
from sweep.study.objective import cost
from sweep.study.schema import Data
from sweep.study.toml_text import to_toml
from sweep.track.fields import TrackedTrial
from sweep.track.runs import TrackedStudy

CONVERTERS = ("keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime")  # the .onnx file depends on their versions


@dataclass(frozen=True)
class Exported:
    """A champion that was exported."""

    folder: Path
    run_id: str
    model_id: str  # of MLflow


def export(conclusion: Conclusion, convert: Convert, typed: str | None = None) -> Exported:
    """Write the champion to `exports/<study>/`. Raises MissingRunsError where there is none, ConversionError.

    The model is that of the replicate with the best objective on validation; the figures of all replicates stand beside.
    typed: the study file, which is taken as it was typed if it says what was run.
    """
    if conclusion.champion is None:
        raise MissingRunsError(f"nothing to export. {champion_line(conclusion)}")
    tracked, champion = conclusion.tracked, conclusion.champion
    runs, study, facts = tracked.runs, tracked.study, tracked.facts
    replicate = best_replicate(conclusion, champion)
    model = tracked.files.model(replicate.run_id)
    curves = tracked.files.artifact(replicate.run_id, results.CURVES)
    data = find_prepared(study.data, facts, study.seed, runs.data_cache)
    folder = runs.exports(study.name)

    def write_files(draft: Path) -> None:
        shutil.copyfile(model.path, draft / bundle.KERAS_MODEL)
        shutil.copyfile(curves, draft / bundle.CURVES)
        parity = _write_onnx(draft, folder, lambda keras, onnx: convert(keras, onnx, data, facts.columns))
        test = _write_test(draft, tracked, replicate.run_id, data)
        summary = _summary(conclusion, champion, replicate, model.model_id, sha256_of(draft / bundle.KERAS_MODEL))
        summary |= {"test": test, "onnx": {**asdict(parity), "made_with": _converters()}}
        (draft / bundle.SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        (draft / bundle.CARD).write_text(to_card(conclusion, champion, summary), encoding="utf-8")
        (draft / bundle.STUDY).write_text(_study_text(tracked.table, typed), encoding="utf-8")
        for name in (bundle.VERIFY, verify.OPERATORS, verify.GIVEN_ROWS):
            shutil.copy(Path(verify.__file__).with_name(name), draft)

    make_folder(runs.all_exports)
    with hold_in_turn(runs.all_exports / results.LOCK):
        bundle.write_bundle(folder, write_files)
    return Exported(folder, replicate.run_id, model.model_id)


def best_replicate(conclusion: Conclusion, champion: Column) -> TrackedTrial:
    """Return the champion's replicate with the best objective, whose model is the one that is handed on."""
    objective = conclusion.tracked.study.objective
    mine = [replicate for replicate in conclusion.tracked.replicates if replicate.run_id in champion.replicate_runs]
    return min(mine, key=lambda replicate: cost(objective, replicate.metrics[objective]))


def _write_onnx(draft: Path, before: Path, convert: Callable[[Path, Path], Parity]) -> Parity:
    """Write the model's .onnx form: converted, or copied from the bundle before where that is of the very same model.

    Converting takes seconds and TensorFlow; the same command again should take neither.
    """
    model, onnx = draft / bundle.KERAS_MODEL, draft / bundle.ONNX_MODEL
    try:
        summary = bundle.read_bundle(before)
        parity = {name: value for name, value in summary["onnx"].items() if name != "made_with"}
        if summary["model_sha256"] == sha256_of(model) and summary["onnx"]["made_with"] == _converters():
            shutil.copyfile(before / bundle.ONNX_MODEL, onnx)
            return Parity(**parity)
    except (DamagedResultError, KeyError, TypeError, AttributeError):  # no bundle there, or not one of ours
        pass
    return convert(model, onnx)


def _converters() -> dict[str, str]:
    return {library: version(library) for library in CONVERTERS}


def _write_test(draft: Path, tracked: TrackedStudy, run_id: str, data: PreparedData | None) -> dict[str, Any] | None:
    """Write a model's predictions of the test rows and its confusion matrix; return their summary, None without test rows."""
    predictions = tracked.predictions.get(run_id)
    if predictions is None:
        return None
    # Without rows set aside for it, the test split is the source's own.
    is_drawn = tracked.study.data.test_rows is not None
    numbers = read_drawn_test_rows(data) if data is not None and is_drawn else None
    recorded: dict[str, Any] = {"labels": predictions.labels, "predicted": predictions.predicted}
    if numbers is not None:
        recorded["row_numbers"] = numbers
    np.savez_compressed(draft / bundle.RECORDED, **recorded)
    if isinstance(predictions, Values):
        figures = _write_values(draft, tracked, predictions)
    else:
        figures = _write_confusion(draft, tracked, predictions)
    return {
        "rows": len(predictions.labels),
        **figures,
        "part": "train" if is_drawn else "test",  # of the data that the rows lie in
        "rows_are_known": numbers is not None or not is_drawn,
    }


def _write_confusion(draft: Path, tracked: TrackedStudy, predictions: Predictions) -> dict[str, Any]:
    """Write the confusion matrix as a table and as a picture; return the figures of the test rows."""
    classes = list(tracked.facts.classes)
    n_rows, n_right = len(predictions.labels), int(predictions.correct.sum())
    counts = predictions.confusion(len(classes))
    (draft / bundle.CONFUSION).write_text(_confusion_csv(counts.tolist(), classes), encoding="utf-8")
    title = f"{tracked.study.name}: {n_right} of {n_rows} test rows right"
    draw_confusion(counts, classes, title, draft / bundle.CONFUSION_PICTURE)
    return {"right": n_right, "accuracy": float(predictions.correct.mean())}


def _write_values(draft: Path, tracked: TrackedStudy, values: Values) -> dict[str, Any]:
    """Draw what is predicted against what is true; return the figures of the test rows."""
    rmse, explained = float(np.sqrt((values.errors**2).mean())), float(values.scores.mean())
    title = f"{tracked.study.name}: RMSE {rmse:.6g}, R² {explained:.4f} on {len(values.labels)} test rows"
    draw_values(values.labels, values.predicted, title, draft / bundle.VALUES_PICTURE)
    return {"rmse": rmse, "mae": float(np.abs(values.errors).mean()), "r2": explained}


def _confusion_csv(counts: list[list[int]], classes: list[str]) -> str:
    return to_csv([["true \\ predicted", *classes], *([name, *row] for name, row in zip(classes, counts, strict=True))])


def _study_text(table: dict[str, Any], typed: str | None) -> str:
    """Write the study file that repeats the sweep: as it was typed, unless options or later edits make it say something else."""
    if typed is not None and tomllib.loads(typed) == table:
        return typed
    return "# What was run, options included; written by the export, not by hand.\n\n" + to_toml(table)


def _commit(provenance: dict[str, str]) -> str:
    """Return the commit that a run names; `unknown` for what is none, which the card would have a reader type in."""
    commit = provenance.get("git_commit", "")
    return commit if re.fullmatch(r"[0-9a-f]{7,64}", commit) else "unknown"


def _describe_table(data: Data, facts: DataFacts) -> dict[str, Any]:
    """Describe the columns that a model of a table takes by name; nothing where rows are arrays."""
    if not facts.columns:
        return {}
    missing = [] if not is_text(data.source) else MISSING if data.missing is None else data.missing
    columns = [{**asdict(column), "features": list(column.features)} for column in facts.columns]
    return {"label": data.label, "separator": data.separator, "missing": list(missing), "columns": columns}


def _summary(
    conclusion: Conclusion, champion: Column, replicate: TrackedTrial, model_id: str, sha256: str
) -> dict[str, Any]:
    study, facts = conclusion.tracked.study, conclusion.tracked.facts
    provenance, summaries = replicate.provenance, champion.summaries
    target = {} if facts.target is None else {"target": {"name": study.data.label, **asdict(facts.target)}}
    return {
        "study": study.name,
        "champion": champion.finalist.name,
        "config": champion.finalist.config.to_dict(),
        "params_count": champion.params_count,
        "input": {
            "name": "rows",
            "dtype": "float64" if facts.rows_dtype == "float64" else "float32",
            "features": facts.n_features,
            "shape": list(facts.feature_shape),
            "scaling": facts.scaling,
            "rows_dtype": facts.rows_dtype,  # as rows are in the data
            **_describe_table(study.data, facts),
        },
        "classes": list(facts.classes),
        **target,
        "metrics_of_this_model": {
            metric: replicate.metrics[metric] for metric in summaries if metric in replicate.metrics
        },
        "metrics_over_replicates": {
            metric: {"n": s.n, "mean": s.mean, "sd": s.sd if s.n > 1 else None} for metric, s in summaries.items()
        },
        "selected_by": {"objective": study.objective, "value": champion.selected_value, "run": champion.selected_run},
        "run": replicate.run_id,
        "replicate_runs": list(champion.replicate_runs),
        "mlflow_model": f"models:/{model_id}",
        "model_sha256": sha256,
        "data": {"name": facts.name, "sha256": facts.sha256},
        "seed": replicate.trial.seed,
        "command": f"python -m sweep run {bundle.STUDY}",
        "git_commit": _commit(provenance),
        "trained_on": {name: provenance[name] for name in ("engine", "device", "processor") if name in provenance},
        "git_dirty": provenance.get("git_dirty", "unknown"),
        "versions": {
            name.removeprefix("version_"): value
            for name, value in sorted(provenance.items())
            if name.startswith("version_")
        },
    }
