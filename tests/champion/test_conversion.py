"""A model of Keras in its .onnx form."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from sweep.champion import verify
from sweep.champion.conversion import convert
from sweep.data.files import read
from sweep.data.prepared import prepare
from sweep.data.scaling import Target, fit_scaling
from sweep.errors import ConversionError, DamagedResultError
from sweep.study.config import Config
from sweep.study.schema import Data
from sweep.train.model import add_scaling, build_net, load_model
from tests.studies import FACTS, write_tiny_data

CONFIG = Config(units=(16, 8), dropout=0.2, batch_size=32, learning_rate=0.01)
AWKWARD = np.random.default_rng(0).normal(size=(600, 64)) * np.logspace(-12, 25, 64) + np.logspace(-9, 28, 64)
AWKWARD[:500, :4] = 7  # constant in the rows that are trained on


@pytest.fixture
def saved(tmp_path):
    """A model of each kind of scaling, as a file."""

    def save(scaling, **recipe):
        keras.utils.set_random_seed(3)
        net = build_net(replace(CONFIG, **recipe), replace(FACTS, scaling=scaling))
        if scaling == "standardize":  # of an earlier version
            scale = keras.layers.Normalization(mean=np.arange(64.0), variance=np.full(64, 4.0), name="scale")
            net = keras.Sequential([keras.Input((64,), name="rows"), scale, *net.layers], name="mlp")
        is_number = scaling in ("robust", "standard")
        add_scaling(net, fit_scaling(AWKWARD[:500], scaling) if is_number else None).save(tmp_path / "model.keras")
        return tmp_path / "model.keras"

    return save


ROWS = {
    "pixels": np.random.default_rng(5).integers(0, 256, (333, 64)).astype(np.uint8),
    # Rows like those that the moments are of: far from them, rounding grows with the distance.
    "standardize": np.random.default_rng(5).normal(np.arange(64.0), 2, (333, 64)).astype(np.float32),
    "robust": AWKWARD,
    "standard": AWKWARD,
}


@pytest.mark.parametrize("scaling", ROWS)
def test_the_onnx_form_says_what_keras_says_on_rows_that_it_was_not_compared_on(saved, tmp_path, scaling):
    model, onnx = saved(scaling), tmp_path / "model.onnx"
    parity = convert(model, onnx, None)
    assert (parity.rows, parity.rows_of_data) == (1000, 0)
    assert parity.max_difference <= 1e-5
    said = verify.open_model(onnx, 64, 3)(ROWS[scaling])
    expected = np.asarray(keras.saving.load_model(model)(ROWS[scaling]))
    assert np.abs(said - expected).max() <= 1e-5
    assert len(np.unique(said, axis=0)) > 0.99 * len(said)  # rows of any unit stay apart
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("model.onnx")] == ["model.onnx"]


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_a_model_of_any_recipe_has_an_onnx_form(saved, tmp_path, activation):
    model = saved("robust", activation=activation, input_dropout=0.2)
    assert convert(model, tmp_path / "model.onnx", None).max_difference <= 1e-5


def test_training_rows_are_compared_first_where_they_are_at_hand(saved, tmp_path):
    spec = Data(source="tiny.npz", validation_rows=100)
    write_tiny_data(tmp_path)
    data = prepare(read(spec, tmp_path), spec, 7, tmp_path / "cache")
    parity = convert(saved("pixels"), tmp_path / "model.onnx", data)
    assert (parity.rows, parity.rows_of_data) == (1000, 500)


def test_a_form_that_says_something_else_is_refused(saved, tmp_path, monkeypatch):
    good = verify.open_model
    monkeypatch.setattr(verify, "open_model", lambda *given: lambda rows: good(*given)(rows) + np.float32(2e-5))
    with pytest.raises(
        ConversionError, match=r"differs from its Keras model by 2.*e-05, wanted 1e-05 at most on 1000 rows"
    ):
        convert(saved("pixels"), tmp_path / "model.onnx", None)


def test_what_is_no_model_of_ours_is_not_converted(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK")
    with pytest.raises(DamagedResultError, match="not a Keras model"):
        convert(tmp_path / "model.keras", tmp_path / "model.onnx", None)


@pytest.mark.parametrize("scaling", ["pixels", "robust"])
def test_the_onnx_form_of_a_regression_gives_numbers_in_the_unit_of_the_label(tmp_path, scaling):
    keras.utils.set_random_seed(3)
    target = Target(2.5e6, 4e4)
    net = build_net(CONFIG, replace(FACTS, scaling=scaling, classes=(), target=target))
    scales = fit_scaling(AWKWARD[:500], scaling) if scaling == "robust" else None
    add_scaling(net, scales, target).save(tmp_path / "model.keras")
    parity = convert(tmp_path / "model.keras", tmp_path / "model.onnx", None)
    assert parity.max_difference <= verify.OF_VALUES
    said = verify.open_model(tmp_path / "model.onnx", 64, 0)(ROWS[scaling])
    expected = np.asarray(load_model(tmp_path / "model.keras")(ROWS[scaling]))
    assert (said.dtype, said.shape) == (np.float64, (len(ROWS[scaling]), 1))
    assert np.abs(said - expected).max() <= verify.OF_VALUES * target.spread
    assert 0.1 * target.spread < said.std() < 10 * target.spread
