"""Score confirmed models on the test split, in processes of their own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from sweep.data.prepared import PreparedData
from sweep.execute.one_task import run_in_process
from sweep.execute.workers import list_cores
from sweep.trial import Logs

WORTH_A_PROCESS = 8  # models; scoring so many takes as long as a process takes to load TensorFlow

Scores = dict[str, tuple[Logs, bytes]]


def score_in_processes(
    models: dict[str, Path], data: PreparedData, log: Path, is_interrupted: Callable[[], bool]
) -> Scores:
    """Do what `train.score.score_models` does, shared among processes.

    Raises Interrupted when asked to stop, WorkersError if a process keeps dying.
    """
    n = max(1, min(len(list_cores()), len(models) // WORTH_A_PROCESS))
    parts = [dict(list(models.items())[start::n]) for start in range(n)]

    def score(part: dict[str, Path]) -> Scores:
        return run_in_process(partial(_score, part, data), "scoring on the test split", log, is_interrupted)

    with ThreadPoolExecutor(n) as threads:  # each thread waits for a process
        return {key: scored for part in threads.map(score, parts) for key, scored in part.items()}


def _score(models: dict[str, Path], data: PreparedData) -> Scores:
    from sweep.train.score import score_models

    return score_models(models, data)
