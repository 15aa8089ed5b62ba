"""Save a trial's result together with the files of its model: weights, summary, history, curves."""

import json
from pathlib import Path

import keras

from sweep.data.facts import DataFacts
from sweep.data.scaling import Scaling
from sweep.record import results
from sweep.train.model import Weights, add_scaling, build_net, get_weight_name
from sweep.train.pictures import draw_curves
from sweep.trial import State, Trial, TrialResult


def save_result(
    folder: Path, trial: Trial, result: TrialResult, net: keras.Sequential, facts: DataFacts, scaling: Scaling | None
) -> TrialResult:
    """Make `result` durable as `folder`, with its summary, history and curves, and the model if it keeps one.

    The model is the trained `net` with its scaling before it, and with the label's unit behind it.
    """
    model = add_scaling(net, scaling, facts.target)
    return results.save(folder, result, lambda draft: _write_files(draft, trial, result, model))


def save_weights(
    folder: Path, trial: Trial, result: TrialResult, weights: Weights | None, facts: DataFacts, scaling: Scaling | None
) -> TrialResult:
    """Do what `save_result` does for a net given by its weights; None for a trial that failed."""
    net = build_net(trial.config, facts)
    if weights is not None:
        for variable in net.weights:
            variable.assign(weights[get_weight_name(variable)])
    return save_result(folder, trial, result, net, facts, scaling)


def _write_files(draft: Path, trial: Trial, result: TrialResult, model: keras.Model) -> None:
    (draft / results.HISTORY).write_text(json.dumps(result.history, indent=1), encoding="utf-8")
    (draft / results.SUMMARY).write_text(_summarize(model), encoding="utf-8")
    if len(result.history) > 0:
        draw_curves(result.history, trial.label, result.best_epoch, draft / results.CURVES)
    if result.state != State.FAILED and trial.keeps_model:
        model.save(draft / results.MODEL)


def _summarize(model: keras.Model) -> str:
    lines: list[str] = []
    model.summary(line_length=80, print_fn=lines.append)
    return "\n".join(lines)
