"""What trains the net of a config: Keras' own optimizer, learning rate and loss. Both engines are held to these.

To train by `fit`: `net.compile(build_optimizer(config, net, n_steps), build_loss(config))`, labels one-hot, after
`limit_norms(net, config)`; with an average of the weights, also the callback `keras.callbacks.SwapEMAWeights`.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import keras

from sweep.study.config import Config
from sweep.study.objective import Loss

OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
    "rmsprop": keras.optimizers.RMSprop,
}
LOSSES: dict[Loss, Callable[[], keras.losses.Loss]] = {
    "mse": keras.losses.MeanSquaredError,
    "mae": keras.losses.MeanAbsoluteError,
    "huber": keras.losses.Huber,
}
WARMUP = 10  # one step of this many warms up


def count_steps(n_rows: int, batch_size: int, n_epochs: int) -> int:
    """Count the optimizer's steps: the batches of an epoch, a short last one included, times the epochs."""
    return math.ceil(n_rows / batch_size) * n_epochs


def build_optimizer(
    config: Config,
    net: keras.Model,
    n_steps: int,
    optimizers: Mapping[str, Callable[..., keras.optimizers.Optimizer]] = OPTIMIZERS,
) -> keras.optimizers.Optimizer:
    """Build the optimizer of a config for the weights of `net`. Only kernels decay, as is usual: no biases, no batch norm.

    n_steps: those of `max_epochs`, over which a schedule runs. optimizers: what to make it of, by the config's name for it.
    """
    optimizer = optimizers[config.optimizer](
        build_learning_rate(config, n_steps),
        weight_decay=config.weight_decay or None,
        use_ema=config.ema > 0,
        ema_momentum=config.ema,
    )
    optimizer.exclude_from_weight_decay([v for v in net.trainable_variables if v.name != "kernel"])
    optimizer.build(net.trainable_variables)
    return optimizer


def build_learning_rate(config: Config, n_steps: int) -> float | keras.optimizers.schedules.CosineDecay:
    """Return the learning rate, or its schedule over `n_steps`."""
    return config.learning_rate if config.schedule == "constant" else build_cosine(config.learning_rate, n_steps)


def build_cosine(highest: float, n_steps: int) -> keras.optimizers.schedules.CosineDecay:
    """Build the schedule over `n_steps`: linearly from 0 up to `highest`, then along a cosine to 0 after the last step.

    Source: Loshchilov & Hutter 2017 (arXiv 1608.03983), equation 5, without restarts.
    """
    n_warmup = n_steps // WARMUP
    return keras.optimizers.schedules.CosineDecay(0.0, n_steps - n_warmup, warmup_target=highest, warmup_steps=n_warmup)


def build_loss(config: Config, loss: Loss | None = None) -> keras.losses.Loss:
    """Build the loss that is trained, of one-hot labels and probabilities; with a `loss` of regression, of numbers."""
    if loss is not None:
        return LOSSES[loss]()
    return keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing)


def limit_norms(net: keras.Sequential, config: Config) -> None:
    """Have every optimizer of `net` limit the norm of the weights into each hidden unit, as `kernel_constraint` does.

    The constraint is the variable's, not the layer's: it is of training, and no part of the model that is saved.
    """
    if config.max_norm:
        for i in range(1, config.hidden_layers + 1):
            net.get_layer(f"dense_{i}").kernel.constraint = keras.constraints.MaxNorm(config.max_norm, axis=0)
