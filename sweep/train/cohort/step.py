"""The optimizer's step of one member, with the numbers of its recipe as data."""

from typing import Any

import jax.numpy as jnp
import keras

from sweep.train.cohort.member import Blueprint, CohortState


def apply_gradients(blueprint: Blueprint, state: CohortState, gradients: list[Any]) -> CohortState:
    """Return the state after a step, in the order of `keras.optimizers.Optimizer.apply`: decay, update, average, norms.

    What Keras' optimizers take as Python numbers (weight decay, momentum of the average, limit of a norm) is done here as
    they do it. What no member of the bucket uses is no part of the program. Padding stays 0 throughout.
    """
    uses, recipe = blueprint.bucket.uses, state.recipe
    places = blueprint.optimizer_places
    step = state.optimizer[places["iteration"]]
    trainable, optimizer = state.trainable, list(state.optimizer)
    rate = recipe.learning_rate
    if "schedule" in uses:
        rate = rate * jnp.where(recipe.is_cosine > 0, blueprint.cosine(step), 1)
        optimizer[places["learning_rate"]] = rate
    if "weight_decay" in uses:
        trainable = [
            weights - weights * recipe.weight_decay * rate if decays else weights
            for weights, decays in zip(trainable, blueprint.is_kernel, strict=True)
        ]
    trainable, optimizer = blueprint.optimizer.stateless_apply(optimizer, gradients, trainable)
    average = state.average
    if "ema" in uses:
        momentum = jnp.where(step > 0, recipe.ema, 0)  # the first step's weights start the average
        average = [momentum * old + (1 - momentum) * new for old, new in zip(average, trainable, strict=True)]
    if "max_norm" in uses:
        trainable = [
            _limit_norms(weights, recipe.max_norm) if is_hidden else weights
            for weights, is_hidden in zip(trainable, blueprint.is_hidden_kernel, strict=True)
        ]
    return state._replace(trainable=trainable, optimizer=optimizer, average=average)


def _limit_norms(kernel: Any, max_norm: Any) -> Any:
    """Return what `keras.constraints.MaxNorm` makes of a kernel; where `max_norm` is 0, the kernel."""
    norms = jnp.sqrt(jnp.square(kernel).sum(axis=0, keepdims=True))
    return jnp.where(max_norm > 0, kernel * (jnp.minimum(norms, max_norm) / (keras.backend.epsilon() + norms)), kernel)
