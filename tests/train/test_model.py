"""What is loaded from a .keras file, and what is not."""

import json
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

from sweep.data.scaling import fit_scaling
from sweep.errors import DamagedResultError
from sweep.study.config import Config
from sweep.train.model import add_scaling, build_net, load_model
from tests.studies import FACTS

# Columns of all kinds: far from 0, tiny, huge, constant, constant but for rows that are not trained on.
AWKWARD = np.random.default_rng(0).normal(size=(600, 5)) * [0.1, 1e-12, 1e25, 0, 0] + [2459000, 0, 1e25, 7, 0]
AWKWARD[550:, 4] = 1
CONFIG = Config(units=(6, 4), dropout=0.2, batch_size=32, learning_rate=0.01)


@pytest.mark.parametrize("recipe", [{}, {"activation": "gelu", "input_dropout": 0.1}, {"activation": "silu"}])
def test_a_model_of_pixels_comes_back_as_it_was(tmp_path, recipe):
    model = build_net(replace(CONFIG, **recipe), FACTS)
    model.save(tmp_path / "model.keras")
    rows = np.random.default_rng(0).integers(0, 256, (5, 64)).astype(np.uint8)
    np.testing.assert_array_equal(load_model(tmp_path / "model.keras")(rows), model(rows))


@pytest.mark.parametrize("kind", ["robust", "standard"])
def test_a_model_of_numbers_comes_back_and_scales_rows_as_those_to_train_on_were(tmp_path, kind):
    facts = replace(FACTS, n_features=AWKWARD.shape[1], scaling=kind)
    scaling = fit_scaling(AWKWARD[:500], kind)
    net = build_net(CONFIG, facts)
    add_scaling(net, scaling).save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.inputs[0].dtype == "float64"
    np.testing.assert_allclose(loaded(AWKWARD), net(scaling.apply(AWKWARD)), atol=1e-6)


def test_a_model_of_an_earlier_version_is_loaded(tmp_path):
    scale = keras.layers.Normalization(mean=np.ones(64), variance=np.full(64, 4.0), name="scale")
    net = build_net(CONFIG, replace(FACTS, scaling="standard"))
    keras.Sequential([keras.Input((64,)), scale, *net.layers]).save(tmp_path / "model.keras")
    rows = np.random.default_rng(0).normal(size=(5, 64))
    np.testing.assert_allclose(load_model(tmp_path / "model.keras")(rows), net((rows - 1) / 2), atol=1e-6)


def rewritten(path, change):
    """The file with its config passed through `change`, which may also return more members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    more = change(config) or {}
    members |= {"config.json": json.dumps(config).encode(), **more}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def with_lambda(config):
    config["config"]["layers"][1] = {
        "module": "keras.layers", "class_name": "Lambda", "registered_name": None,
        "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wAA"}}},
    }  # fmt: skip


def with_foreign_module(config):
    config["config"]["layers"][1] |= {"module": "os", "class_name": "system"}


def with_registered_name(config):
    config["config"]["layers"][1]["registered_name"] = "evil>Dense"


def with_initializer(config):
    config["config"]["layers"][2]["config"]["kernel_initializer"] = {
        "module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function",
    }  # fmt: skip


def with_member(config):
    return {"assets/../../evil.py": b"print()"}


@pytest.mark.parametrize(
    "change", [with_lambda, with_foreign_module, with_registered_name, with_initializer, with_member]
)
def test_a_file_with_anything_else_in_it_is_not_loaded(tmp_path, monkeypatch, change):
    path = tmp_path / "model.keras"
    build_net(CONFIG, FACTS).save(path)
    rewritten(path, change)
    monkeypatch.setattr(keras.saving, "load_model", lambda *arguments, **options: pytest.fail("it was loaded"))
    with pytest.raises(DamagedResultError, match="not a Keras model of this program, so it is not loaded"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_model_is_named(tmp_path, content):
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(DamagedResultError, match=r"model\.keras: not a"):
        load_model(tmp_path / "model.keras")
