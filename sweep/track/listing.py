"""The runs that MLflow has of an experiment: whole, or as much of each as tells whether a trial has its run."""

from dataclasses import dataclass

from sweep.track.errors import check_id
from sweep.track.mlflow_api import MlflowClient, Run


@dataclass(frozen=True)
class FoundRun:
    """What the projection asks of a run that is there."""

    run_id: str
    status: str
    started_at: int  # milliseconds since 1970
    tags: dict[str, str]  # those in `ASKED` at least
    has_outputs: bool  # whether it names a model that it logged

    def __post_init__(self) -> None:
        check_id(self.run_id)


ASKED = ("key", "config", "phase", "engine", "mlflow.parentRunId")  # tags


def list_runs(client: MlflowClient, experiment: str) -> list[Run]:
    """List every run of an experiment that is not deleted, page by page."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            check_id(run.info.run_id)
        runs += page
        token = page.token
        if not token:
            return runs


def find_through_client(client: MlflowClient, experiment: str) -> list[FoundRun]:
    """Find the runs of an experiment through MLflow's client, which reads all that they have: 2 ms a run."""
    return [
        FoundRun(
            str(run.info.run_id),
            str(run.info.status),
            int(run.info.start_time),
            run.data.tags,
            has_outputs(run),
        )
        for run in list_runs(client, experiment)
    ]


def has_outputs(run: Run) -> bool:
    """Return whether a run names a model that it logged."""
    return run.outputs is not None and bool(run.outputs.model_outputs)
