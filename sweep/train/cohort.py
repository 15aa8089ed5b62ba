"""The JAX engine: many configs trained in one program.

A program is an epoch of one bucket (see `bucket.py`) for a number of members: the Keras model's `stateless_call` and its
optimizer's `stateless_apply` under `vmap`, in a `lax.scan` over steps. Learning rates, dropout rates, seeds and true widths
are data. Members share rows and nothing else: no sum or mean runs over the axis of members, so what becomes of one, NaN
included, touches no other. What is computed for each is what `fit` computes; tests/test_cohort.py compares.
"""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
from numpy.typing import NDArray

from sweep.config import Config, derived_seed
from sweep.data import DataFacts, Split
from sweep.model import Moments, Weights, build_model, moments_of, weight_name, weight_shapes
from sweep.study import Precision
from sweep.train.bucket import Bucket
from sweep.trial import Logs, Trial

EVALUATION_BATCH = 1000  # rows at a time, of every member


class MemberDropout(keras.layers.Layer):
    """`keras.layers.Dropout` whose rate is data. The mask of a unit does not depend on how many units there are.

    Inverted dropout (Srivastava et al. 2014, JMLR 15, section 10). JAX numbers the bits of an array by position
    (`jax_threefry_partitionable`), so with units leading, padding appends draws and changes none.
    """

    supports_masking = True  # and passes a mask on

    def build(self, input_shape: Any) -> None:
        self.rate = self.add_weight(shape=(), initializer="zeros", trainable=False, name="rate")
        # A seed, and how many draws it has given.
        self.key = self.add_weight(shape=(2,), initializer="zeros", trainable=False, dtype="uint32", name="key")

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        drawn = jax.random.uniform(jax.random.wrap_key_data(self.key.value), inputs.shape[::-1]).T
        self.key.assign(self.key.value + jnp.array([0, 1], jnp.uint32))
        return jnp.where(drawn >= self.rate.value, inputs / (1 - self.rate.value).astype(inputs.dtype), 0)


class State(NamedTuple):
    """A stack of members: each array with the member's axis in front."""

    trainable: list[Any]
    other: list[Any]  # batch norm's moving statistics, dropout's rates and keys
    optimizer: list[Any]


@dataclass(frozen=True)
class DeviceRows:
    """What cohorts train on, on the device: rows as they are in the data, and class numbers."""

    facts: DataFacts
    moments: Moments | None
    train: tuple[Any, Any]
    validation: tuple[Any, Any] | None

    @classmethod
    def of(cls, facts: DataFacts, train: Split, validation: Split | None) -> "DeviceRows":
        def put(split: Split) -> tuple[Any, Any]:
            return jax.device_put(np.asarray(split.x)), jax.device_put(np.asarray(split.y))

        return cls(facts, moments_of(train.x, facts), put(train), None if validation is None else put(validation))


