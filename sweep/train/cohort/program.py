"""The JAX engine: many configs trained in one program.

A program trains one epoch of a bucket (see `bucket.py`) for a number of members: the Keras model's `stateless_call` and
its optimizer's `stateless_apply` under `vmap`, in a `lax.scan` over steps. The numbers of a recipe, dropout rates, seeds
and true widths are data. Members share rows and nothing else: no sum or mean runs over the axis of members, so no member,
not even one with NaN, affects another. Each trains as in `fit`; tests/train/cohort/test_program.py compares the two.
"""

import math
import os
import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sweep.study.config import AUGMENTATION, derive_seed
from sweep.study.training import Precision
from sweep.train.cohort.augment import augment, derive_step_key
from sweep.train.cohort.member import Blueprint, CohortState, Recipe
from sweep.train.cohort.step import apply_gradients
from sweep.train.measures import AVERAGED, prefix, to_metrics
from sweep.train.model import Weights
from sweep.trial import Logs, Trial

EVALUATION_BATCH = 1000  # rows at a time, of every member
# Tracing holds Python's lock. In parallel all programs would be traced late; one by one, the first is ready soon.
_tracing = threading.Lock()


class EpochKeys(NamedTuple):
    """Keys of one epoch, shape (members, 2), uint32: a seed and the epoch's number."""

    order: Any  # of the rows
    augment: Any

    @classmethod
    def of(cls, trials: Sequence[Trial], epoch: int) -> "EpochKeys":
        """Derive the keys from the seeds of `trials`."""
        return cls(*(np.array([(derive_seed(t.seed, use), epoch) for t in trials], np.uint32) for use in cls._fields))


class Program:
    """The compiled epoch of a bucket for `n_members`, and the compiled evaluation of their weights."""

    def __init__(self, blueprint: Blueprint, n_members: int) -> None:
        self.blueprint = blueprint
        self.n_members = n_members
        rows = blueprint.rows
        shapes = blueprint.get_shapes(n_members)
        keys = EpochKeys(*[jax.ShapeDtypeStruct((n_members, 2), jnp.uint32)] * 2)
        epoch = partial(_train_epoch, blueprint)
        evaluate = partial(_evaluate, blueprint)
        with _tracing:
            began = time.perf_counter()
            lowered = jax.jit(epoch, donate_argnums=0).lower(shapes, keys, rows.train, rows.validation)
            lowered_evaluation = jax.jit(evaluate).lower(shapes.trainable, shapes.other, rows.train)
            to_answer = None
            if blueprint.ranked and rows.validation is not None:
                of_rows = shapes.trainable, shapes.other, rows.validation[0]
                to_answer = jax.jit(partial(_answer, blueprint)).lower(*of_rows)
        self._epoch, self._evaluate = lowered.compile(), lowered_evaluation.compile()
        self._answer = None if to_answer is None else to_answer.compile()
        self.compile_s = time.perf_counter() - began

    @property
    def n_bytes(self) -> int:
        """Return the device memory of a cohort in bytes: its best weights included, the rows not."""
        stacks = jax.tree.leaves(self.blueprint.get_shapes(self.n_members))
        held: int = sum(math.prod(stack.shape) * stack.dtype.itemsize for stack in stacks)
        needs = [self._epoch.memory_analysis(), self._evaluate.memory_analysis()]
        return 2 * held + max(int(need.temp_size_in_bytes) for need in needs if need is not None)

    def train_epoch(self, state: CohortState, keys: EpochKeys) -> tuple[CohortState, list[Logs]]:
        """Train all members for one epoch. Return the state after it, and each member's logs. Consumes `state`."""
        rows = self.blueprint.rows
        state, means = self._epoch(state, keys, rows.train, rows.validation)
        logs = self._to_metrics(means["train"], "train", "")
        if "validation" in means:
            on_validation = self._to_metrics(means["validation"], "validation", "val_")
            logs = [one | other for one, other in zip(logs, on_validation, strict=True)]
        if self._answer is not None:
            logs = [one | other for one, other in zip(logs, self._measure_ranked(state), strict=True)]
        return state, logs

    def _measure_ranked(self, state: CohortState) -> list[Logs]:
        """Return the metrics of each member that take a prediction of every validation row; none of a member that is NaN."""
        from sweep.train.ranked import measure_ranked  # here: a second that most studies do without

        rows, names = self.blueprint.rows.validation, self.blueprint.ranked
        assert self._answer is not None, "nothing was asked for"
        assert rows is not None, "there are no rows to ask about"
        answers, labels = jax.device_get((self._answer(_get_evaluated(state), state.other, rows[0]), rows[1]))
        return [prefix(measure_ranked(names, one, labels), "val_") if np.isfinite(one).all() else {} for one in answers]

    def evaluate_on_train(self, weights: tuple[list[Any], list[Any]]) -> list[Logs]:
        """Return loss and metrics of each member on all training rows, dropout off."""
        return self._to_metrics(self._evaluate(*weights, self.blueprint.rows.train), "train", "train_")

    def _to_metrics(self, means: dict[str, Any], split: str, before: str) -> list[Logs]:
        """Return the metrics of each member that means over the rows of a split give; before: their names' prefix."""
        rows = self.blueprint.rows
        variance = rows.variances[split]
        return [prefix(to_metrics(one, rows.facts.target, variance), before) for one in _split_by_member(means)]


