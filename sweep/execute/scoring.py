"""A process that scores confirmed models on the test split, and ends."""

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

from sweep.data import PreparedData
from sweep.errors import WorkersError
from sweep.execute.worker import settle_in
from sweep.trial import Logs


def score_in_process(models: dict[str, Path], data: PreparedData, log: Path) -> dict[str, tuple[Logs, bytes]]:
    """See `train.score.score_models`. Raises WorkersError if the process fails."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_score, args=(theirs, models, data, log), name="sweep-scoring", daemon=True)
    process.start()
    theirs.close()
    try:
        scores: dict[str, tuple[Logs, bytes]] = ours.recv()
    except EOFError:
        process.join()
        raise WorkersError(f"scoring on the test split ended with exit code {process.exitcode}; see {log}") from None
    process.join()
    return scores


def _score(connection: Connection, models: dict[str, Path], data: PreparedData, log: Path) -> None:
    settle_in(log, core=None)
    from sweep.train.score import score_models

    connection.send(score_models(models, data))