class Blueprint:
    """The model that stands for every member of a bucket, and how members' weights go in and come out of its stack."""

    def __init__(self, bucket: Bucket, rows: DeviceRows, precision: Precision) -> None:
        self.bucket = bucket
        self.rows = rows
        padded = Config(
            units=bucket.units,
            dropout=0.5 if bucket.has_dropout else 0.0,
            batch_size=bucket.batch_size,
            learning_rate=0.001,
            batch_norm=bucket.batch_norm,
        )
        # Zeros, for they are all replaced, and JAX compiles a draw for every shape.
        plain = build_model(padded, rows.facts, rows.moments, initializer="zeros")
        is_ragged = len(rows.train[1]) % bucket.batch_size > 0  # the last batch is filled up with padding
        self.model = _for_members(plain, precision, is_ragged)
        self.optimizer = keras.optimizers.Adam()
        self.optimizer.build(self.model.trainable_variables)

    def stacked(self, trials: Sequence[Trial]) -> State:
        """The members as they are before their first epoch."""
        started = [self._started(trial) for trial in trials]
        stacks: State = jax.tree.map(lambda *members: np.stack(members), *started)
        return stacks

    def shapes(self, n_members: int) -> State:
        """Shapes and types of a stack."""

        def of(variables: list[Any]) -> list[Any]:
            return [jax.ShapeDtypeStruct((n_members, *v.shape), v.dtype) for v in variables]

        model = self.model
        return State(of(model.trainable_variables), of(model.non_trainable_variables), of(self.optimizer.variables))

    def cut(self, weights: tuple[list[Any], list[Any]], member: int, config: Config) -> Weights:
        """The weights of a member at its true widths, from stacks of trainable and other variables."""
        variables = [*self.model.trainable_variables, *self.model.non_trainable_variables]
        stacks = {weight_name(v): stack for v, stack in zip(variables, [*weights[0], *weights[1]], strict=True)}
        return {
            name: np.asarray(stacks[name][member][tuple(map(slice, shape))])
            for name, shape in weight_shapes(config, self.rows.facts).items()
        }

    def _started(self, trial: Trial) -> State:
        weights = _initial(trial, weight_shapes(trial.config, self.rows.facts))
        for i in range(1, trial.config.hidden_layers + 1):
            weights[f"dropout_{i}/rate"] = np.array(trial.config.dropout)
            weights[f"dropout_{i}/key"] = np.array([derived_seed(trial.seed, "dropout", i), 0])

        def padded(variable: keras.Variable) -> NDArray[Any]:
            whole = np.zeros(variable.shape, variable.dtype)
            value = weights[weight_name(variable)]
            whole[tuple(map(slice, value.shape))] = value
            return whole

        def of_optimizer(variable: keras.Variable) -> NDArray[Any]:
            is_rate = variable.path.endswith("/learning_rate")
            return np.full(variable.shape, trial.config.learning_rate if is_rate else 0, variable.dtype)

        return State(
            [padded(v) for v in self.model.trainable_variables],
            [padded(v) for v in self.model.non_trainable_variables],
            [of_optimizer(v) for v in self.optimizer.variables],
        )


def _for_members(plain: keras.Sequential, precision: Precision, is_ragged: bool) -> keras.Model:
    """The layers of `plain`, with dropout by the member; batch norm passes over rows that are padding (not `is_row`)."""
    rows = keras.Input(plain.input_shape[1:], name="rows")
    is_row = keras.Input((), dtype="bool", name="is_row")
    x = rows
    for layer in plain.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer = MemberDropout(name=layer.name)
        if precision == "bfloat16" and layer.name not in ("scale", "classes"):  # rows and probabilities stay exact
            layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
        x = layer(x, mask=is_row) if is_ragged and isinstance(layer, keras.layers.BatchNormalization) else layer(x)
    return keras.Model([rows, is_row], x)