class Cohort:
    """Trials in training, one in each place of a program. Spare places repeat the last trial and are not read."""

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
        """Train one epoch; return the logs of each trial."""
        self.n_epochs += 1
        self._state, logs = self.program.train_epoch(self._state, EpochKeys.of(self._in_places, self.n_epochs))
        return logs[: len(self.trials)]

    def keep(self, is_kept: Sequence[bool]) -> None:
        """Keep the current weights of the trials in `is_kept`; of the others, those kept last stay."""
        current = _get_evaluated(self._state), self._state.other
        if self._best is None:
            self._best = jax.tree.map(jnp.copy, current)  # a copy: the next epoch consumes the state
        elif any(is_kept):
            chosen = np.zeros(self.program.n_members, bool)
            chosen[: len(is_kept)] = is_kept
            self._best = _replace(chosen, current, self._best)

    def evaluate_kept(self) -> list[Logs]:
        """Return `train_loss` and the like of the kept weights of each trial."""
        assert self._best is not None, "nothing was kept"
        return self.program.evaluate_on_train(self._best)[: len(self.trials)]

    def fetch_kept_weights(self) -> list[Weights]:
        """Fetch the kept weights of each trial from the device, at its true widths."""
        assert self._best is not None, "nothing was kept"
        on_host = jax.device_get(self._best)
        blueprint = self.program.blueprint
        return [blueprint.extract_weights(on_host, member, trial.config) for member, trial in enumerate(self.trials)]

    def compact(self, members: Sequence[int], program: Program) -> "Cohort":
        """Return a cohort of these members alone, in the same state, in `program`, which has fewer places."""
        places = np.array([*members, *[members[-1]] * (program.n_members - len(members))])
        smaller = Cohort(program, [self.trials[i] for i in members], _take(places, self._state), self.n_epochs)
        smaller._best = None if self._best is None else _take(places, self._best)
        return smaller


def use_device(precision: Precision, programs: Path) -> None:
    """Configure JAX before the first program: how matrix products round, and where compiled programs are cached."""
    # "default", not "tensorfloat32": only the default makes XLA use TensorFloat-32 wherever it can. Asked for by name,
    # some of its kernels, those of Triton, stay exact. With bfloat16 the layers themselves compute in it.
    jax.config.update("jax_default_matmul_precision", "default" if precision == "tensorfloat32" else "float32")
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    # XLA's own caches would lie in the same folder and make its path part of every key: a moved folder
    # would be no cache.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def describe_device() -> dict[str, str]:
    """Return the provenance of this process's device: its kind, and the version of JAX."""
    return {"device": str(jax.devices()[0].device_kind), "version_jax": jax.__version__}


