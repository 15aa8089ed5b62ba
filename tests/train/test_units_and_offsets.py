"""A table learns as well in any unit, from any zero, and beside columns that do not vary, as when it is scaled by hand."""

import numpy as np
import pytest

from sweep.data.files import DataSet
from sweep.data.prepared import open_test_split, prepare
from sweep.record.results import MODEL
from sweep.study.config import Config
from sweep.study.schema import Data
from sweep.study.training import Training
from sweep.train.graph.fitter import Fitter
from sweep.train.score import score_models
from sweep.trial import Phase, Trial

SPEC = Data(source="table.csv", label="y", validation_rows=200, test_rows=200)
RNG = np.random.default_rng(3)
Y = RNG.integers(0, 2, 600)
X = RNG.normal(size=(600, 3)) + Y[:, None]
RARE = np.zeros((600, 1))
RARE[RNG.choice(600, 3, replace=False)] = 1


def with_outlier(x):
    return np.concatenate([x, np.where(np.arange(600) == 7, 1e12, RNG.normal(size=600))[:, None]], axis=1)


TABLES = {
    "tiny": X * 1e-12,
    "huge": X * 1e25,
    "julian dates": X * 0.001 + 2459000,
    "beside a constant": np.concatenate([X, np.full((600, 1), 7.0)], axis=1),
    "beside a rare value": np.concatenate([X, RARE], axis=1),
    "beside pixels that are mostly 0": np.concatenate([X, RARE * 255], axis=1),
    "beside an outlier": with_outlier(X),
}


def trained(x, scaling, folder):
    """Validation loss, test loss and test accuracy of one training."""
    data = prepare(DataSet("table.csv", x, Y, None, None), SPEC.model_copy(update={"scaling": scaling}), 1, folder)
    config = Config(units=(16,), dropout=0.0, batch_size=32, learning_rate=0.01)
    result = Fitter(data, Training(max_epochs=6), {}).fit(
        Trial(number=0, phase=Phase.SEARCH, config=config, seed=1), lambda report: True, folder / "trial"
    )
    metrics, _ = score_models({"it": folder / "trial" / MODEL}, data)["it"]
    assert open_test_split(data).x.dtype == np.float64
    return result.metrics["val_loss"], metrics["test_loss"], metrics["test_accuracy"]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    return trained((X - X.mean(axis=0)) / X.std(axis=0), "robust", tmp_path_factory.mktemp("by-hand"))


@pytest.mark.parametrize("table", TABLES)
def test_a_table_trains_as_the_one_scaled_by_hand(tmp_path, by_hand, table):
    assert by_hand[2] > 0.75
    np.testing.assert_allclose(trained(TABLES[table], "robust", tmp_path), by_hand, atol=0.05)


@pytest.mark.parametrize("table", [name for name in TABLES if name != "beside an outlier"])
def test_standard_scaling_does_as_well_where_there_is_no_outlier(tmp_path, by_hand, table):
    np.testing.assert_allclose(trained(TABLES[table], "standard", tmp_path), by_hand, atol=0.15)