def _initial(trial: Trial, shapes: dict[str, tuple[int, ...]]) -> Weights:
    """Glorot uniform kernels (Glorot & Bengio 2010, AISTATS, equation 16) at their true fans; the rest as Keras starts it."""
    rng = np.random.default_rng(trial.seed)

    def value(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        match name.split("/")[1]:
            case "kernel":
                limit = np.sqrt(6 / sum(shape))
                return rng.uniform(-limit, limit, shape).astype(np.float32)
            case "gamma" | "moving_variance":
                return np.ones(shape, np.float32)
            case _:
                return np.zeros(shape, np.float32)

    return {name: value(name, shape) for name, shape in shapes.items()}


class Program:
    """The compiled epoch of a bucket for a number of members, and the evaluation of their weights."""

    def __init__(self, blueprint: Blueprint, n_members: int) -> None:
        began = time.perf_counter()
        self.blueprint = blueprint
        self.n_members = n_members
        rows = blueprint.rows
        shapes = blueprint.shapes(n_members)
        order_keys = jax.ShapeDtypeStruct((n_members, 2), jnp.uint32)
        epoch = partial(_epoch, blueprint)
        self._epoch = jax.jit(epoch, donate_argnums=0).lower(shapes, order_keys, rows.train, rows.validation).compile()
        evaluate = partial(_evaluate, blueprint)
        self._evaluate = jax.jit(evaluate).lower(shapes.trainable, shapes.other, rows.train).compile()
        self.compile_s = time.perf_counter() - began

    @property
    def n_bytes(self) -> int:
        """Device memory that a cohort takes beside the rows, its best weights included."""
        stacks = jax.tree.leaves(self.blueprint.shapes(self.n_members))
        held: int = sum(math.prod(stack.shape) * stack.dtype.itemsize for stack in stacks)
        needs = [self._epoch.memory_analysis(), self._evaluate.memory_analysis()]
        return 2 * held + max(int(need.temp_size_in_bytes) for need in needs if need is not None)

    def epoch(self, state: State, order_keys: NDArray[np.uint32]) -> tuple[State, list[Logs]]:
        """Train all members an epoch; the state after it, and each member's logs. `state` is used up."""
        rows = self.blueprint.rows
        state, logs = self._epoch(state, order_keys, rows.train, rows.validation)
        return state, _by_member(logs)

    def on_train(self, weights: tuple[list[Any], list[Any]]) -> list[Logs]:
        """Loss and accuracy of each member on all training rows, dropout off."""
        loss, accuracy = self._evaluate(*weights, self.blueprint.rows.train)
        return _by_member({"train_loss": loss, "train_accuracy": accuracy})


class Cohort:
    """Members in training, side by side. `trials` may be fewer than the program has places: the rest train unseen."""

    def __init__(
        self, program: Program, trials: Sequence[Trial], state: State | None = None, n_epochs: int = 0
    ) -> None:
        self.program = program
        self.trials = list(trials)
        self.n_epochs = n_epochs
        self._in_places = self.trials + self.trials[-1:] * (program.n_members - len(self.trials))
        self._state = jax.device_put(program.blueprint.stacked(self._in_places)) if state is None else state
        self._best: tuple[list[Any], list[Any]] | None = None

    def train_epoch(self) -> list[Logs]:
        """Train an epoch; the logs of each trial."""
        self.n_epochs += 1
        order_keys = [(derived_seed(trial.seed, "order"), self.n_epochs) for trial in self._in_places]
        self._state, logs = self.program.epoch(self._state, np.array(order_keys, np.uint32))
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

    def kept_on_train(self) -> list[Logs]:
        """`train_loss` and `train_accuracy` of the kept weights of each trial."""
        assert self._best is not None, "nothing was kept"
        return self.program.on_train(self._best)[: len(self.trials)]

    def kept_weights(self) -> list[Weights]:
        """The kept weights of each trial, at its true widths."""
        assert self._best is not None, "nothing was kept"
        on_host = jax.device_get(self._best)
        blueprint = self.program.blueprint
        return [blueprint.cut(on_host, member, trial.config) for member, trial in enumerate(self.trials)]

    def compacted(self, members: Sequence[int], program: Program) -> "Cohort":
        """These of the trials alone, in a program of fewer places, where they go on as they were."""
        places = np.array([*members, *[members[-1]] * (program.n_members - len(members))])
        smaller = Cohort(program, [self.trials[i] for i in members], _take(places, self._state), self.n_epochs)
        smaller._best = None if self._best is None else _take(places, self._best)
        return smaller


def use_device(precision: Precision, programs: Path) -> None:
    """Set this process up, before its first program: how matrix products round, and where compiled programs are kept."""
    exact = "float32" if precision == "bfloat16" else precision  # there, the layers themselves compute in bfloat16
    jax.config.update("jax_default_matmul_precision", exact)
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def device_tags() -> dict[str, str]:
    """What this process trains on."""
    return {"device": str(jax.devices()[0].device_kind), "version_jax": jax.__version__}


def device_bytes() -> int:
    """Memory that a cohort may take on the device: what is free of it; on a CPU, half of the machine's."""
    stats = jax.devices()[0].memory_stats()
    if stats is None or "bytes_limit" not in stats:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return int(stats["bytes_limit"] - stats["bytes_in_use"])


@partial(jax.jit, donate_argnums=2)
def _select(chosen: Any, current: Any, kept: Any) -> Any:
    def of(new: Any, old: Any) -> Any:
        return jnp.where(chosen.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(of, current, kept)


@jax.jit
def _take(places: Any, stacks: Any) -> Any:
    return jax.tree.map(lambda stack: stack[places], stacks)


def _by_member(logs: dict[str, Any]) -> list[Logs]:
    on_host = jax.device_get(logs)
    n_members = len(next(iter(on_host.values())))
    return [{name: float(values[member]) for name, values in on_host.items()} for member in range(n_members)]


def _epoch(
    blueprint: Blueprint, state: State, order_keys: Any, train: tuple[Any, Any], validation: tuple[Any, Any] | None
) -> tuple[State, dict[str, Any]]:
    x, y = train
    n = len(y)
    size = min(blueprint.bucket.batch_size, n)

    def shuffled(key: Any) -> Any:
        return _batches(jax.random.permutation(jax.random.wrap_key_data(key), n), size)

    def step(state: State, batch: tuple[Any, Any]) -> tuple[State, tuple[Any, Any]]:
        order, is_row = batch
        return jax.vmap(partial(_step, blueprint), (0, 0, None, None, None))(state, order, is_row, x, y)

    orders = jax.vmap(shuffled)(order_keys).swapaxes(0, 1)  # (steps, members, size)
    state, (losses, right) = jax.lax.scan(step, state, (orders, _are_rows(n, size)))
    logs = {"loss": losses.sum(axis=0) / n, "accuracy": right.sum(axis=0) / n}
    if validation is not None:
        loss, accuracy = _evaluate(blueprint, state.trainable, state.other, validation)
        logs |= {"val_loss": loss, "val_accuracy": accuracy}
    return state, logs


def _step(blueprint: Blueprint, state: State, order: Any, is_row: Any, x: Any, y: Any) -> tuple[State, tuple[Any, Any]]:
    """One optimizer step of one member; sum of losses and number of right answers in the batch before it."""
    rows, labels = x[order].astype(jnp.float32), y[order]

    def mean_loss(trainable: list[Any]) -> tuple[Any, tuple[Any, Any, Any]]:
        said, other = blueprint.model.stateless_call(trainable, state.other, [rows, is_row], training=True)
        loss, right = _sums(said, labels, is_row)
        return loss / is_row.sum(), (loss, right, other)

    (_, (loss, right, other)), gradients = jax.value_and_grad(mean_loss, has_aux=True)(state.trainable)
    trainable, optimizer = blueprint.optimizer.stateless_apply(state.optimizer, gradients, state.trainable)
    return State(trainable, other, optimizer), (loss, right)


def _evaluate(blueprint: Blueprint, trainable: list[Any], other: list[Any], rows: tuple[Any, Any]) -> tuple[Any, Any]:
    """Mean loss and accuracy of each member over all rows, dropout off."""
    x, y = rows
    n = len(y)
    size = min(EVALUATION_BATCH, n)

    def score(trainable: list[Any], other: list[Any], batch: Any, labels: Any, is_row: Any) -> tuple[Any, Any]:
        said, _ = blueprint.model.stateless_call(trainable, other, [batch, is_row], training=False)
        return _sums(said, labels, is_row)

    def add(sums: tuple[Any, Any], batch: tuple[Any, Any]) -> tuple[tuple[Any, Any], None]:
        order, is_row = batch
        scored = jax.vmap(score, (0, 0, None, None, None))(
            trainable, other, x[order].astype(jnp.float32), y[order], is_row
        )
        return jax.tree.map(jnp.add, sums, scored), None

    n_members = trainable[0].shape[0]
    none = jnp.zeros(n_members), jnp.zeros(n_members, jnp.int32)
    (losses, right), _ = jax.lax.scan(add, none, (_batches(jnp.arange(n), size), _are_rows(n, size)))
    return losses / n, right / n


def _sums(said: Any, labels: Any, is_row: Any) -> tuple[Any, Any]:
    """Sum of cross-entropies and number of right answers, over rows that are no padding."""
    losses = keras.losses.sparse_categorical_crossentropy(labels, said)
    return jnp.where(is_row, losses, 0).sum(), (is_row & (said.argmax(axis=-1) == labels)).sum()


def _batches(order: Any, size: int) -> Any:
    """Row numbers, shape (n,), as batches, shape (steps, size); the last is filled up with row 0."""
    return jnp.pad(order, (0, -len(order) % size)).reshape(-1, size)


def _are_rows(n: int, size: int) -> Any:
    """Which places of `_batches` hold rows."""
    return _batches(jnp.ones(n, bool), size)
