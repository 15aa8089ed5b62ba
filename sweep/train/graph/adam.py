"""Adam with TensorFlow's fused update kernel."""

from typing import Any

import keras
import tensorflow as tf


class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` that updates a variable with one kernel instead of a dozen.

    The arithmetic is the same: Kingma & Ba 2015 (arXiv 1412.6980), the form just before section 2.1, which Keras
    writes as `alpha = lr * sqrt(1 - beta_2^t) / (1 - beta_1^t)`. Everything else (slots, schedules, config,
    serialization) is inherited. AMSGrad and sparse gradients use Keras' own update.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        # There is one replica, so nothing to reduce. Keras' method calls `ReplicaContext.all_reduce`, which registers a
        # custom gradient that is never freed, and keeps every graph that it is traced in: 9 MB per model of
        # 784-400-100-10, measured on TensorFlow 2.21. Can go when tests/train/graph/test_trainer.py passes without it.
        return grads_and_vars

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
