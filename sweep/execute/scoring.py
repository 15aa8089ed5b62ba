"""Scoring confirmed models on the test split, in a process of its own."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from sweep.data import PreparedData
from sweep.execute.once import in_process
from sweep.trial import Logs

Scores = dict[str, tuple[Logs, bytes]]


def score_in_process(
    models: dict[str, Path], data: PreparedData, log: Path, is_interrupted: Callable[[], bool]
) -> Scores:
    """See `train.score.score_models`. Raises Interrupted when asked to stop, WorkersError if the process keeps dying."""
    return in_process(partial(_score, models, data), "scoring on the test split", log, is_interrupted)


def _score(models: dict[str, Path], data: PreparedData) -> Scores:
    from sweep.train.score import score_models

    return score_models(models, data)
