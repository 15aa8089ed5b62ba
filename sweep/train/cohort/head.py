"""The end of a member's net on the JAX engine: the losses of a batch, and what its metrics are averaged from."""

from typing import Any

import jax
import jax.numpy as jnp
import keras

from sweep.study.objective import Loss
from sweep.train.recipe import LOSSES


class ClassHead:
    """Logits of classes; labels are class numbers."""

    def __init__(self, class_weights: Any = None) -> None:
        """class_weights: shape (n_classes,), of the loss that is trained; None where every row weighs 1."""
        self._weights = class_weights

    def losses(self, logits: Any, labels: Any, smoothing: Any = None, is_training: bool = False) -> Any:
        """Return the cross-entropy of each row, shape (b,); in training, weighted as asked for.

        smoothing: share of each label that is spread over all classes (Szegedy et al. 2016, arXiv 1512.00567, section 7).
        """
        losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        if smoothing is not None:
            losses = (1 - smoothing) * losses - smoothing * jax.nn.log_softmax(logits).mean(axis=-1)
        return losses if self._weights is None or not is_training else losses * jnp.asarray(self._weights)[labels]

    def sums(self, logits: Any, labels: Any, is_row: Any) -> tuple[Any, ...]:
        """Return sums of what `measures.AVERAGED` names over rows that are not padding: those that are right."""
        return ((is_row & (logits.argmax(axis=-1) == labels)).sum(),)

    def zeros(self, n_members: int) -> tuple[Any, ...]:
        """Return the sums of each member over no rows."""
        return (jnp.zeros(n_members, jnp.int32),)


class ValueHead:
    """Standardized numbers; labels are such numbers too."""

    def __init__(self, loss: Loss) -> None:
        self._loss = LOSSES[loss]()

    def losses(self, outputs: Any, labels: Any, smoothing: Any = None, is_training: bool = False) -> Any:
        """Return the loss of each row, shape (b,)."""
        return self._loss.call(labels[:, None], outputs)

    def sums(self, outputs: Any, labels: Any, is_row: Any) -> tuple[Any, ...]:
        """Return sums over rows that are not padding: of squared and of absolute errors."""
        errors = jnp.where(is_row, outputs[:, 0] - labels, 0)
        return jnp.square(errors).sum(), jnp.abs(errors).sum()

    def zeros(self, n_members: int) -> tuple[Any, ...]:
        """Return the sums of each member over no rows."""
        return jnp.zeros(n_members), jnp.zeros(n_members)


Head = ClassHead | ValueHead
