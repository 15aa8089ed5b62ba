"""Keras' optimizers with TensorFlow's fused update kernels."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf


class _OneReplica:
    """Replaces what Keras does to serve several replicas. Comes before a `keras.optimizers.Optimizer` in a class's bases."""

    # Of Keras' optimizers.
    weight_decay: float | None
    ema_momentum: float
    learning_rate: Any
    iterations: Any
    _use_weight_decay: Any
    _model_variables_moving_average: Sequence[keras.Variable]

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        # There is one replica, so nothing to reduce. Keras' method calls `ReplicaContext.all_reduce`, which registers a
        # custom gradient that is never freed, and keeps every graph that it is traced in: 9 MB per model of
        # 784-400-100-10, measured on TensorFlow 2.21. Can go when tests/train/graph/test_trainer.py passes without it.
        return grads_and_vars

    def _apply_weight_decay(self, variables: Sequence[keras.Variable]) -> None:
        """Do what Keras does, but compute the learning rate once for all variables."""
        if self.weight_decay is None:
            return
        share = tf.cast(self.learning_rate, tf.float32) * self.weight_decay
        for variable in filter(self._use_weight_decay, variables):
            variable.value.assign_sub(variable.value * share, read_value=False)

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[keras.Variable]) -> None:
        """Do what Keras does, but in two passes over the weights instead of four. The first step's weights start it."""
        share = tf.where(tf.equal(self.iterations.value, 0), 1.0, 1.0 - self.ema_momentum)
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.value.assign_sub((average.value - variable.value) * share, read_value=False)


class FusedAdam(_OneReplica, keras.optimizers.Adam):
    """`keras.optimizers.Adam` that updates a variable with one kernel instead of a dozen.

    The arithmetic is the same: Kingma & Ba 2015 (arXiv 1412.6980), the form just before section 2.1, which Keras
    writes as `alpha = lr * sqrt(1 - beta_2^t) / (1 - beta_1^t)`. Everything else (slots, schedules, config,
    serialization) is inherited. AMSGrad and sparse gradients use Keras' own update.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        index = self._get_variable_index(variable)
        beta_1, beta_2 = tf.cast(self.beta_1, variable.dtype), tf.cast(self.beta_2, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=gradient,
        )


class FusedSGD(_OneReplica, keras.optimizers.SGD):
    """`keras.optimizers.SGD` with momentum, which updates a variable with one kernel. The arithmetic is the same."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if not self.momentum or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=gradient,
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


class LeanRMSprop(_OneReplica, keras.optimizers.RMSprop):
    """`keras.optimizers.RMSprop` with Keras' own update: TensorFlow's kernel would need another slot, for a momentum."""


FUSED: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": FusedAdam,
    "sgd": partial(FusedSGD, momentum=0.9, nesterov=True),
    "rmsprop": LeanRMSprop,
}
