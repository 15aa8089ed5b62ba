"""The JAX engine: many configs trained in one program.

A program is an epoch of one bucket (see `bucket.py`) for a number of members: the Keras model's `stateless_call` and its
optimizer's `stateless_apply` under `vmap`, in a `lax.scan` over steps. Learning rates, dropout rates, seeds and true widths
are data. Members share rows and nothing else: no sum or mean runs over the axis of members, so what becomes of one, NaN
included, touches no other. What is computed for each is what `fit` computes; tests/train/cohort/test_program.py compares.
"""

import math
import os
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from numpy.typing import NDArray

from sweep.study.config import derive_seed
from sweep.study.schema import Precision
from sweep.train.cohort.member import Blueprint, CohortState
from sweep.train.model import Weights
from sweep.trial import Logs, Trial

EVALUATION_BATCH = 1000  # rows at a time, of every member
# Tracing holds Python's lock: side by side all programs would be traced last, where one by one the first is ready soon.
_tracing = threading.Lock()


class Program:
    """The compiled epoch of a bucket for a number of members, and the evaluation of their weights."""

    def __init__(self, blueprint: Blueprint, n_members: int) -> None:
        self.blueprint = blueprint
        self.n_members = n_members
        rows = blueprint.rows
        shapes = blueprint.get_shapes(n_members)
        order_keys = jax.ShapeDtypeStruct((n_members, 2), jnp.uint32)
        epoch = partial(_train_epoch, blueprint)
        evaluate = partial(_evaluate, blueprint)
        with _tracing:
            began = time.perf_counter()
            lowered = jax.jit(epoch, donate_argnums=0).lower(shapes, order_keys, rows.train, rows.validation)
            lowered_evaluation = jax.jit(evaluate).lower(shapes.trainable, shapes.other, rows.train)
        self._epoch, self._evaluate = lowered.compile(), lowered_evaluation.compile()
        self.compile_s = time.perf_counter() - began

    @property
    def n_bytes(self) -> int:
        """Device memory that a cohort takes beside the rows, its best weights included."""
        stacks = jax.tree.leaves(self.blueprint.get_shapes(self.n_members))
        held: int = sum(math.prod(stack.shape) * stack.dtype.itemsize for stack in stacks)
        needs = [self._epoch.memory_analysis(), self._evaluate.memory_analysis()]
        return 2 * held + max(int(need.temp_size_in_bytes) for need in needs if need is not None)

    def train_epoch(self, state: CohortState, order_keys: NDArray[np.uint32]) -> tuple[CohortState, list[Logs]]:
        """Train all members an epoch; the state after it, and each member's logs. `state` is used up."""
        rows = self.blueprint.rows
        state, logs = self._epoch(state, order_keys, rows.train, rows.validation)
        return state, _split_by_member(logs)

    def evaluate_on_train(self, weights: tuple[list[Any], list[Any]]) -> list[Logs]:
        """Loss and accuracy of each member on all training rows, dropout off."""
        loss, accuracy = self._evaluate(*weights, self.blueprint.rows.train)
        return _split_by_member({"train_loss": loss, "train_accuracy": accuracy})


class Cohort:
    """Members in training, side by side. `trials` may be fewer than the program has places: the rest train unseen."""

    def __init__(
        self, program: Program, trials: Sequence[Trial], state: CohortState | None = None, n_epochs: int = 0
    ) -> None:
        self.program = program
        self.trials = list(trials)
        self.n_epochs = n_epochs
        self._in_places = self.trials + self.trials[-1:] * (program.n_members - len(self.trials))
        self._state = jax.device_put(program.blueprint.stack(self._in_places)) if state is None else state
        self._best: tuple[list[Any], list[Any]] | None = None

    def train_epoch(self) -> list[Logs]:
        """Train an epoch; the logs of each trial."""
        self.n_epochs += 1
        order_keys = [(derive_seed(trial.seed, "order"), self.n_epochs) for trial in self._in_places]
        self._state, logs = self.program.train_epoch(self._state, np.array(order_keys, np.uint32))
        return logs[: len(self.trials)]

    def keep(self, is_kept: Sequence[bool]) -> None:
        """Keep the weights of these trials as they are now; the others' stay those that were kept last."""
        current = self._state.trainable, self._state.other
        if self._best is None:
            self._best = jax.tree.map(jnp.copy, current)  # the next epoch uses the state up
        elif any(is_kept):
            chosen = np.zeros(self.program.n_members, bool)
            chosen[: len(is_kept)] = is_kept
            self._best = _select(chosen, current, self._best)

    def evaluate_kept(self) -> list[Logs]:
        """`train_loss` and `train_accuracy` of the kept weights of each trial."""
        assert self._best is not None, "nothing was kept"
        return self.program.evaluate_on_train(self._best)[: len(self.trials)]

    def fetch_kept_weights(self) -> list[Weights]:
        """The kept weights of each trial, at its true widths."""
        assert self._best is not None, "nothing was kept"
        on_host = jax.device_get(self._best)
        blueprint = self.program.blueprint
        return [blueprint.extract_weights(on_host, member, trial.config) for member, trial in enumerate(self.trials)]

    def compact(self, members: Sequence[int], program: Program) -> "Cohort":
        """These of the trials alone, in a program of fewer places, where they go on as they were."""
        places = np.array([*members, *[members[-1]] * (program.n_members - len(members))])
        smaller = Cohort(program, [self.trials[i] for i in members], _take(places, self._state), self.n_epochs)
        smaller._best = None if self._best is None else _take(places, self._best)
        return smaller


