"""Models in MLflow that `mlflow.keras.load_model` reads, written without Keras.

`mlflow.keras.log_model` wants a live Keras model, and so TensorFlow in this process: 500 MB and seconds for a file copy.
"""

import platform
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from sweep.data.prepared import DataFacts
from sweep.durable.failpoint import failpoint
from sweep.track.client import MODEL_PATH, sent_once


def log_model(client: MlflowClient, experiment: str, run_id: str, name: str, saved: Path, facts: DataFacts) -> str:
    """The logged model of a run, found or made of the .keras file `saved`; its id. Safe to repeat."""
    found = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    for twin in found[1:]:  # a server that was slow may have made it twice
        client.delete_logged_model(twin.model_id)
    with sent_once():
        model = found[0] if found else client.create_logged_model(experiment, name, run_id, model_type="keras")
    failpoint("track.model")
    if model.status != "READY":
        with tempfile.TemporaryDirectory() as scratch:
            _write_model(Path(scratch), saved, run_id, model.model_id, _signature(facts))
            client.log_model_artifacts(model.model_id, scratch)
        failpoint("track.model_files")
        client.finalize_logged_model(model.model_id, "READY")
        failpoint("track.model_ready")
    return str(model.model_id)


def _signature(facts: DataFacts) -> ModelSignature:
    row_type = np.dtype("uint8" if facts.scaling == "pixels" else "float32")
    return ModelSignature(
        inputs=Schema([TensorSpec(row_type, (-1, facts.n_features), "rows")]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, facts.n_classes))]),
    )


def _write_model(folder: Path, saved: Path, run_id: str, model_id: str, signature: ModelSignature) -> None:
    """Laid out as `mlflow.keras.save_model` does."""
    copy = folder / MODEL_PATH
    copy.parent.mkdir()
    shutil.copyfile(saved, copy)
    (copy.parent / "keras_module.txt").write_text("keras")
    requirements = [f"{library}=={version(library)}" for library in ("keras", "tensorflow", "numpy", "mlflow")]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    (folder / "python_env.yaml").write_text(
        f"python: {platform.python_version()}\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n"
    )
    model = Model(run_id=run_id, model_id=model_id, signature=signature)
    model.add_flavor(
        "keras", data="data", keras_version=version("keras"), keras_backend="tensorflow", save_exported_model=False
    )
    # As `mlflow.pyfunc.add_to_model` writes it; importing that module takes a second and warns of its own chat types.
    model.add_flavor(
        "python_function",
        loader_module="mlflow.keras",
        python_version=platform.python_version(),
        env={"virtualenv": "python_env.yaml"},
    )
    model.save(str(folder / "MLmodel"))
