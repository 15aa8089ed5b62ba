"""Run one study from start to end: recover, search, confirm, score; track every trial on the way."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sweep.data.prepared import PreparedData
from sweep.durable.disk import check_keeps_locks
from sweep.errors import ChangedStudyError, Interrupted, MissingRunsError, RecordError
from sweep.execute.executor import Executor
from sweep.layout import RunsDir
from sweep.loop import Watch, run_trials
from sweep.record import results
from sweep.record.hold import Hold, hold_study
from sweep.record.provenance import read_provenance
from sweep.record.storage import is_recorded
from sweep.record.takeover import check_alike, list_offers
from sweep.record.trials import Record, RecordedTrial, read_stored_search
from sweep.search.finalists import Finalist
from sweep.search.sources import ConfirmSource, SearchSource, choose_finalists
from sweep.study.schema import Study
from sweep.track.names import FAILED, FINISHED, KILLED
from sweep.track.tracker import Projection, Tracker
from sweep.trial import Logs, Phase, Score, State, Trial, TrialResult

logger = logging.getLogger(__name__)

LAST_WORDS_S = 3.0  # a command that stops early spends at most this long on tracking; the next start tracks the rest

StartExecutor = Callable[[Path], Executor]  # takes the folder for results
# Takes saved models by key; returns test metrics and packed predictions by key.
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
    with hold_study(job.runs, job.study.name) as held:
        runtime = replace(runtime, is_interrupted=partial(_is_interrupted, held, runtime.is_interrupted))
        search, confirmation = open_records(job, held)
        _refuse_strangers(folder, search, confirmation)
        tracker = Tracker(partial(_open_projection, job, held), held.check)
        runtime.remember([*search.trials.values(), *confirmation.trials.values()])
        try:
            with _LazyExecutor(partial(runtime.start_executor, folder)) as executor:
                _search(job, runtime, executor, search, tracker, fork)
                finalists = choose_finalists(job.study, search, confirmation, folder)
                _confirm(job, runtime, executor, confirmation, finalists)
            held.check()
            results.remove_drafts(folder)  # left by workers that died
            _stop_if_asked(runtime)
            _score(job, runtime, confirmation, folder)
            _stop_if_asked(runtime)
            _track_all(tracker, confirmation, folder)
        except Exception as error:
            tracker.close(KILLED if isinstance(error, Interrupted) else FAILED, _start_timer(LAST_WORDS_S))
            raise
        trouble = tracker.close(FINISHED, runtime.is_interrupted)
        _stop_if_asked(runtime)
        if trouble is not None:
            raise trouble


def sync_study(job: Job) -> None:
    """Track the recorded trials that MLflow lacks. Trains and scores nothing. Raises TrackingError."""
    folder = job.runs.results(job.study.name)
    with hold_study(job.runs, job.study.name) as held:
        search, confirmation = open_records(job, held)
        waiting = _list_unscored(job, confirmation, folder)
        is_whole = not (waiting or search.list_unfinished() or confirmation.list_unfinished())
        tracker = Tracker(partial(_open_projection, job, held), held.check)
        _track_all(tracker, search, folder)
        _track_all(tracker, confirmation, folder, but=waiting)
        if trouble := tracker.close(FINISHED if is_whole else KILLED):
            raise trouble


def check_recorded(runs: RunsDir, name: str) -> None:
    """Raise MissingRunsError if the record holds no study of that name, or a half deleted one."""
    results.refuse_deleted(runs, name)
    if not is_recorded(runs.record, name):
        raise MissingRunsError(f"{runs.record}: holds no study {name!r}; run it first: make sweep")


def open_records(job: Job, held: Hold) -> tuple[Record, Record]:
    """Open the records of the search and of the confirmation.

    Raises ChangedStudyError, RecordError, StorageError, and MissingRunsError for a half deleted study.
    """
    results.refuse_deleted(job.runs, job.study.name)
    if job.runs.holds_databases:
        check_keeps_locks(job.runs.root)
    where, facts = job.runs.record, job.data.facts
    return (
        Record.open(where, job.study, Phase.SEARCH, facts, held),
        Record.open(where, job.study, Phase.CONFIRM, facts, held),
    )


def _refuse_strangers(folder: Path, *records: Record) -> None:
    """Raise RecordError if a result belongs to no recorded trial.

    A trial is claimed before it is trained, so no crash leaves such a result: the record was replaced. Its next trial
    would take the key of another config's result.
    """
    if strangers := results.list_strangers(folder, {key for record in records for key in record.trials}):
        raise RecordError(
            f"{strangers[0]}: a result of no recorded trial, {len(strangers)} in all: they belong to another record than "
            "this one; restore it from a copy, or choose another --runs-dir"
        )


def _start_timer(seconds: float) -> Callable[[], bool]:
    """Return a function that tells whether `seconds` have passed since this call."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _is_interrupted(held: Hold, is_interrupted: Callable[[], bool]) -> bool:
    held.poll()
    return is_interrupted()


