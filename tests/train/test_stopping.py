import keras
import numpy as np
import pytest

from sweep.study.training import EarlyStopping
from sweep.train.stopping import Patience


def ours(values, rule):
    """The epoch it stops after (the last if it does not), and the best epoch."""
    patience = Patience()
    for epoch, value in enumerate(values, start=1):
        patience = patience.update(epoch, value, rule)
        if patience.is_over(rule):
            break
    return patience.last_epoch, patience.best_epoch


def of_keras(values, rule):
    callback = keras.callbacks.EarlyStopping(
        rule.monitor,
        rule.min_delta,
        rule.patience,
        restore_best_weights=True,
        mode="max" if "acc" in rule.monitor else "min",
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    callback.set_model(model)
    callback.on_train_begin()
    model.stop_training = False
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {rule.monitor: value})
        if model.stop_training:
            break
    return epoch + 1, callback.best_epoch + 1


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("min_delta", [0.0, 0.05])
@pytest.mark.parametrize("patience", [1, 2, 4])
def test_it_stops_and_keeps_where_keras_does(monitor, min_delta, patience):
    rule = EarlyStopping(monitor=monitor, patience=patience, min_delta=min_delta)
    rng = np.random.default_rng(patience)
    for _ in range(30):
        values = np.round(rng.random(12), 2).tolist()  # rounded, so that ties occur
        assert ours(values, rule) == of_keras(values, rule)
