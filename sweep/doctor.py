"""Checks every invariant of a study from its databases and files. Offline; only `mend` changes anything."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sweep.champion import bundle
from sweep.champion.export import best_replicate
from sweep.champion.registry import list_registered_runs
from sweep.coordinator import Job, open_records, sync_study
from sweep.durable.files import sha256_of
from sweep.errors import DamagedResultError, LostExperimentError, MissingRunsError, TrackingError
from sweep.layout import RunsDir
from sweep.record import results
from sweep.record.hold import hold_study
from sweep.record.trials import Record
from sweep.report.conclusion import Conclusion, conclude
from sweep.report.files import find_stale, publish
from sweep.report.upload import is_uploaded, upload
from sweep.search.finalists import plan_replicates
from sweep.search.sources import choose_finalists
from sweep.study.schema import Study
from sweep.track.errors import REWRITE
from sweep.track.fields import TrackedTrial
from sweep.track.names import RUNNING
from sweep.track.run_files import RunFiles
from sweep.track.runs import TrackedStudy, read_study
from sweep.trial import Ended, Phase, Score, State

CONTINUE = "the same `run` command continues"


class Remedy(StrEnum):
    """The action that `mend` can take on a finding."""

    DRAFTS = "drafts"  # remove what killed writers left
    SYNC = "sync"  # write missing runs
    REPORT = "report"  # write report and export anew


@dataclass(frozen=True)
class Finding:
    """An invariant that does not hold, in a line, and the way out."""

    what: str
    way_out: str
    remedy: Remedy | None = None  # None: a person has to act


@dataclass(frozen=True)
class Diagnosis:
    """The findings, and how much was checked."""

    n_trials: int
    n_runs: int
    findings: list[Finding]


def diagnose(job: Job) -> Diagnosis:
    """Check everything that the study has left. Raises StudyInUseError while a sweep is at work on it."""
    if damaged := list(_databases(job.runs)):
        return Diagnosis(0, 0, damaged)
    folder = job.runs.results(job.study.name)
    with hold_study(job.runs, job.study.name) as held:
        records = open_records(job, held)
        ended, findings = _diagnose_record(job, records, folder)
        try:
            tracked = read_study(job.runs, job.study.name)
        except LostExperimentError as error:
            findings.append(Finding(str(error), "MLflow was not looked at beyond that"))
            return Diagnosis(len(ended), 0, findings)
        except (MissingRunsError, TrackingError) as error:
            findings.append(Finding(str(error), "`sync` writes MLflow's runs anew", Remedy.SYNC))
            return Diagnosis(len(ended), 0, findings)
        except DamagedResultError as error:
            findings.append(Finding(str(error), "no run was looked at beyond that"))
            return Diagnosis(len(ended), 0, findings)
        findings += _diagnose_runs(tracked, records, ended)
        if not findings:  # else report and export are made from what does not hold
            findings += _outcome(conclude(tracked))
        return Diagnosis(len(ended), len(tracked.trials), findings)


def mend(job: Job, findings: list[Finding], release: Callable[[Conclusion], object]) -> None:
    """Do what can be done without a person and without training. Safe to repeat.

    release: exports and registers the champion of a study that has one.
    """
    remedies = {finding.remedy for finding in findings}
    if Remedy.DRAFTS in remedies:
        folder = job.runs.results(job.study.name)
        with hold_study(job.runs, job.study.name):
            results.remove_drafts(folder)
    if Remedy.SYNC in remedies:
        sync_study(job)
    if remedies & {Remedy.SYNC, Remedy.REPORT}:
        conclusion = conclude(read_study(job.runs, job.study.name))
        publish(conclusion)
        if conclusion.champion is not None:
            release(conclusion)
        upload(conclusion)


def _diagnose_record(job: Job, records: tuple[Record, Record], folder: Path) -> tuple[dict[str, Ended], list[Finding]]:
    """Check the record and the results; return also what every sound trial has left, by key."""
    search, confirmation = records
    findings = [*_budget(job.study, search, confirmation, folder), *_leftovers(records, folder)]
    ended: dict[str, Ended] = {}
    for record in records:
        read, damaged = _read(record, folder)
        findings += [*damaged, *_results(job, record, read)]
        ended |= read
    return ended, findings


def _diagnose_runs(tracked: TrackedStudy, records: tuple[Record, Record], ended: dict[str, Ended]) -> Iterator[Finding]:
    told = {key for record in records for key, recorded in record.trials.items() if recorded.state is not None}
    yield from _runs(tracked, told)
    for one in tracked.trials:
        if one.trial.key in ended:
            yield from _run(tracked.files, one, ended[one.trial.key])


def _databases(runs: RunsDir) -> Iterator[Finding]:
    """Run SQLite's own check of both files."""
    ways_out = {} if runs.record_server else {runs.optuna_db: "restore it from a copy"}
    if runs.mlflow_server is None:
        ways_out[runs.mlflow_db] = "move it away with artifacts/, and `sync` writes both anew"
    for db, way_out in ways_out.items():
        if db.exists() and (wrong := _integrity(db)) != "ok":
            yield Finding(f"{db}: damaged: {wrong}", way_out)


