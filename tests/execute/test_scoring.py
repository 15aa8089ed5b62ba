"""The processes that score: interrupted, dying, sharing the work. What they score is in `test_end_to_end.py`."""

import multiprocessing
import time

import keras
import pytest

from sweep.data.files import read
from sweep.data.prepared import PreparedData, prepare
from sweep.errors import Interrupted, WorkersError
from sweep.execute.one_task import MAX_DEATHS
from sweep.execute.scoring import WORTH_A_PROCESS, score_in_processes
from sweep.study.config import Config
from sweep.study.schema import Data
from sweep.train.model import build_net
from sweep.train.score import score_models
from tests.studies import FACTS, write_tiny_data


@pytest.fixture
def data(tmp_path):
    return PreparedData(tmp_path / "none", FACTS)


def test_ctrl_c_ends_it_at_once(data, tmp_path):
    started_at = time.monotonic()
    with pytest.raises(Interrupted):
        score_in_processes({}, data, tmp_path / "scoring.log", lambda: True)
    assert time.monotonic() - started_at < 2
    assert not multiprocessing.active_children()


def test_a_process_that_keeps_dying_is_given_up_with_its_log(data, tmp_path):
    (tmp_path / "logs").write_text("in the way of a folder")
    n_asked = 0

    def is_interrupted():
        nonlocal n_asked
        n_asked += 1
        return False

    with pytest.raises(WorkersError, match=r"ended with exit code 1; see .*logs/scoring\.log"):
        score_in_processes({}, data, tmp_path / "logs" / "scoring.log", is_interrupted)
    assert n_asked >= MAX_DEATHS - 1


@pytest.mark.slow
def test_many_models_are_shared_among_processes_and_each_is_scored_as_alone(tmp_path):
    spec = Data(source=write_tiny_data(tmp_path).name, validation_rows=100)
    data = prepare(read(spec, tmp_path), spec, 1, tmp_path / "cache")
    models = {f"replicate-{i:05d}": tmp_path / f"{i}.keras" for i in range(2 * WORTH_A_PROCESS + 1)}
    for seed, path in enumerate(models.values()):
        keras.utils.set_random_seed(seed)
        build_net(Config(units=(8,), dropout=0.0, batch_size=32, learning_rate=0.01), data.facts).save(path)
    scores = score_in_processes(models, data, tmp_path / "scoring.log", lambda: False)
    assert scores == score_models(models, data)
    assert len({predictions for _, predictions in scores.values()}) == len(models)
