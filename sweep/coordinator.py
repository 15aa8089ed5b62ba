"""One study from start to end: recover, search, confirm, score, with every trial tracked on the way."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from sweep.data.prepared import PreparedData
from sweep.durable.disk import check_keeps_locks
from sweep.durable.files import make_folder
from sweep.durable.lock import hold
from sweep.errors import ChangedStudyError, Interrupted, MissingRunsError, RecordError
from sweep.execute.executor import Executor
from sweep.layout import RunsDir
from sweep.loop import Source, Watch, run_trials
from sweep.record import results
from sweep.record.provenance import read_provenance
from sweep.record.takeover import check_alike, found
from sweep.record.trials import Record, RecordedTrial, is_recorded, stored_search
from sweep.search.finalists import select_finalists
from sweep.search.sources import ConfirmSource, SearchSource
from sweep.study.schema import Study
from sweep.track.tracker import Projection, Tracker
from sweep.trial import Logs, Phase, Score, State, Trial, TrialResult

logger = logging.getLogger(__name__)

LAST_WORDS_S = 3.0  # that a command which stops early may spend on tracking; the next start tracks the rest

StartExecutor = Callable[[Path], Executor]  # takes the folder for results
# Saved models by key -> test metrics and packed predictions by key.
ScoreModels = Callable[[dict[str, Path]], dict[str, tuple[Logs, bytes]]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A study, its data, and the directory that its runs are kept in."""

    study: Study
    table: dict[str, Any]  # the study file as typed
    data: PreparedData
    runs: RunsDir


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The functions that train and score a study's trials, and that follow its progress."""

    start_executor: StartExecutor
    score: ScoreModels
    watch: Watch
    remember: Callable[[Iterable[RecordedTrial]], None]  # is given the trials recorded earlier, before any training
    is_interrupted: Callable[[], bool]


def run_study(job: Job, runtime: Runtime, fork: str | None = None) -> None:
    """Train the trials that the study lacks, score its confirmed replicates, and track them all.

    fork: name of a stored study whose trials are taken over.
    Safe to repeat and to kill: recorded work is not repeated. Raises Interrupted when asked to stop.
    """
    folder = job.runs.results(job.study.name)
    make_folder(folder)
    with hold(folder / results.LOCK):
        search, confirmation = open_records(job)
        _refuse_strangers(folder, search, confirmation)
        tracker = Tracker(partial(_open_projection, job))
        runtime.remember([*search.trials.values(), *confirmation.trials.values()])
        try:
            _train(job, runtime, fork, search, confirmation, tracker, folder)
            _stop_if_asked(runtime)
            _score(job, runtime, confirmation, folder)
            _stop_if_asked(runtime)
            _track_all(tracker, confirmation, folder)
        except Exception as error:
            tracker.close("KILLED" if isinstance(error, Interrupted) else "FAILED", _over(LAST_WORDS_S))
            raise
        trouble = tracker.close("FINISHED", runtime.is_interrupted)
        _stop_if_asked(runtime)
        if trouble is not None:
            raise trouble


def sync_study(job: Job) -> None:
    """Track what was recorded and is not in MLflow; trains and scores nothing. Raises TrackingError."""
    folder = job.runs.results(job.study.name)
    with hold(folder / results.LOCK):
        search, confirmation = open_records(job)
        waiting = _unscored(job, confirmation, folder)
        is_whole = not (waiting or search.unfinished() or confirmation.unfinished())
        tracker = Tracker(partial(_open_projection, job))
        _track_all(tracker, search, folder)
        _track_all(tracker, confirmation, folder, but=waiting)
        if trouble := tracker.close("FINISHED" if is_whole else "KILLED"):
            raise trouble


def check_recorded(runs: RunsDir, name: str) -> None:
    """Raises MissingRunsError where the record holds no study of that name."""
    if not is_recorded(runs.optuna_db, name):
        raise MissingRunsError(f"{runs.optuna_db}: holds no study {name!r}; run it first: make sweep")


def open_records(job: Job) -> tuple[Record, Record]:
    """Of the search and of the confirmation. Raises ChangedStudyError, RecordError, StorageError."""
    check_keeps_locks(job.runs.root)
    db, sha256 = job.runs.optuna_db, job.data.facts.sha256
    return Record(db, job.study, Phase.SEARCH, sha256), Record(db, job.study, Phase.CONFIRM, sha256)