def _integrity(db: Path) -> str:
    try:
        with closing(sqlite3.connect(f"file:{db.absolute()}?mode=ro", uri=True)) as connection:
            return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)


def _budget(study: Study, search: Record, confirmation: Record, folder: Path) -> Iterator[Finding]:
    """Report trials that the study asks for but the record lacks, and trials that were claimed but never finished."""
    for record in (search, confirmation):
        yield from _unfinished(record)
    yield from _search_budget(study, search)
    for record in (search, confirmation):
        yield from _repeated(record)
    yield from _missing_baselines(study, search)
    yield from _missing_replicates(study, search, confirmation, folder)


def _unfinished(record: Record) -> Iterator[Finding]:
    for trial in record.list_unfinished():
        yield Finding(f"{trial.key} is claimed and has not ended", CONTINUE)


def _search_budget(study: Study, search: Record) -> Iterator[Finding]:
    n_searched = sum(recorded.trial.phase == Phase.SEARCH for recorded in search.trials.values())
    n_asked = study.search.trials
    if n_asked is None or study.search.epochs is not None or study.search.minutes is not None:
        return  # the search may have ended by another budget
    n_wanted = n_asked
    if study.space is not None:
        n_in_space = sum(study.in_space(recorded.trial.config) for recorded in search.trials.values())
        n_wanted = int(min(n_wanted, n_searched + study.space.n_configs() - n_in_space))
    if n_searched < n_wanted:
        yield Finding(f"{n_searched} of {n_wanted} searched trials are recorded", CONTINUE)
    elif n_searched > n_asked:
        raised = f"set search.trials = {n_searched}, for nothing that was trained is taken back"
        yield Finding(f"{n_searched} searched trials are recorded, {n_asked} are asked for", raised)


def _repeated(record: Record) -> Iterator[Finding]:
    trained = Counter(
        (trial.config, trial.replicate, trial.promoted_from) for trial in (r.trial for r in record.trials.values())
    )
    for (config, *_), n in trained.items():
        if n > 1:
            yield Finding(f"config {config.label} is recorded {n} times", "restore the record from a copy")


def _missing_baselines(study: Study, search: Record) -> Iterator[Finding]:
    known = {recorded.trial.config for recorded in search.trials.values()}
    for baseline in study.baselines if study.data.validation_rows else ():
        if baseline.config not in known:
            yield Finding(f"baseline {baseline.name!r} is not recorded", CONTINUE)


def _missing_replicates(study: Study, search: Record, confirmation: Record, folder: Path) -> Iterator[Finding]:
    confirmed = {(r.trial.config, r.trial.replicate) for r in confirmation.trials.values()}
    try:
        finalists = choose_finalists(study, search, confirmation, folder)
    except DamagedResultError:  # a finding of its own
        return
    for finalist, replicate in plan_replicates(study, finalists):
        if (finalist.config, replicate) not in confirmed:
            yield Finding(f"replicate {replicate} of {finalist.name} is not recorded", CONTINUE)


def _leftovers(records: tuple[Record, Record], folder: Path) -> Iterator[Finding]:
    """Report drafts, and result folders that belong to no recorded trial."""
    known = {key for record in records for key in record.trials}
    for path in results.list_drafts(folder):
        yield Finding(f"{path}: a draft that its writer left", "`doctor --fix` removes it", Remedy.DRAFTS)
    for path in results.list_strangers(folder, known):
        yield Finding(f"{path}: a result of no recorded trial", "remove it, or restore the record from a copy")


def _read(record: Record, folder: Path) -> tuple[dict[str, Ended], list[Finding]]:
    """Read the results of every trial that has ended, by key; report those that are damaged."""
    ended: dict[str, Ended] = {}
    damaged = []
    for key, recorded in record.trials.items():
        if recorded.state is None:
            continue
        try:
            result, score = results.load(folder / key), results.load_score(folder / key)
            ended[key] = Ended(recorded.trial, result, score)
        except DamagedResultError as error:
            damaged.append(Finding(str(error), "its run in MLflow is not touched"))
    return ended, damaged


def _results(job: Job, record: Record, ended: dict[str, Ended]) -> Iterator[Finding]:
    """Report results that differ from the record, and replicates that are not scored."""
    restore = "restore the record or the folder from a copy"
    for key, one in ended.items():
        recorded, result = record.trials[key], one.result
        value = record.objective_of(result)
        if (result.state, result.key) != (recorded.state, key):
            yield Finding(
                f"{key} is {recorded.state} in the record, its result is {result.state} ({result.key})", restore
            )
        elif recorded.state == State.COMPLETE and recorded.value != value:
            yield Finding(f"{key} has the value {recorded.value} in the record, {value} in its result", restore)
        is_to_score = recorded.trial.phase == Phase.CONFIRM and result.state == State.COMPLETE and job.data.facts.n_test
        if is_to_score and one.score is None:
            yield Finding(f"{key} is not scored on the test split", CONTINUE)


