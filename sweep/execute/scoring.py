"""Scoring confirmed models on the test split, in a process of its own."""

from functools import partial
from pathlib import Path

from sweep.data import PreparedData
from sweep.execute.once import in_process
from sweep.trial import Logs


def score_in_process(models: dict[str, Path], data: PreparedData, log: Path) -> dict[str, tuple[Logs, bytes]]:
    """See `train.score.score_models`. Raises WorkersError if the process fails."""
    return in_process(partial(_score, models, data), "scoring on the test split", log)


def _score(models: dict[str, Path], data: PreparedData) -> dict[str, tuple[Logs, bytes]]:
    from sweep.train.score import score_models

    return score_models(models, data)