def _refuse_strangers(folder: Path, *records: Record) -> None:
    """A trial is claimed before it is trained, so no crash leaves a result of none: the record is not the one it was.

    Its next trial would take the key of a result of another config.
    """
    if strangers := results.list_strangers(folder, {key for record in records for key in record.trials}):
        raise RecordError(
            f"{strangers[0]}: a result of no recorded trial, {len(strangers)} in all: optuna.db is not the record that they "
            "belong to; restore it from a copy, or choose another --runs-dir"
        )


def _over(seconds: float) -> Callable[[], bool]:
    """Whether so much time has passed since now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _stop_if_asked(runtime: Runtime) -> None:
    if runtime.is_interrupted():
        raise Interrupted


def _open_projection(job: Job) -> Projection:
    # Imported here, on the tracker's thread: MLflow takes seconds to load, and workers start in the meantime.
    from sweep.track.projection import Projection as MlflowProjection
    from sweep.track.projection import Tracked

    return MlflowProjection(job.runs, Tracked(job.study, job.table, job.data.facts, read_provenance()))


def _train(
    job: Job,
    runtime: Runtime,
    fork: str | None,
    search: Record,
    confirmation: Record,
    tracker: Tracker,
    folder: Path,
) -> None:
    with ExitStack() as stack:

        @cache
        def executor() -> Executor:
            started = runtime.start_executor(folder)
            stack.callback(started.close)
            return started

        def run(source: Source, track: Callable[[Trial, TrialResult], None]) -> None:
            run_trials(source, executor, track, runtime.watch, runtime.is_interrupted)

        source = SearchSource(job.study, search, folder)
        if fork is not None:
            _take_over(job, fork, search, source)
        _track_all(tracker, search, folder)
        run(source, lambda trial, result: tracker.track(trial, lambda: (result, None)))
        chosen = select_finalists(job.study, search.complete())
        # A replicate is tracked when it is scored, which is when all are trained: only then is the test split opened.
        run(ConfirmSource(job.study, confirmation, chosen, folder), lambda trial, result: None)
    results.remove_drafts(folder)  # of workers that died


def _take_over(job: Job, name: str, search: Record, source: SearchSource) -> None:
    if name == job.study.name:
        raise ChangedStudyError(f"--fork {name}: give the study file another name first, or leave --fork out")
    check_recorded(job.runs, name)
    identity, trials = stored_search(job.runs.optuna_db, name)
    check_alike(name, identity, search.identity)
    n_before = len(search.trials)
    source.take_over(found(name, trials, job.runs.results(name)))
    logger.info("took over %d trials of study %s", len(search.trials) - n_before, name)


def _score(job: Job, runtime: Runtime, confirmation: Record, folder: Path) -> None:
    """Score the complete replicates that have no score, and make each score durable."""
    unscored = _unscored(job, confirmation, folder)
    if not unscored:
        return
    logger.info("scoring %d replicates on the sealed test split", len(unscored))
    for key in unscored:
        results.load(folder / key)  # checks the model's hash
    for key, (metrics, predictions) in runtime.score({key: folder / key / results.MODEL for key in unscored}).items():
        results.save_score(folder / key, metrics, predictions)


def _unscored(job: Job, confirmation: Record, folder: Path) -> list[str]:
    """Complete replicates that wait for their score."""
    if not job.data.facts.n_test:
        return []
    complete = (key for key, recorded in confirmation.trials.items() if recorded.state == State.COMPLETE)
    return [key for key in complete if (folder / key).exists() and results.load_score(folder / key) is None]


def _track_all(tracker: Tracker, record: Record, folder: Path, but: Sequence[str] = ()) -> None:
    """Have every trial that ended tracked; those that are already cost nothing."""
    for key, recorded in record.trials.items():
        if recorded.state is not None and key not in but:
            tracker.track(recorded.trial, partial(_load, folder / key))


def _load(folder: Path) -> tuple[TrialResult, Score | None]:
    return results.load(folder), results.load_score(folder)
