"""Models in MLflow that `mlflow.keras.load_model` reads, written without Keras.

`mlflow.keras.log_model` wants a live Keras model, and so TensorFlow in this process: 500 MB and seconds for a file copy.
"""

import logging
import platform
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sweep.data.facts import DataFacts
from sweep.durable.failpoint import failpoint
from sweep.errors import DamagedResultError
from sweep.record import results
from sweep.study.objective import cost
from sweep.study.schema import Study
from sweep.track.fields import final_metrics, from_run, to_ms
from sweep.track.listing import has_outputs
from sweep.track.mlflow_api import (
    LoggedModelOutput,
    Metric,
    MlflowClient,
    Model,
    Run,
    send_once,
)
from sweep.track.names import MODEL_PATH
from sweep.track.served import Served
from sweep.trial import Ended

N_BEST = 10  # searched trials of cohorts whose models are logged as such

logger = logging.getLogger(__name__)


@dataclass
class Models:
    """Logs the models of a study's runs. Every call may be repeated."""

    client: MlflowClient
    experiment: str  # its id
    folder: Path  # of the study's results
    study: Study
    facts: DataFacts

    def log(self, run_id: str, ended: Ended, has_outputs: bool) -> None:
        """Log the model of a run, with the final metrics as those of both.

        has_outputs: whether the run names the model already; MLflow refuses the same outputs twice.
        """
        result = ended.result
        name, saved = f"mlp-{ended.trial.config.units_label}", self.folder / result.key / results.MODEL
        served = Served(self.facts, self.study.data)
        model_id = _log_model(self.client, self.experiment, run_id, name, saved, served)
        self.client.log_batch(run_id, _model_metrics(ended, run_id, model_id))
        if not has_outputs:
            self.client.log_outputs(run_id, [LoggedModelOutput(model_id, result.best_epoch)])

    def log_best(self) -> None:
        """Log the models of the best searched trials of cohorts, whose other models are files of their runs."""
        objective = self.study.objective
        best = self.client.search_runs(
            [self.experiment],
            "tags.phase = 'search' AND tags.engine = 'cohort' AND tags.state = 'complete'",  # as `is_archived` says
            order_by=[f"metrics.{objective} {'ASC' if cost(objective, 1.0) > 0 else 'DESC'}"],
            max_results=N_BEST,
        )
        for run in best:
            if not has_outputs(run) and objective in run.data.metrics:
                self._log_archived(run)

    def _log_archived(self, run: Run) -> None:
        try:
            tracked = from_run(run)
            result = results.load(self.folder / tracked.trial.key)
        except DamagedResultError as error:  # no less good model takes its place
            logger.warning("not among the logged models: %s", error)
            return
        if results.MODEL in result.files:
            self.log(tracked.run_id, Ended(tracked.trial, result, None), has_outputs=False)


def _model_metrics(ended: Ended, run_id: str, model_id: str) -> list[Metric]:
    """List a trial's final metrics as those of its logged model."""
    at, epoch = to_ms(ended.result.ended_at), ended.result.best_epoch
    finals = final_metrics(ended).items()
    return [Metric(name, value, at, epoch, model_id=model_id, run_id=run_id) for name, value in finals]


def _log_model(client: MlflowClient, experiment: str, run_id: str, name: str, saved: Path, served: Served) -> str:
    """Find the logged model of a run, or make it of the .keras file `saved`; return its id. Safe to repeat."""
    found = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    for twin in found[1:]:  # a server that was slow may have made it twice
        client.delete_logged_model(twin.model_id)
    with send_once():
        model = found[0] if found else client.create_logged_model(experiment, name, run_id, model_type="keras")
    failpoint("track.model")
    if model.status != "READY":
        with tempfile.TemporaryDirectory() as scratch:
            _write_model(Path(scratch), saved, run_id, model.model_id, served)
            client.log_model_artifacts(model.model_id, scratch)
        failpoint("track.model_files")
        client.finalize_logged_model(model.model_id, "READY")
        failpoint("track.model_ready")
    return str(model.model_id)


def _write_model(folder: Path, saved: Path, run_id: str, model_id: str, served: Served) -> None:
    """Write a model folder laid out as `mlflow.keras.save_model` does."""
    copy = folder / MODEL_PATH
    copy.parent.mkdir()
    shutil.copyfile(saved, copy)
    (copy.parent / "keras_module.txt").write_text("keras", encoding="utf-8")
    requirements = [
        f"{library}=={version(library)}" for library in ("keras", "tensorflow", *served.libraries, "mlflow")
    ]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    (folder / "python_env.yaml").write_text(
        f"python: {platform.python_version()}\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n",
        encoding="utf-8",
    )
    served.write_files(folder)
    model = Model(run_id=run_id, model_id=model_id, signature=served.signature, metadata=served.metadata)
    model.add_flavor(
        "keras", data="data", keras_version=version("keras"), keras_backend="tensorflow", save_exported_model=False
    )
    # As `mlflow.pyfunc.add_to_model` writes it; importing that module takes a second and warns of its own chat types.
    model.add_flavor(
        "python_function",
        **served.loader,
        python_version=platform.python_version(),
        env={"virtualenv": "python_env.yaml"},
    )
    model.save(str(folder / "MLmodel"))
