"""Remove what MLflow has of a study: its experiment with all runs and models, and the registered model."""

from dataclasses import dataclass

from sweep.durable.failpoint import failpoint
from sweep.errors import TrackingError
from sweep.layout import RunsDir
from sweep.track.client import open_client, refuse_renamed
from sweep.track.errors import translate_errors
from sweep.track.mlflow_api import (
    ALL,
    DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH,
    Experiment,
    MlflowClient,
    SqlAlchemyStore,
)
from sweep.track.tables import delete_edges

N_PAGE = 1000


@dataclass(frozen=True)
class Tracked:
    """What MLflow has of a study, deleted runs included."""

    n_runs: int
    n_versions: int  # of the registered model


def count_tracked(runs: RunsDir, name: str) -> Tracked | None:
    """Count what MLflow has of the study called `name`; None for nothing. Raises TrackingError for what is not ours."""
    if _has_no_database(runs):
        return None
    client = open_client(runs)
    with translate_errors(runs):
        refuse_renamed(client, runs, name)  # its files lie among ours
        experiment = client.get_experiment_by_name(name)
        run_ids = [] if experiment is None else _list_run_ids(client, experiment, name)
        versions = client.search_model_versions(f"name = '{name}'")
        has_model = bool(client.search_registered_models(f"name = '{name}'"))
        elsewhere = [v for v in client.search_model_versions(f"tags.study = '{name}'") if v.name != name]
    if strange := [version.version for version in versions if version.run_id not in run_ids]:
        raise TrackingError(
            f"MLflow at {runs.mlflow_name}: version {strange[0]} of the registered model {name!r} is of no run of that study; "
            "rename or delete that model there first"
        )
    if elsewhere:
        raise TrackingError(
            f"MLflow at {runs.mlflow_name}: version {elsewhere[0].version} of the registered model {elsewhere[0].name!r} is a "
            f"model of study {name!r}, whose files would go; delete it there, or name its model {name!r} again"
        )
    return Tracked(len(run_ids), len(versions)) if experiment is not None or has_model else None


def delete_tracked(runs: RunsDir, name: str) -> None:
    """Delete what `count_tracked` counts. Safe to repeat. Raises TrackingError.

    From a database of our own it is gone for good. A server has no call for that: there the experiment is renamed, so that
    its name is free, then deleted, which MLflow's administrator can undo until `mlflow gc`.
    """
    if _has_no_database(runs):
        return
    client = open_client(runs)
    with translate_errors(runs):
        if client.search_registered_models(f"name = '{name}'"):
            client.delete_registered_model(name)
        failpoint("delete.model")
        experiment = client.get_experiment_by_name(name)
        if runs.mlflow_server is not None:
            _delete_on_server(client, name, experiment)
            return
        if experiment is None:
            return
        if experiment.lifecycle_stage == "active":
            client.delete_experiment(experiment.experiment_id)
        failpoint("delete.experiment")
        _purge(client, runs, experiment)


def _list_run_ids(client: MlflowClient, experiment: Experiment, name: str) -> set[str]:
    """List the runs of an experiment, deleted ones included. Raises TrackingError if one is not of this program."""
    run_ids, token = set(), None
    while True:
        page = client.search_runs([experiment.experiment_id], run_view_type=ALL, max_results=N_PAGE, page_token=token)
        for run in page:
            if run.data.tags.get("study") != name:
                raise TrackingError(
                    f"MLflow: run {run.info.run_id} of experiment {name!r} was not made by this program; move it or delete it "
                    "there first"
                )
            run_ids.add(run.info.run_id)
        if not (token := page.token):
            return run_ids


def _has_no_database(runs: RunsDir) -> bool:
    return runs.mlflow_server is None and not runs.mlflow_db.exists()


def _delete_on_server(client: MlflowClient, name: str, experiment: Experiment | None) -> None:
    if experiment is not None:
        if experiment.lifecycle_stage != "active":  # MLflow renames none that is deleted
            client.restore_experiment(experiment.experiment_id)
        client.rename_experiment(experiment.experiment_id, f"{name} (deleted {experiment.experiment_id})")
        failpoint("delete.freed")
    for renamed in client.search_experiments(filter_string=f"name LIKE '{name} (deleted %)'"):
        client.delete_experiment(renamed.experiment_id)


def _purge(client: MlflowClient, runs: RunsDir, experiment: Experiment) -> None:
    """Remove the rows of a deleted experiment, as `mlflow gc` does."""
    store = SqlAlchemyStore(runs.mlflow_uri, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)  # type: ignore[no-untyped-call]
    try:
        run_ids = _list_run_ids(client, experiment, experiment.name)
        delete_edges(runs, run_ids)
        failpoint("delete.edges")
        for run_id in run_ids:
            store._hard_delete_run(run_id)  # type: ignore[no-untyped-call]
            failpoint("delete.run")
        store._hard_delete_experiment(experiment.experiment_id)  # type: ignore[no-untyped-call]
    finally:
        store.engine.dispose()
