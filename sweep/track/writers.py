"""Runs written through MLflow's client: to a server, or to a database whose tables are not known."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.durable.failpoint import failpoint
from sweep.track.fields import NewRun
from sweep.track.listing import FoundRun, find_through_client
from sweep.track.mlflow_api import MlflowClient, Param, send_once

_BATCH = 1000  # metrics that MLflow takes in one call


@dataclass(frozen=True)
class End:
    """The end of a run: FINISHED, KILLED or FAILED."""

    run_id: str
    status: str
    at: int  # milliseconds since 1970


class ClientRuns:
    """Writes runs of an experiment through the client. Every call may be repeated except `create`."""

    at_once = 1  # a kill leaves no more than one half written

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self._client = client
        self._experiment = experiment

    def find_runs(self) -> list[FoundRun]:
        """Find the runs of the experiment that are not deleted."""
        return find_through_client(self._client, self._experiment)

    def create(self, runs: Sequence[NewRun]) -> list[str]:
        """Create runs, RUNNING, with everything that is given; return their ids."""
        return [self._create(new) for new in runs]

    def _create(self, new: NewRun) -> str:
        with send_once():
            run = self._client.create_run(self._experiment, start_time=new.started_at, tags=new.tags, run_name=new.name)
        failpoint("client.created")
        self.fill(run.info.run_id, new)
        return str(run.info.run_id)

    def fill(self, run_id: str, new: NewRun) -> None:
        """Complete a run that was cut off while it was created."""
        params = [Param(name, value) for name, value in new.params.items()]
        for start in range(0, len(new.metrics), _BATCH):
            self._client.log_batch(run_id, new.metrics[start : start + _BATCH], params if start == 0 else ())
        failpoint("client.metrics")
        self._client.log_inputs(run_id, list(new.inputs))

    def add_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Copy `files`, by name, to the run's artifacts. One call for all: each call opens the store anew."""
        with tempfile.TemporaryDirectory() as scratch:
            for name, path in files.items():
                (Path(scratch) / name).symlink_to(path.absolute())
            self._client.log_artifacts(run_id, scratch)

    def close(self, ends: Sequence[End]) -> None:
        """End runs."""
        for end in ends:
            self._client.set_terminated(end.run_id, end.status, end_time=end.at)
