"""A process that scores confirmed models on the test split, and ends."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from sweep.data import PreparedData
from sweep.errors import Interrupted, WorkersError
from sweep.execute.worker import deaf_to_ctrl_c, settle_in
from sweep.trial import Logs

POLL_S = 0.2  # how long an interruption can go unnoticed
MAX_DEATHS = 3  # of the process, in a row

Scores = dict[str, tuple[Logs, bytes]]


def score_in_process(
    models: dict[str, Path], data: PreparedData, log: Path, is_interrupted: Callable[[], bool]
) -> Scores:
    """See `train.score.score_models`. Raises Interrupted when asked to stop, WorkersError if the process keeps dying."""
    for _ in range(MAX_DEATHS):
        scored = _scored(models, data, log, is_interrupted)
        if isinstance(scored, dict):
            return scored
    raise WorkersError(f"scoring on the test split ended with exit code {scored}; see {log}")


def _scored(
    models: dict[str, Path], data: PreparedData, log: Path, is_interrupted: Callable[[], bool]
) -> Scores | int | None:
    """What one process says, or its exit code where it says nothing."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_score, args=(theirs, models, data, log), name="sweep-scoring", daemon=True)
    with deaf_to_ctrl_c():
        process.start()
    theirs.close()
    try:
        while not ours.poll(POLL_S):
            if is_interrupted():
                process.kill()
                raise Interrupted
        scores: Scores = ours.recv()
        return scores
    except (EOFError, OSError):  # it died, before it said anything or in the middle
        process.join()
        return process.exitcode
    finally:
        process.join()


def _score(connection: Connection, models: dict[str, Path], data: PreparedData, log: Path) -> None:
    settle_in(log, core=None)
    from sweep.train.score import score_models

    connection.send(score_models(models, data))
