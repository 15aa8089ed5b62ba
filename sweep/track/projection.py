"""The runs of a study in MLflow: a projection of the record, for people and for the report.

Every run has a `key` tag, unique within its study, and every timestamp comes from the result, so that projecting a trial
again changes nothing. `tracker.py` calls this from a thread of its own: training waits for none of it.
"""

from collections.abc import Sequence
from dataclasses import replace

from sweep.durable.failpoint import failpoint
from sweep.errors import TrackingError
from sweep.layout import RunsDir
from sweep.record import results
from sweep.track.client import open_client
from sweep.track.errors import translate_errors
from sweep.track.experiment import ParentRun, ProjectedStudy, find_or_create_experiment
from sweep.track.fields import has_logged_model, is_archived, to_ms, to_run
from sweep.track.guard import CheckHold, guard_client
from sweep.track.listing import FoundRun
from sweep.track.mlflow_api import MLFLOW_PARENT_RUN_ID, MlflowClient
from sweep.track.models import Models
from sweep.track.names import FINISHED, PARENT, RUNNING, STATUSES
from sweep.track.tables import TableRuns, find_engine_of_client, follow_move, has_tested_schema, settle_locations
from sweep.track.writers import ClientRuns, End
from sweep.trial import Ended, Trial


class Projection:
    """Writes the runs of one study. Not thread-safe: one thread uses it."""

    def __init__(self, runs: RunsDir, projected: ProjectedStudy, check_hold: CheckHold = lambda: None) -> None:
        """Open MLflow, find what is there, and write the parent run. Raises TrackingError.

        check_hold: is called before each write; raises LostStudyError if there must be none.
        """
        self._runs = runs
        self._projected = projected
        self._client = guard_client(open_client(runs), check_hold, find_engine_of_client(runs))
        follow_move(runs)
        study = projected.study
        with translate_errors(runs):
            self._experiment = find_or_create_experiment(self._client, runs, study)
            settle_locations(runs, study.name)
            failpoint("track.experiment")
            self._writer = _open_writer(self._client, self._experiment, runs, study.name, check_hold)
            self._before = self._find_runs()
            # The run of a trial that is still RUNNING was cut off while it was written: it is written again, over itself.
            self._whole = {key for key, run in self._before.items() if run.status != RUNNING}
            self._has_archives = any(is_archived(r.tags.get("phase", ""), r.tags) for r in self._before.values())
            self._parent = ParentRun.open(self._client, self._experiment, projected, self._before.get(PARENT))
            self._adopt_runs()
            self._models = Models(self._client, self._experiment, runs.results(study.name), study, projected.facts)

    @property
    def at_once(self) -> int:
        """Number of runs that are best written together."""
        return self._writer.at_once

    def lacks(self, trial: Trial) -> bool:
        """Return whether a trial has no whole run. Raises TrackingError where a run of another config has its key."""
        if trial.key in self._before:
            self._check_is_of(trial, self._before[trial.key])
        return trial.key not in self._whole

    def write(self, ended: Sequence[Ended]) -> None:
        """Write the runs of trials that it lacks, whole. Raises TrackingError."""
        if ended:
            with translate_errors(self._runs):
                self._parent.set_status(RUNNING)
                self._write([self._with_provenance(one) for one in ended])

    def close(self, status: str) -> None:
        """End the parent run as FINISHED, KILLED (interrupted) or FAILED. Raises TrackingError."""
        with translate_errors(self._runs):
            if status == FINISHED and self._has_archives:
                self._models.log_best()
            self._parent.set_status(status)

    def _find_runs(self) -> dict[str, FoundRun]:
        """Find the runs that are there, one for each key. A server that was slow may have made one twice, and left one open."""
        found: dict[str, FoundRun] = {}
        runs = [run for run in self._writer.find_runs() if "key" in run.tags]
        for run in sorted(runs, key=lambda run: (run.status == RUNNING, run.started_at)):
            if found.setdefault(run.tags["key"], run) is not run:
                self._client.delete_run(run.run_id)
        return found

    def _adopt_runs(self) -> None:
        """Place the runs below the parent run, where theirs was deleted and written anew."""
        for key, run in self._before.items():
            if key != PARENT and run.tags.get(MLFLOW_PARENT_RUN_ID) != self._parent.run_id:
                self._client.set_tag(run.run_id, MLFLOW_PARENT_RUN_ID, self._parent.run_id)

    def _check_is_of(self, trial: Trial, run: FoundRun) -> None:
        if run.tags.get("config") != trial.config.key:
            raise TrackingError(
                f"MLflow at {self._runs.mlflow_name}: run {run.run_id} has the key {trial.key}, and another config: it is "
                "of a record that is gone; delete the runs of that study there, and `sync` writes them anew"
            )

    def _with_provenance(self, ended: Ended) -> Ended:
        """Give the coordinator's provenance to a result that no worker wrote, because its worker died too often."""
        provenance = ended.result.provenance or self._projected.provenance
        return replace(ended, result=replace(ended.result, provenance=provenance))

    def _write(self, ended: Sequence[Ended]) -> None:
        run_ids = self._create(ended)
        failpoint("track.created")
        filled: list[Ended] = []
        try:
            for one in ended:
                self._add_files(run_ids[one.trial.key], one)
                filled.append(one)
        finally:  # a run whose files cannot be copied holds back none of those before it
            self._end(run_ids, filled)

    def _create(self, ended: Sequence[Ended]) -> dict[str, str]:
        """Create runs, RUNNING, without files and models; return their ids by key. Fills those that were cut off before."""
        study, facts = self._projected.study, self._projected.facts
        news = {one.trial.key: to_run(one, study, facts, self._parent.run_id) for one in ended}
        run_ids = {key: self._before[key].run_id for key in news if key in self._before}
        for key, run_id in run_ids.items():
            self._writer.fill(run_id, news[key])
        keys = [key for key in news if key not in run_ids]
        return run_ids | dict(zip(keys, self._writer.create([news[key] for key in keys]), strict=True))

    def _add_files(self, run_id: str, one: Ended) -> None:
        folder = self._runs.results(self._projected.study.name) / one.trial.key
        files = {**one.result.files, **(one.score.files if one.score else {})}
        names = [*results.TRACKED, *([results.MODEL] if _is_archived(one) else [])]
        self._writer.add_files(run_id, {name: folder / name for name in names if name in files})
        failpoint("track.artifacts")
        if has_logged_model(one):
            self._models.log(run_id, one, (found := self._before.get(one.trial.key)) is not None and found.has_outputs)
        failpoint("track.outputs")

    def _end(self, run_ids: dict[str, str], ended: Sequence[Ended]) -> None:
        self._writer.close(
            [End(run_ids[e.trial.key], STATUSES[e.result.state], to_ms(e.result.ended_at)) for e in ended]
        )
        failpoint("track.closed")
        self._whole |= {one.trial.key for one in ended}
        self._has_archives |= any(map(_is_archived, ended))


def _is_archived(ended: Ended) -> bool:
    return is_archived(ended.trial.phase, ended.result.provenance)


def _open_writer(client: MlflowClient, experiment: str, runs: RunsDir, study: str, check_hold: CheckHold) -> ClientRuns:
    """Choose how runs are written: as rows where the database is at hand and its tables are known, else by the client."""
    if runs.mlflow_server is not None:
        return ClientRuns(client, experiment)
    if not has_tested_schema(runs):
        return ClientRuns(client, experiment)
    return TableRuns(client, experiment, runs, study, check_hold)
