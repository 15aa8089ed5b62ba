"""What is loaded from a .keras file, and what is not."""

import json
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

from sweep.errors import DamagedResultError
from sweep.study.config import Config
from sweep.train.model import build_model, load_model
from tests.studies import FACTS

CONFIG = Config(units=(6, 4), dropout=0.2, batch_size=32, learning_rate=0.01)


@pytest.mark.parametrize("scaling", ["pixels", "standardize"])
def test_a_model_of_ours_comes_back_as_it_was(tmp_path, scaling):
    moments = (np.zeros(64, np.float32), np.ones(64, np.float32))
    model = build_model(CONFIG, replace(FACTS, scaling=scaling), moments)
    model.save(tmp_path / "model.keras")
    rows = np.random.default_rng(0).random((5, 64), np.float32)
    np.testing.assert_array_equal(load_model(tmp_path / "model.keras")(rows), model(rows))


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
    build_model(CONFIG, FACTS).save(path)
    rewritten(path, change)
    monkeypatch.setattr(keras.saving, "load_model", lambda *arguments, **options: pytest.fail("it was loaded"))
    with pytest.raises(DamagedResultError, match="not a model of this program, so it is not loaded"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_model_is_named(tmp_path, content):
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(DamagedResultError, match=r"model\.keras: not a"):
        load_model(tmp_path / "model.keras")
