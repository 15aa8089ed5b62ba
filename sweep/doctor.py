"""Every invariant of a study, checked from its databases and files. Offline; only `mend` changes anything."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sweep.champion import bundle
from sweep.champion.export import best_replicate
from sweep.champion.registry import registered_runs
from sweep.coordinator import Job, open_records, sync_study
from sweep.durable.files import sha256_of
from sweep.durable.lock import hold
from sweep.errors import DamagedResultError, MissingRunsError, TrackingError
from sweep.layout import RunsDir
from sweep.record import results
from sweep.record.trials import Record
from sweep.report.conclusion import Conclusion, conclude
from sweep.report.files import publish, stale
from sweep.report.upload import announce, is_announced
from sweep.search.finalists import plan_replicates, select_finalists
from sweep.study.schema import Study
from sweep.track.runs import StudyRuns, artifact, read_runs, saved_model
from sweep.trial import Phase, Score, State, TrialResult

Remedy = Literal["drafts", "sync", "report"]
Ended = tuple[TrialResult, Score | None]  # a result, and the score of a replicate that has one
CONTINUE = "the same `run` command continues"


@dataclass(frozen=True)
class Finding:
    """Something that does not hold, in a line, and the way out of it."""

    what: str
    way_out: str
    remedy: Remedy | None = None  # what `mend` does about it; None: a person has to act


@dataclass(frozen=True)
class Diagnosis:
    """What was looked at, and what is wrong."""

    n_trials: int
    n_runs: int
    findings: list[Finding]


def diagnose(job: Job) -> Diagnosis:
    """Look at everything the study has left. Raises StudyInUseError while a sweep is at work on it."""
    if damaged := list(_databases(job.runs)):
        return Diagnosis(0, 0, damaged)
    folder = job.runs.results(job.study.name)
    with hold(folder / results.LOCK):
        records = open_records(job)
        search, confirmation = records
        findings = [*_budget(job.study, search, confirmation), *_strangers(records, folder)]
        ended: dict[str, Ended] = {}
        for record in records:
            read, damaged = _read(record, folder)
            findings += [*damaged, *_results(job, record, read)]
            ended |= read
        try:
            found = read_runs(job.runs, job.study.name)
        except (MissingRunsError, TrackingError) as error:
            findings.append(Finding(str(error), "`sync` writes MLflow's runs anew", "sync"))
            return Diagnosis(len(ended), 0, findings)
        except DamagedResultError as error:
            findings.append(Finding(str(error), "no run was looked at beyond that"))
            return Diagnosis(len(ended), 0, findings)
        told = {key for record in records for key, recorded in record.trials.items() if recorded.state is not None}
        findings += _runs(found, told)
        for row in found.frame.to_dict("records"):
            if row["key"] in ended:
                findings += _run(job.runs, job.study.name, row, ended[row["key"]])
        if not findings:  # else report and export are made from what does not hold
            findings += _outcome(job.runs, conclude(found))
        return Diagnosis(len(ended), len(found.frame), findings)


def mend(job: Job, findings: list[Finding], hand_on: Callable[[Conclusion], object]) -> None:
    """Do what can be done without a person and without training. Safe to repeat.

    hand_on: exports and registers the champion of a study that has one.
    """
    remedies = {finding.remedy for finding in findings}
    if "drafts" in remedies:
        folder = job.runs.results(job.study.name)
        with hold(folder / results.LOCK):
            results.remove_drafts(folder)
    if "sync" in remedies:
        sync_study(job)
    if remedies & {"sync", "report"}:
        conclusion = conclude(read_runs(job.runs, job.study.name))
        publish(conclusion, job.runs)
        if conclusion.champion is not None:
            hand_on(conclusion)
        announce(conclusion, job.runs)


def _databases(runs: RunsDir) -> Iterator[Finding]:
    """SQLite's own check of both files."""
    ways_out = {runs.optuna_db: "restore it from a copy"}
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