def _stop_if_asked(runtime: Runtime) -> None:
    if runtime.is_interrupted():
        raise Interrupted


def _open_projection(job: Job, held: Hold) -> Projection:
    # Imported here, on the tracker's thread: MLflow takes seconds to load, and the workers start meanwhile.
    from sweep.track.experiment import ProjectedStudy
    from sweep.track.projection import Projection as MlflowProjection

    projected = ProjectedStudy(job.study, job.table, job.data.facts, read_provenance())
    return MlflowProjection(job.runs, projected, held.check)


class _LazyExecutor(AbstractContextManager["_LazyExecutor"]):
    """Holds the executor that search and confirmation share. It starts when one of them first has a trial to train."""

    def __init__(self, start: Callable[[], Executor]) -> None:
        self._start = start
        self._started: Executor | None = None

    def get(self) -> Executor:
        """Return the executor; start it on the first call."""
        if self._started is None:
            self._started = self._start()
        return self._started

    def __exit__(self, *exception: object) -> None:
        if self._started is not None:
            self._started.close()


def _search(
    job: Job, runtime: Runtime, executor: _LazyExecutor, search: Record, tracker: Tracker, fork: str | None
) -> None:
    """Recover the search, then train its baselines and the sampler's trials. Track each as it ends."""
    folder = job.runs.results(job.study.name)
    source = SearchSource(job.study, search, folder)  # recovers
    if fork is not None:
        _take_over(job, fork, search, source)
    _track_all(tracker, search, folder)

    def track(trial: Trial, result: TrialResult) -> None:
        tracker.track(trial, lambda: (result, None))

    run_trials(source, executor.get, track, runtime.watch, runtime.is_interrupted)


def _confirm(
    job: Job, runtime: Runtime, executor: _LazyExecutor, confirmation: Record, finalists: list[Finalist]
) -> None:
    """Recover the confirmation, then train the replicates that it lacks.

    Tracks none of them. A replicate is tracked with its score, and the test split is opened only when all are trained.
    """
    source = ConfirmSource(job.study, confirmation, finalists, job.runs.results(job.study.name))  # recovers
    run_trials(source, executor.get, lambda trial, result: None, runtime.watch, runtime.is_interrupted)


def _take_over(job: Job, name: str, search: Record, source: SearchSource) -> None:
    if name == job.study.name:
        raise ChangedStudyError(f"--fork {name}: give the study file another name first, or leave --fork out")
    check_recorded(job.runs, name)
    identity, trials = read_stored_search(job.runs.record, name)
    check_alike(name, identity, search.identity)
    n_before = len(search.trials)
    source.take_over(list_offers(name, trials, job.runs.results(name)))
    logger.info("took over %d trials of study %s", len(search.trials) - n_before, name)


def _score(job: Job, runtime: Runtime, confirmation: Record, folder: Path) -> None:
    """Score the complete replicates that have no score, and make each score durable."""
    unscored = _list_unscored(job, confirmation, folder)
    if not unscored:
        return
    logger.info("scoring %d replicates on the sealed test split", len(unscored))
    for key in unscored:
        results.load(folder / key)  # checks the model's hash
    for key, (metrics, predictions) in runtime.score({key: folder / key / results.MODEL for key in unscored}).items():
        confirmation.hold.check()
        results.save_score(folder / key, metrics, predictions)


def _list_unscored(job: Job, confirmation: Record, folder: Path) -> list[str]:
    """Return the keys of the complete replicates that have no score."""
    if not job.data.facts.n_test:
        return []
    complete = (key for key, recorded in confirmation.trials.items() if recorded.state == State.COMPLETE)
    return [key for key in complete if (folder / key).exists() and results.load_score(folder / key) is None]


def _track_all(tracker: Tracker, record: Record, folder: Path, but: Sequence[str] = ()) -> None:
    """Hand every ended trial to the tracker, which skips those that MLflow has already."""
    for key, recorded in record.trials.items():
        if recorded.state is not None and key not in but:
            tracker.track(recorded.trial, partial(_load, folder / key))


def _load(folder: Path) -> tuple[TrialResult, Score | None]:
    return results.load(folder), results.load_score(folder)
