"""A model of Keras in its .onnx form."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from sweep.champion import verify
from sweep.champion.conversion import convert
from sweep.data.files import read
from sweep.data.prepared import prepare
from sweep.errors import ConversionError, DamagedResultError
from sweep.study.config import Config
from sweep.study.schema import Data
from sweep.train.model import build_model
from tests.studies import FACTS, write_tiny_data

CONFIG = Config(units=(16, 8), dropout=0.2, batch_size=32, learning_rate=0.01)
MEANS = np.arange(64.0)  # of the features of standardized rows


@pytest.fixture
def saved(tmp_path):
    """A model of each kind of scaling, as a file."""

    def save(scaling):
        keras.utils.set_random_seed(3)
        moments = None if scaling == "pixels" else (MEANS, np.full(64, 4.0))
        model = build_model(CONFIG, replace(FACTS, scaling=scaling), moments)
        model.save(tmp_path / "model.keras")
        return tmp_path / "model.keras"

    return save


@pytest.mark.parametrize("scaling", ["pixels", "standardize"])
def test_the_onnx_form_says_what_keras_says_on_rows_that_it_was_not_compared_on(saved, tmp_path, scaling):
    model, onnx = saved(scaling), tmp_path / "model.onnx"
    parity = convert(model, onnx, scaling, None)
    assert (parity.rows, parity.rows_of_data) == (1000, 0)
    assert parity.max_difference <= 1e-5
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 256, (333, 64)).astype(np.uint8)
    if scaling == "standardize":
        # Rows like those that the moments are of: far from them, rounding grows with the distance.
        rows = rng.normal(MEANS, 2, (333, 64)).astype(np.float32)
    said = verify.open_model(onnx, 64, 3)(rows)
    expected = keras.saving.load_model(model).predict(rows.astype(np.float32), verbose=0)
    assert np.abs(said - expected).max() <= 1e-5
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("model.onnx")] == ["model.onnx"]


def test_training_rows_are_compared_first_where_they_are_at_hand(saved, tmp_path):
    spec = Data(source="tiny.npz", validation_rows=100)
    write_tiny_data(tmp_path)
    data = prepare(read(spec, tmp_path), spec, 7, tmp_path / "cache")
    parity = convert(saved("pixels"), tmp_path / "model.onnx", "pixels", data)
    assert (parity.rows, parity.rows_of_data) == (1000, 500)


def test_a_form_that_says_something_else_is_refused(saved, tmp_path, monkeypatch):
    good = verify.open_model
    monkeypatch.setattr(verify, "open_model", lambda *given: lambda rows: good(*given)(rows) + np.float32(2e-5))
    with pytest.raises(
        ConversionError, match=r"differs from its Keras model by 2.*e-05, wanted 1e-05 at most on 1000 rows"
    ):
        convert(saved("pixels"), tmp_path / "model.onnx", "pixels", None)


def test_what_is_no_model_of_ours_is_not_converted(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK")
    with pytest.raises(DamagedResultError, match="not a Keras model"):
        convert(tmp_path / "model.keras", tmp_path / "model.onnx", "pixels", None)