def get_device_bytes() -> int:
    """Return the bytes that a cohort may use: the device's free memory; on a CPU, half of the machine's memory."""
    stats = jax.devices()[0].memory_stats()
    if stats is None or "bytes_limit" not in stats:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return int(stats["bytes_limit"] - stats["bytes_in_use"])


def is_device_failure(error: Exception) -> bool:
    """Return whether the device failed, other than by lack of memory. Then nothing more can train in this process."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error)


@jax.jit
def _choose(chosen: Any, these: Any, others: Any) -> Any:
    """Take the arrays of `these` for the members that are chosen, of `others` for the rest."""

    def of(one: Any, other: Any) -> Any:
        return jnp.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other)

    return jax.tree.map(of, these, others)


_replace = jax.jit(_choose, donate_argnums=2)  # consumes `others`


@jax.jit
def _take(places: Any, stacks: Any) -> Any:
    return jax.tree.map(lambda stack: stack[places], stacks)


def _get_evaluated(state: CohortState) -> list[Any]:
    """Return the weights that are evaluated and kept: of members that have one, the average."""
    if not state.average:
        return state.trainable
    evaluated: list[Any] = _choose(state.recipe.ema > 0, state.average, state.trainable)
    return evaluated


def _split_by_member(logs: dict[str, Any]) -> list[Logs]:
    on_host = jax.device_get(logs)
    n_members = len(next(iter(on_host.values())))
    return [{name: float(values[member]) for name, values in on_host.items()} for member in range(n_members)]


def _train_epoch(
    blueprint: Blueprint,
    state: CohortState,
    keys: EpochKeys,
    train: tuple[Any, Any],
    validation: tuple[Any, Any] | None,
) -> tuple[CohortState, dict[str, Any]]:
    x, y = train
    n = len(y)
    size = min(blueprint.bucket.batch_size, n)

    def shuffle(key: Any) -> Any:
        return _cut_into_batches(jax.random.permutation(jax.random.wrap_key_data(key), n), size)

    def step(state: CohortState, batch: tuple[Any, Any, Any]) -> tuple[CohortState, tuple[Any, ...]]:
        number, order, is_row = batch

        def of_member(state: CohortState, augment_key: Any, order: Any) -> tuple[CohortState, tuple[Any, ...]]:
            rows = _read_rows(blueprint, state.recipe, x[order], augment_key, number)
            return _train_step(blueprint, state, rows, y[order], is_row)

        return jax.vmap(of_member)(state, keys.augment, order)

    orders = jax.vmap(shuffle)(keys.order).swapaxes(0, 1)  # (steps, members, size)
    batches = jnp.arange(len(orders)), orders, _mark_rows(n, size)
    state, sums = jax.lax.scan(step, state, batches)
    means = {"train": _name_means(blueprint, (one.sum(axis=0) / n for one in sums))}
    if validation is not None:
        means["validation"] = _evaluate(blueprint, _get_evaluated(state), state.other, validation)
    return state, means


def _name_means(blueprint: Blueprint, means: Iterable[Any]) -> dict[str, Any]:
    return dict(zip(("loss", *AVERAGED[blueprint.rows.facts.task]), means, strict=True))


def _read_rows(blueprint: Blueprint, recipe: Recipe, rows: Any, epoch_key: Any, step: Any) -> Any:
    """Return the rows of a batch of one member as float32: images as they are distorted in this step."""
    if blueprint.bucket.uses.isdisjoint(AUGMENTATION):
        return rows.astype(jnp.float32)
    shape = blueprint.rows.facts.image_shape
    assert shape is not None, "a study that distorts what are no images is refused, see `check_images`"
    return augment(rows, derive_step_key(epoch_key, step), recipe.strengths, shape)


def _train_step(
    blueprint: Blueprint, state: CohortState, rows: Any, labels: Any, is_row: Any
) -> tuple[CohortState, tuple[Any, ...]]:
    """Take one optimizer step of one member. Return its state, and the batch's sums of losses and the like before it."""

    def mean_loss(trainable: list[Any]) -> tuple[Any, tuple[tuple[Any, ...], Any]]:
        outputs, other = blueprint.model.stateless_call(trainable, state.other, [rows, is_row], training=True)
        smoothing = state.recipe.label_smoothing if "label_smoothing" in blueprint.bucket.uses else None
        losses = blueprint.head.losses(outputs, labels, smoothing, is_training=True)
        loss = jnp.where(is_row, losses, 0).sum()
        return loss / is_row.sum(), ((loss, *blueprint.head.sums(outputs, labels, is_row)), other)

    (_, (sums, other)), gradients = jax.value_and_grad(mean_loss, has_aux=True)(state.trainable)
    return apply_gradients(blueprint, state._replace(other=other), gradients), sums