def _budget(study: Study, search: Record, confirmation: Record) -> Iterator[Finding]:
    """What was asked for and is not there, and what is there half."""
    for record in (search, confirmation):
        for trial in record.list_unfinished():
            yield Finding(f"{trial.key} is claimed and has not ended", CONTINUE)
    n_searched = sum(recorded.trial.phase == Phase.SEARCH for recorded in search.trials.values())
    n_wanted = study.search.trials
    if study.space is not None:
        n_in_space = sum(study.in_space(recorded.trial.config) for recorded in search.trials.values())
        n_wanted = int(min(n_wanted, n_searched + study.space.n_configs() - n_in_space))
    if n_searched < n_wanted:
        yield Finding(f"{n_searched} of {n_wanted} searched trials are recorded", CONTINUE)
    elif n_searched > study.search.trials:
        raised = f"set search.trials = {n_searched}, for nothing that was trained is taken back"
        yield Finding(f"{n_searched} searched trials are recorded, {study.search.trials} are asked for", raised)
    for record in (search, confirmation):
        trained = Counter((recorded.trial.config, recorded.trial.replicate) for recorded in record.trials.values())
        for (config, _), n in trained.items():
            if n > 1:
                yield Finding(f"config {config.label} is recorded {n} times", "restore optuna.db from a copy")
    known = {recorded.trial.config for recorded in search.trials.values()}
    for baseline in study.baselines if study.data.validation_rows else ():
        if baseline.config not in known:
            yield Finding(f"baseline {baseline.name!r} is not recorded", CONTINUE)
    confirmed = {(r.trial.config, r.trial.replicate) for r in confirmation.trials.values()}
    for finalist, replicate in plan_replicates(study, select_finalists(study, search.list_complete())):
        if (finalist.config, replicate) not in confirmed:
            yield Finding(f"replicate {replicate} of {finalist.name} is not recorded", CONTINUE)


def _strangers(records: tuple[Record, ...], folder: Path) -> Iterator[Finding]:
    """Result folders that no trial answers for."""
    known = {key for record in records for key in record.trials}
    for path in results.list_drafts(folder):
        yield Finding(f"{path}: a draft that its writer left", "`doctor --fix` removes it", "drafts")
    for path in results.list_strangers(folder, known):
        yield Finding(f"{path}: a result of no recorded trial", "remove it, or restore optuna.db from a copy")


def _read(record: Record, folder: Path) -> tuple[dict[str, Ended], list[Finding]]:
    """What every trial that has ended has left, by key, and which of it is damaged."""
    ended: dict[str, Ended] = {}
    damaged = []
    for key, recorded in record.trials.items():
        if recorded.state is None:
            continue
        try:
            ended[key] = results.load(folder / key), results.load_score(folder / key)
        except DamagedResultError as error:
            damaged.append(Finding(str(error), "its run in MLflow is not touched"))
    return ended, damaged


def _results(job: Job, record: Record, ended: dict[str, Ended]) -> Iterator[Finding]:
    """Every result says what the record says, and what has to be scored is."""
    restore = "restore optuna.db or the folder from a copy"
    for key, (result, score) in ended.items():
        recorded = record.trials[key]
        value = record.objective_of(result)
        if (result.state, result.key) != (recorded.state, key):
            yield Finding(
                f"{key} is {recorded.state} in the record, its result is {result.state} ({result.key})", restore
            )
        elif recorded.state == State.COMPLETE and recorded.value != value:
            yield Finding(f"{key} has the value {recorded.value} in the record, {value} in its result", restore)
        if (
            recorded.trial.phase == Phase.CONFIRM
            and result.state == State.COMPLETE
            and job.data.facts.n_test
            and score is None
        ):
            yield Finding(f"{key} is not scored on the test split", CONTINUE)