def use_device(precision: Precision, programs: Path) -> None:
    """Set this process up, before its first program: how matrix products round, and where compiled programs are kept."""
    # With bfloat16 the layers themselves compute in it. XLA takes TensorFloat-32 wherever it can only where nothing is
    # asked for: by its own name some of its kernels, those of Triton, stay exact.
    jax.config.update("jax_default_matmul_precision", "default" if precision == "tensorfloat32" else "float32")
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    # Those lie in the same folder, whose path would become part of every program's key: a folder that moved would be no cache.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def describe_device() -> dict[str, str]:
    """What this process trains on."""
    return {"device": str(jax.devices()[0].device_kind), "version_jax": jax.__version__}


def get_device_bytes() -> int:
    """Memory that a cohort may take on the device: what is free of it; on a CPU, half of the machine's."""
    stats = jax.devices()[0].memory_stats()
    if stats is None or "bytes_limit" not in stats:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return int(stats["bytes_limit"] - stats["bytes_in_use"])


def is_device_failure(error: Exception) -> bool:
    """Whether it is the device that failed, not for want of memory: nothing trains there any more in this process."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error)


@partial(jax.jit, donate_argnums=2)
def _select(chosen: Any, current: Any, kept: Any) -> Any:
    def of(new: Any, old: Any) -> Any:
        return jnp.where(chosen.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(of, current, kept)


@jax.jit
def _take(places: Any, stacks: Any) -> Any:
    return jax.tree.map(lambda stack: stack[places], stacks)


def _split_by_member(logs: dict[str, Any]) -> list[Logs]:
    on_host = jax.device_get(logs)
    n_members = len(next(iter(on_host.values())))
    return [{name: float(values[member]) for name, values in on_host.items()} for member in range(n_members)]


def _train_epoch(
    blueprint: Blueprint,
    state: CohortState,
    order_keys: Any,
    train: tuple[Any, Any],
    validation: tuple[Any, Any] | None,
) -> tuple[CohortState, dict[str, Any]]:
    x, y = train
    n = len(y)
    size = min(blueprint.bucket.batch_size, n)

    def shuffled(key: Any) -> Any:
        return _cut_into_batches(jax.random.permutation(jax.random.wrap_key_data(key), n), size)

    def step(state: CohortState, batch: tuple[Any, Any]) -> tuple[CohortState, tuple[Any, Any]]:
        order, is_row = batch
        return jax.vmap(partial(_train_step, blueprint), (0, 0, None, None, None))(state, order, is_row, x, y)

    orders = jax.vmap(shuffled)(order_keys).swapaxes(0, 1)  # (steps, members, size)
    state, (losses, right) = jax.lax.scan(step, state, (orders, _mark_rows(n, size)))
    logs = {"loss": losses.sum(axis=0) / n, "accuracy": right.sum(axis=0) / n}
    if validation is not None:
        loss, accuracy = _evaluate(blueprint, state.trainable, state.other, validation)
        logs |= {"val_loss": loss, "val_accuracy": accuracy}
    return state, logs


def _train_step(
    blueprint: Blueprint, state: CohortState, order: Any, is_row: Any, x: Any, y: Any
) -> tuple[CohortState, tuple[Any, Any]]:
    """One optimizer step of one member; sum of losses and number of right answers in the batch before it."""
    rows, labels = x[order].astype(jnp.float32), y[order]

    def mean_loss(trainable: list[Any]) -> tuple[Any, tuple[Any, Any, Any]]:
        said, other = blueprint.model.stateless_call(trainable, state.other, [rows, is_row], training=True)
        loss, right = _sum_scores(said, labels, is_row)
        return loss / is_row.sum(), (loss, right, other)

    (_, (loss, right, other)), gradients = jax.value_and_grad(mean_loss, has_aux=True)(state.trainable)
    trainable, optimizer = blueprint.optimizer.stateless_apply(state.optimizer, gradients, state.trainable)
    return CohortState(trainable, other, optimizer), (loss, right)


def _evaluate(blueprint: Blueprint, trainable: list[Any], other: list[Any], rows: tuple[Any, Any]) -> tuple[Any, Any]:
    """Mean loss and accuracy of each member over all rows, dropout off."""
    x, y = rows
    n = len(y)
    size = min(EVALUATION_BATCH, n)

    def score(trainable: list[Any], other: list[Any], batch: Any, labels: Any, is_row: Any) -> tuple[Any, Any]:
        said, _ = blueprint.model.stateless_call(trainable, other, [batch, is_row], training=False)
        return _sum_scores(said, labels, is_row)

    def add(sums: tuple[Any, Any], batch: tuple[Any, Any]) -> tuple[tuple[Any, Any], None]:
        order, is_row = batch
        scored = jax.vmap(score, (0, 0, None, None, None))(
            trainable, other, x[order].astype(jnp.float32), y[order], is_row
        )
        return jax.tree.map(jnp.add, sums, scored), None

    n_members = trainable[0].shape[0]
    none = jnp.zeros(n_members), jnp.zeros(n_members, jnp.int32)
    (losses, right), _ = jax.lax.scan(add, none, (_cut_into_batches(jnp.arange(n), size), _mark_rows(n, size)))
    return losses / n, right / n


def _sum_scores(said: Any, labels: Any, is_row: Any) -> tuple[Any, Any]:
    """Sum of cross-entropies and number of right answers, over rows that are no padding."""
    losses = keras.losses.sparse_categorical_crossentropy(labels, said)
    return jnp.where(is_row, losses, 0).sum(), (is_row & (said.argmax(axis=-1) == labels)).sum()


def _cut_into_batches(order: Any, size: int) -> Any:
    """Row numbers, shape (n,), as batches, shape (steps, size); the last is filled up with row 0."""
    return jnp.pad(order, (0, -len(order) % size)).reshape(-1, size)


def _mark_rows(n: int, size: int) -> Any:
    """Which places of `_cut_into_batches` hold rows."""
    return _cut_into_batches(jnp.ones(n, bool), size)
