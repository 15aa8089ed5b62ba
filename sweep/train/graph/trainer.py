"""The TensorFlow engine: one graph call trains a whole epoch.

`model.fit` returns to Python after every batch. Here the batch loop, shuffle, gather and optimizer step are one graph,
which calls the Keras model and optimizer. It computes what `fit` computes; the tests compare the two.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sweep.data.facts import DataFacts
from sweep.data.prepared import Split
from sweep.study.config import Config
from sweep.study.objective import Loss
from sweep.study.training import Precision
from sweep.train.distortion import Strengths
from sweep.train.graph.augment import augment, derive_step_seed
from sweep.train.graph.dropout import replace_dropout
from sweep.train.graph.head import ClassHead, Head, ValueHead
from sweep.train.graph.optimizers import FUSED
from sweep.train.graph.precision import compute_in_bfloat16
from sweep.train.graph.silu import use_lean_silu
from sweep.train.measures import AVERAGED, balance, to_metrics
from sweep.train.model import build_net
from sweep.train.recipe import build_optimizer, count_steps, limit_norms
from sweep.trial import Logs

EVALUATION_BATCH = 2000  # rows; larger is not faster, and activations grow


@dataclass(frozen=True)
class Rows:
    """One split as tensors: x of shape (n, n_features), uint8 or float32; y of shape (n,), int32 or float32."""

    x: Any
    y: Any

    @classmethod
    def of(cls, split: Split) -> "Rows":
        return cls(_wrap_array(split.x), _wrap_array(split.y))

    @property
    def n(self) -> int:
        return int(self.y.shape[0])

    @cached_property
    def variance(self) -> float:
        """Variance of the labels in the population."""
        return float(np.var(self.y.numpy().astype(np.float64)))

    def head(self, n: int) -> "Rows":
        """Return the first n rows."""
        return Rows(self.x[:n], self.y[:n])


def _wrap_array(array: Any) -> Any:
    """Return a tensor that shares the array's memory if TensorFlow accepts it, as it does a mapped file's; else a copy.

    Processes that map one file then share one copy of it; tf.constant makes two copies in each. TensorFlow requires
    writable memory (though nothing writes here), aligned to 64 bytes, and aborts the process for any other.
    """
    if array.flags.writeable and array.flags.c_contiguous and array.ctypes.data % 64 == 0:
        return tf.experimental.dlpack.from_dlpack(np.asarray(array).__dlpack__())
    return tf.constant(array)


def _read(rows: Any, start: Any) -> Any:
    return tf.cast(rows, tf.float32)


def _trace(function: Any, *signature: tf.TensorSpec) -> Any:
    return tf.function(function, autograph=False).get_concrete_function(*signature)


class GraphTrainer:
    """One net in training. The seed determines weights, shuffles, dropout and the distortions of images.

    `net` is what is evaluated, in float32: the net in training, or one with the average of its weights where the config
    asks for one.
    """

    def __init__(
        self,
        config: Config,
        facts: DataFacts,
        train: Rows,
        seed: int,
        max_epochs: int,
        precision: Precision = "float32",
        *,
        loss: Loss | None = None,
        is_balanced: bool = False,
    ) -> None:
        """Build a net before its first epoch of up to `max_epochs`, over which the learning rate's schedule runs.

        loss: of regression. is_balanced: whether every class weighs alike in the loss that is trained.
        """
        keras.utils.set_random_seed(seed)
        self._trained = build_net(config, facts)
        if precision == "bfloat16":
            compute_in_bfloat16(self._trained)
        self._in_training = replace_dropout(self._trained)
        limit_norms(self._trained, config)
        n_steps = count_steps(train.n, config.batch_size, max_epochs)
        self.optimizer = build_optimizer(config, self._trained, n_steps, FUSED)
        is_apart = config.ema > 0 or precision == "bfloat16"
        self.net = build_net(config, facts, "zeros") if is_apart else self._trained
        self._config, self._facts = config, facts
        self._head: Head = (
            ClassHead(facts, config, balance(train.y.numpy(), facts.n_classes) if is_balanced else None)
            if facts.task == "classification"
            else ValueHead(loss or "mse")
        )
        self._train = train
        self._seed = seed
        self._epochs_done = 0
        with use_lean_silu(self.net, self._trained):
            self._train_epoch = _trace(partial(self._run_epoch, train, config.batch_size), tf.TensorSpec([2], tf.int32))
            self._evaluate = _trace(
                self._run_evaluation,
                tf.TensorSpec([None, facts.n_features], train.x.dtype),
                tf.TensorSpec([None], self._head.label_type),
            )

    def train_epoch(self) -> Logs:
        """Train one epoch over shuffled rows. Return the running means of loss and metrics, as `fit` reports them.

        The loss is the one that is trained: with label smoothing, the smoothed one; of images, as they were distorted.
        """
        self._epochs_done += 1
        order_seed = tf.constant([self._seed & 0x7FFFFFFF, self._epochs_done], tf.int32)
        means = self._train_epoch(order_seed)
        if self.net is not self._trained:
            self._take_weights()
        return self._to_metrics(means, self._train)

    def evaluate(self, rows: Rows) -> Logs:
        """Return mean loss and metrics over all rows, dropout off."""
        return self._to_metrics(self._evaluate(rows.x, rows.y), rows)

    def predict(self, rows: Rows) -> NDArray[np.float32]:
        """Return the outputs for all rows, shape (n, n_outputs), dropout off."""
        batches = range(0, rows.n, EVALUATION_BATCH)
        return np.concatenate([self._answer(rows.x[start : start + EVALUATION_BATCH]).numpy() for start in batches])

    @cached_property
    def _answer(self) -> Any:
        with use_lean_silu(self.net):
            of_batch = tf.TensorSpec([None, self._facts.n_features], self._train.x.dtype)
            return _trace(lambda x: self.net(tf.cast(x, tf.float32), training=False), of_batch)

    def _to_metrics(self, means: Any, rows: Rows) -> Logs:
        names = ("loss", *AVERAGED[self._facts.task])
        target = self._facts.target
        variance = 0.0 if target is None else rows.variance
        return to_metrics(dict(zip(names, map(float, means), strict=True)), target, variance)

    def _take_weights(self) -> None:
        """Give `net` the trained weights, or their average, with batch norm's statistics, which are averages already."""
        weights = self._trained.trainable_variables
        if self.optimizer.use_ema:
            weights = self.optimizer._model_variables_moving_average
        for variable, value in zip(self.net.trainable_variables, weights, strict=True):
            variable.assign(value)
        for variable, value in zip(self.net.non_trainable_weights, self._trained.non_trainable_weights, strict=True):
            variable.assign(value)

    def _run_epoch(self, train: Rows, batch_size: int, order_seed: Any) -> tuple[Any, ...]:
        # A new order every epoch. After `keras.utils.set_random_seed`, `fit` on TensorFlow repeats one order (Keras
        # 3.15). That lowers the running loss and trains no better: tests/bench/fit_reference.py compares without it.
        order = tf.random.experimental.stateless_shuffle(tf.range(train.n), order_seed)
        read = partial(self._distort, order_seed[1]) if self._config.augments else _read
        return self._fold(train.x, train.y, order, batch_size, read, self._train_step)

    def _distort(self, epoch: Any, rows: Any, start: Any) -> Any:
        shape = self._facts.image_shape
        assert shape is not None, "a study that distorts what are no images is refused, see `check_images`"
        return augment(rows, derive_step_seed(self._seed, epoch, start), Strengths.of(self._config), shape)

    def _run_evaluation(self, x: Any, y: Any) -> tuple[Any, ...]:
        return self._fold(x, y, tf.range(tf.shape(y)[0]), EVALUATION_BATCH, _read, self._score)

    def _fold(self, x: Any, y: Any, order: Any, batch_size: int, read: Any, step: Any) -> tuple[Any, ...]:
        """Run `step` on every batch of rows in `order`, a short last one included. Return means of loss and `AVERAGED`.

        read: makes float32 of the rows of the batch that starts at a place in `order`.
        """
        n = tf.shape(order)[0]

        def body(start: Any, loss_sum: Any, *sums: Any) -> tuple[Any, ...]:
            batch = order[start : tf.minimum(start + batch_size, n)]
            labels = tf.gather(y, batch)
            outputs, losses = step(read(tf.gather(x, batch), start), labels)
            added = (a + b for a, b in zip(sums, self._head.sums(labels, outputs), strict=True))
            return start + batch_size, loss_sum + tf.reduce_sum(losses), *added

        start = (tf.constant(0), tf.constant(0.0), *self._head.zeros())
        _, *sums = tf.while_loop(lambda i, *_: i < n, body, start, parallel_iterations=1)
        return tuple(tf.cast(total, tf.float32) / tf.cast(n, tf.float32) for total in sums)

    def _score(self, rows: Any, labels: Any) -> tuple[Any, Any]:
        """Return outputs and losses of a batch, shapes (b, n_outputs) and (b,), dropout off."""
        outputs = self.net(rows, training=False)
        return outputs, self._head.losses(labels, outputs)

    def _train_step(self, rows: Any, labels: Any) -> tuple[Any, Any]:
        """Take one optimizer step. Return the batch's outputs and losses before it, (b, n_outputs) and (b,)."""
        with tf.GradientTape() as tape:
            outputs = self._in_training(rows, training=True)
            losses = self._head.training_losses(labels, outputs)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self._trained.trainable_variables)
        self.optimizer.apply(gradients, self._trained.trainable_variables)
        return outputs, losses