def _runs(found: StudyRuns, told: set[str]) -> Iterator[Finding]:
    """Trials that have ended, by key, and runs are one to one, and none is RUNNING."""
    keys = Counter(found.frame["key"]) if len(found.frame) else Counter()
    missing = sorted(told - keys.keys())
    if missing:
        yield Finding(f"{len(missing)} trials have no run in MLflow: {_some(missing)}", "`doctor --fix` or `sync` tracks them", "sync")  # fmt: skip
    if found.half_written:
        yield Finding(f"{len(found.half_written)} runs are half written: {_some(found.half_written)}", "`doctor --fix` or `sync` completes them", "sync")  # fmt: skip
    if found.parent_status == "RUNNING":
        yield Finding(f"parent run {found.parent_run_id} is RUNNING", "`doctor --fix` or `sync` ends it", "sync")
    for key, n in keys.items():
        if n > 1:
            yield Finding(f"{key} has {n} runs in MLflow", "delete all but one there")
        elif key not in told:
            yield Finding(f"{key} has a run in MLflow, and is not recorded as ended", "delete it there, or restore optuna.db")  # fmt: skip


def _run(runs: RunsDir, study: str, row: dict[Any, Any], ended: Ended) -> Iterator[Finding]:
    """One run says what its trial's result says, and its files are those of the result, to the byte."""
    result, score = ended
    test = score or Score({}, {})
    who, way_out = f"run {row['run_id']} of {result.key}", "delete the run in MLflow, and `sync` writes it anew"
    if row["state"] != result.state:
        yield Finding(f"{who} is {row['state']}, its result {result.state}", way_out)
    wrong = [name for name, value in {**result.metrics, **test.metrics}.items() if not _is_equal(row.get(name), value)]
    if wrong:
        yield Finding(f"{who} differs from its result in {', '.join(wrong)}", way_out)
    for name, digest in {**result.files, **test.files}.items():
        try:
            if sha256_of(_file_of(runs, study, row["run_id"], name)) != digest:
                yield Finding(f"{who}: {name} is not what was logged (sha256)", way_out)
        except (MissingRunsError, TrackingError) as error:
            yield Finding(f"{who}: {name}: {error}", way_out)


def _is_equal(tracked: Any, value: float) -> bool:
    return tracked == value or (value != value and tracked != tracked)  # NaN is NaN


def _file_of(runs: RunsDir, study: str, run_id: str, name: str) -> Path:
    return saved_model(runs, study, run_id) if name == results.MODEL else artifact(runs, study, run_id, name)


def _outcome(runs: RunsDir, conclusion: Conclusion) -> Iterator[Finding]:
    """Report and export, where they were made, are what the runs give."""
    study = conclusion.runs.study.name
    if runs.reports(study).exists():
        yield from _report(runs, conclusion)
    if runs.exports(study).exists():
        yield from _export(runs, conclusion)


def _export(runs: RunsDir, conclusion: Conclusion) -> Iterator[Finding]:
    """The bundle is whole, its model is the champion's, and MLflow's registry has it."""
    folder, champion = runs.exports(conclusion.runs.study.name), conclusion.champion
    way_out = "`doctor --fix` or `export` writes it anew"
    try:
        summary = bundle.read_summary(folder)
        if champion is None or summary.get("config") != champion.finalist.config.to_dict():
            yield Finding(f"{folder}: its model is not the champion", way_out, "report")
            return
        bundle.read_bundle(folder)
        run = best_replicate(conclusion, champion)["run_id"]
        if summary.get("run") != run:
            yield Finding(f"{folder}: its model is of another run than the champion's best, {run}", way_out, "report")
        elif run not in registered_runs(runs, conclusion.runs.study.name):
            yield Finding(f"{folder}: its model is not in MLflow's registry", "`doctor --fix` or `export` registers it", "report")  # fmt: skip
    except DamagedResultError as error:
        yield Finding(str(error.__cause__), way_out, "report")


def _report(runs: RunsDir, conclusion: Conclusion) -> Iterator[Finding]:
    wrong = stale(conclusion, runs)
    for path in wrong:
        yield Finding(f"{path}: not what the runs give", "`doctor --fix` or `report` rebuilds it", "report")
    if not wrong and not is_announced(conclusion, runs):
        yield Finding(f"parent run {conclusion.runs.parent_run_id} does not show the report", "`doctor --fix` or `report` shows it", "report")  # fmt: skip


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