def _evaluate(blueprint: Blueprint, trainable: list[Any], other: list[Any], rows: tuple[Any, Any]) -> dict[str, Any]:
    """Return means of loss and `AVERAGED` of each member over all rows, dropout off."""
    x, y = rows
    n = len(y)
    size = min(EVALUATION_BATCH, n)

    def score(trainable: list[Any], other: list[Any], batch: Any, labels: Any, is_row: Any) -> tuple[Any, ...]:
        outputs, _ = blueprint.model.stateless_call(trainable, other, [batch, is_row], training=False)
        loss = jnp.where(is_row, blueprint.head.losses(outputs, labels), 0).sum()
        return loss, *blueprint.head.sums(outputs, labels, is_row)

    def add(sums: tuple[Any, ...], batch: tuple[Any, Any]) -> tuple[tuple[Any, ...], None]:
        order, is_row = batch
        scored = jax.vmap(score, (0, 0, None, None, None))(
            trainable, other, x[order].astype(jnp.float32), y[order], is_row
        )
        return jax.tree.map(jnp.add, sums, scored), None

    n_members = trainable[0].shape[0]
    none = jnp.zeros(n_members), *blueprint.head.zeros(n_members)
    sums, _ = jax.lax.scan(add, none, (_cut_into_batches(jnp.arange(n), size), _mark_rows(n, size)))
    return _name_means(blueprint, (one / n for one in sums))


def _answer(blueprint: Blueprint, trainable: list[Any], other: list[Any], x: Any) -> Any:
    """Return the probabilities that each member gives to rows, shape (members, n, n_classes), dropout off."""
    n = len(x)
    size = min(EVALUATION_BATCH, n)

    def of_member(trainable: list[Any], other: list[Any], batch: Any, is_row: Any) -> Any:
        logits, _ = blueprint.model.stateless_call(trainable, other, [batch, is_row], training=False)
        return jax.nn.softmax(logits)

    def of_batch(_: None, batch: tuple[Any, Any]) -> tuple[None, Any]:
        order, is_row = batch
        rows = x[order].astype(jnp.float32)
        return None, jax.vmap(of_member, (0, 0, None, None))(trainable, other, rows, is_row)

    _, answers = jax.lax.scan(of_batch, None, (_cut_into_batches(jnp.arange(n), size), _mark_rows(n, size)))
    return answers.swapaxes(0, 1).reshape(answers.shape[1], -1, answers.shape[-1])[:, :n]


def _cut_into_batches(order: Any, size: int) -> Any:
    """Cut row numbers of shape (n,) into batches of shape (steps, size). The last batch is padded with row 0."""
    return jnp.pad(order, (0, -len(order) % size)).reshape(-1, size)


def _mark_rows(n: int, size: int) -> Any:
    """Mark the places of `_cut_into_batches` that hold rows, not padding."""
    return _cut_into_batches(jnp.ones(n, bool), size)