def _runs(tracked: TrackedStudy, told: set[str]) -> Iterator[Finding]:
    """Report trials that have ended (`told`, by key) without a run, runs without a trial, and runs that are RUNNING."""
    keys = Counter(one.trial.key for one in tracked.trials)
    if missing := sorted(told - keys.keys()):
        what = f"{len(missing)} trials have no run in MLflow: {_some(missing)}"
        yield Finding(what, "`doctor --fix` or `sync` tracks them", Remedy.SYNC)
    if half := list(tracked.half_written):
        what = f"{len(half)} runs are half written: {_some(half)}"
        yield Finding(what, "`doctor --fix` or `sync` completes them", Remedy.SYNC)
    if tracked.parent_status == RUNNING:
        what = f"parent run {tracked.parent_run_id} is RUNNING"
        yield Finding(what, "`doctor --fix` or `sync` ends it", Remedy.SYNC)
    for key, n in keys.items():
        if n > 1:
            yield Finding(f"{key} has {n} runs in MLflow", "delete all but one there")
        elif key not in told:
            what = f"{key} has a run in MLflow, and is not recorded as ended"
            yield Finding(what, "delete it there, or restore the record")


def _run(files: RunFiles, tracked: TrackedTrial, ended: Ended) -> Iterator[Finding]:
    """Report where one run differs from its trial's result, in figures or in files, to the byte."""
    result, test = ended.result, ended.score or Score({}, {})
    who, way_out = f"run {tracked.run_id} of {result.key}", REWRITE
    if tracked.state != result.state:
        yield Finding(f"{who} is {tracked.state}, its result {result.state}", way_out)
    metrics = {**result.metrics, **test.metrics}
    if wrong := [name for name, value in metrics.items() if not _is_equal(tracked.metrics.get(name), value)]:
        yield Finding(f"{who} differs from its result in {', '.join(wrong)}", way_out)
    for name, digest in {**result.files, **test.files}.items():
        try:
            path = files.saved_model(tracked.run_id) if name == results.MODEL else files.artifact(tracked.run_id, name)
            if sha256_of(path) != digest:
                yield Finding(f"{who}: {name} is not what was logged (sha256)", way_out)
        except (MissingRunsError, TrackingError) as error:
            yield Finding(f"{who}: {name}: {error}", way_out)


def _is_equal(tracked: float | None, value: float) -> bool:
    """Return whether a run has the value. NaN is equal to NaN here, and to none: MLflow keeps it for models alone."""
    return tracked == value or (value != value and (tracked is None or tracked != tracked))


def _outcome(conclusion: Conclusion) -> Iterator[Finding]:
    """Report where report and export, if they were made, are not what the runs give."""
    runs, study = conclusion.tracked.runs, conclusion.tracked.study.name
    if runs.reports(study).exists():
        yield from _report(conclusion)
    if runs.exports(study).exists():
        yield from _export(conclusion, runs.exports(study))


def _export(conclusion: Conclusion, folder: Path) -> Iterator[Finding]:
    """Report a bundle that is damaged, is not the champion's, or is not in MLflow's registry."""
    tracked, champion = conclusion.tracked, conclusion.champion
    way_out = "`doctor --fix` or `export` writes it anew"
    try:
        summary = bundle.read_summary(folder)
        if champion is None or summary.get("config") != champion.finalist.config.to_dict():
            yield Finding(f"{folder}: its model is not the champion", way_out, Remedy.REPORT)
            return
        bundle.read_bundle(folder)
        run = best_replicate(conclusion, champion).run_id
        if summary.get("run") != run:
            what = f"{folder}: its model is of another run than the champion's best, {run}"
            yield Finding(what, way_out, Remedy.REPORT)
        elif run not in list_registered_runs(tracked.runs, tracked.study.name):
            what = f"{folder}: its model is not in MLflow's registry"
            yield Finding(what, "`doctor --fix` or `export` registers it", Remedy.REPORT)
    except DamagedResultError as error:
        yield Finding(str(error.__cause__), way_out, Remedy.REPORT)


def _report(conclusion: Conclusion) -> Iterator[Finding]:
    wrong = find_stale(conclusion)
    for path in wrong:
        yield Finding(f"{path}: not what the runs give", "`doctor --fix` or `report` rebuilds it", Remedy.REPORT)
    if not wrong and not is_uploaded(conclusion):
        what = f"parent run {conclusion.tracked.parent_run_id} does not show the report"
        yield Finding(what, "`doctor --fix` or `report` shows it", Remedy.REPORT)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
