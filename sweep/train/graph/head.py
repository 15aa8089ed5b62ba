"""The end of a net on the TensorFlow engine: the losses of a batch, and what its metrics are averaged from."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sweep.data.facts import DataFacts
from sweep.study.config import Config
from sweep.study.objective import Loss
from sweep.train.recipe import LOSSES


class ClassHead:
    """Probabilities of classes; labels are class numbers."""

    label_type = tf.int32

    def __init__(self, facts: DataFacts, config: Config, class_weights: Any = None) -> None:
        """class_weights: shape (n_classes,), of the loss that is trained; None where every row weighs 1."""
        self._n_classes, self._smoothing, self._weights = facts.n_classes, config.label_smoothing, class_weights

    def losses(self, labels: Any, outputs: Any) -> Any:
        """Return the loss of each row, shape (b,)."""
        return keras.losses.sparse_categorical_crossentropy(labels, outputs)

    def training_losses(self, labels: Any, outputs: Any) -> Any:
        """Return what is trained of the loss of each row: smoothed and weighted as asked for."""
        losses = self._smoothed_losses(labels, outputs) if self._smoothing else self.losses(labels, outputs)
        return losses if self._weights is None else losses * tf.gather(tf.constant(self._weights), labels)

    def _smoothed_losses(self, labels: Any, outputs: Any) -> Any:
        targets = tf.one_hot(labels, self._n_classes)
        return keras.losses.categorical_crossentropy(targets, outputs, label_smoothing=self._smoothing)

    def zeros(self) -> Sequence[Any]:
        """Return the sums over no rows."""
        return (tf.constant(0, tf.int64),)

    def sums(self, labels: Any, outputs: Any) -> Sequence[Any]:
        """Return sums over a batch: of what `measures.AVERAGED` names, the rows that are right."""
        right = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), labels)
        return (tf.math.count_nonzero(right),)


class ValueHead:
    """Standardized numbers; labels are such numbers too."""

    label_type = tf.float32

    def __init__(self, loss: Loss) -> None:
        self._loss = LOSSES[loss]()

    def losses(self, labels: Any, outputs: Any) -> Any:
        """Return the loss of each row, shape (b,)."""
        return self._loss.call(labels[:, None], outputs)

    training_losses = losses

    def zeros(self) -> Sequence[Any]:
        """Return the sums over no rows."""
        return tf.constant(0.0), tf.constant(0.0)

    def sums(self, labels: Any, outputs: Any) -> Sequence[Any]:
        """Return sums over a batch: of squared and of absolute errors."""
        errors = outputs[:, 0] - labels
        return tf.reduce_sum(tf.square(errors)), tf.reduce_sum(tf.abs(errors))


Head = ClassHead | ValueHead
