"""One Keras model for all members of a cohort, and how their weights enter and leave its stack."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
from numpy.typing import NDArray

from sweep.data.facts import DataFacts
from sweep.data.prepared import Split
from sweep.study.config import Config, derive_seed
from sweep.study.objective import Loss
from sweep.study.training import Precision
from sweep.train.cohort.bucket import Bucket
from sweep.train.cohort.head import ClassHead, Head, ValueHead
from sweep.train.distortion import Strengths
from sweep.train.measures import balance
from sweep.train.model import HEADS, Weights, build_net, get_weight_name, list_weight_shapes
from sweep.train.recipe import build_cosine, build_optimizer, count_steps
from sweep.trial import Trial


class MemberDropout(keras.layers.Layer):
    """`keras.layers.Dropout` whose rate is data. A unit's mask does not depend on the number of units.

    Inverted dropout (Srivastava et al. 2014, JMLR 15, section 10). JAX numbers the bits of an array by position
    (`jax_threefry_partitionable`). The axis of units comes first, so padding appends draws and changes none.
    """

    supports_masking = True  # passes a mask on

    def build(self, input_shape: Any) -> None:
        self.rate = self.add_weight(shape=(), initializer="zeros", trainable=False, name="rate")
        # A seed, and the number of draws made from it so far.
        self.key = self.add_weight(shape=(2,), initializer="zeros", trainable=False, dtype="uint32", name="key")

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        drawn = jax.random.uniform(jax.random.wrap_key_data(self.key.value), inputs.shape[::-1]).T
        self.key.assign(self.key.value + jnp.array([0, 1], jnp.uint32))
        return jnp.where(drawn >= self.rate.value, inputs / (1 - self.rate.value).astype(inputs.dtype), 0)


class Recipe(NamedTuple):
    """What the members' configs say of a step, each an array of one number a member; see `Config`."""

    learning_rate: Any
    is_cosine: Any
    weight_decay: Any
    label_smoothing: Any
    max_norm: Any
    ema: Any
    strengths: Strengths  # of what distorts images

    @classmethod
    def of(cls, configs: Sequence[Config]) -> "Recipe":
        def stack(value: Callable[[Config], float]) -> NDArray[np.float32]:
            return np.array([value(config) for config in configs], np.float32)

        return cls(
            learning_rate=stack(lambda config: config.learning_rate),
            is_cosine=stack(lambda config: config.schedule == "cosine"),
            weight_decay=stack(lambda config: config.weight_decay),
            label_smoothing=stack(lambda config: config.label_smoothing),
            max_norm=stack(lambda config: config.max_norm),
            ema=stack(lambda config: config.ema),
            strengths=Strengths(*np.array([Strengths.of(config) for config in configs], np.float32).T),
        )


class CohortState(NamedTuple):
    """The state of all members. Each array is stacked: its first axis is the member."""

    trainable: list[Any]
    other: list[Any]  # batch norm's moving statistics, dropout's rates and keys
    optimizer: list[Any]
    average: list[Any]  # of the trainable weights, in a bucket that uses `ema`; else empty
    recipe: Recipe


@dataclass(frozen=True)
class DeviceRows:
    """The rows that cohorts train on, on the device: prepared features and labels of each split."""

    facts: DataFacts
    train: tuple[Any, Any]
    validation: tuple[Any, Any] | None
    variances: dict[str, float]  # of the labels in the population, by split; of regression alone

    @classmethod
    def of(cls, facts: DataFacts, train: Split, validation: Split | None) -> "DeviceRows":
        def put(split: Split) -> tuple[Any, Any]:
            return jax.device_put(np.asarray(split.x)), jax.device_put(np.asarray(split.y))

        splits = {"train": train} if validation is None else {"train": train, "validation": validation}
        variances = {name: float(np.var(split.y.astype(np.float64))) for name, split in splits.items()}
        return cls(facts, put(train), None if validation is None else put(validation), variances)


class Blueprint:
    """The model and optimizer that all members of a bucket share, at padded widths; each member has its own state."""

    def __init__(
        self,
        bucket: Bucket,
        rows: DeviceRows,
        precision: Precision,
        max_epochs: int,
        *,
        loss: Loss | None = None,
        is_balanced: bool = False,
        ranked: tuple[str, ...] = (),
    ) -> None:
        """Build the model of a bucket whose members train for up to `max_epochs`.

        loss: of regression. is_balanced: whether every class weighs alike in the loss that is trained. ranked: metrics to
        measure by predictions, see `ranked.measure_ranked`.
        """
        self.ranked = ranked
        self.bucket = bucket
        self.rows = rows
        facts = rows.facts
        self.head: Head = (
            ClassHead(balance(np.asarray(rows.train[1]), facts.n_classes) if is_balanced else None)
            if facts.task == "classification"
            else ValueHead(loss or "mse")
        )
        self._padded = Config(
            units=bucket.units,
            dropout=0.5 if "dropout" in bucket.uses else 0.0,
            batch_size=bucket.batch_size,
            learning_rate=1.0,
            batch_norm=bucket.batch_norm,
            optimizer=bucket.optimizer,
            activation=bucket.activation,
            input_dropout=0.5 if "input_dropout" in bucket.uses else 0.0,
        )
        # Zeros, because all weights are replaced anyway, and JAX compiles a random draw anew for every shape.
        plain = build_net(self._padded, rows.facts, initializer="zeros")
        is_ragged = len(rows.train[1]) % bucket.batch_size > 0  # the last batch is short, and padded
        self.model = _adapt_to_members(plain, precision, is_ragged)
        n_steps = count_steps(len(rows.train[1]), bucket.batch_size, max_epochs)
        self.optimizer = build_optimizer(self._padded, self.model, n_steps)
        self.optimizer_places = {variable.name: i for i, variable in enumerate(self.optimizer.variables)}
        self.cosine = build_cosine(1.0, n_steps)  # a member's rate at a step is this share of its learning rate
        names = [get_weight_name(variable) for variable in self.model.trainable_variables]
        self.is_kernel = [name.endswith("/kernel") for name in names]
        self.is_hidden_kernel = [
            name.endswith("/kernel") and name.split("/")[0] not in HEADS.values() for name in names
        ]

    def stack(self, trials: Sequence[Trial]) -> CohortState:
        """Build the members' state before their first epoch. The optimizer's zeros are made on the device."""
        weights = [self._start_weights(trial) for trial in trials]
        recipe = Recipe.of([trial.config for trial in trials])

        def padded(variable: keras.Variable) -> NDArray[Any]:
            stack = np.zeros((len(trials), *variable.shape), variable.dtype)
            for member, its in enumerate(weights):
                value = its[get_weight_name(variable)]
                stack[member, ...][tuple(map(slice, value.shape))] = value
            return stack

        def of_optimizer(variable: keras.Variable) -> Any:
            if variable.path.endswith("/learning_rate"):
                return recipe.learning_rate.astype(variable.dtype)
            return jnp.zeros((len(trials), *variable.shape), variable.dtype)

        return CohortState(
            [padded(v) for v in self.model.trainable_variables],
            [padded(v) for v in self.model.non_trainable_variables],
            [of_optimizer(v) for v in self.optimizer.variables],
            [jnp.zeros((len(trials), *v.shape), v.dtype) for v in self._averaged],
            recipe,
        )

    def get_shapes(self, n_members: int) -> CohortState:
        """Return the shapes and types of the state of `n_members`."""

        def of(variables: list[Any]) -> list[Any]:
            return [jax.ShapeDtypeStruct((n_members, *v.shape), v.dtype) for v in variables]

        model = self.model
        return CohortState(
            of(model.trainable_variables),
            of(model.non_trainable_variables),
            of(self.optimizer.variables),
            of(self._averaged),
            jax.tree.map(lambda _: jax.ShapeDtypeStruct((n_members,), jnp.float32), Recipe.of([self._padded])),
        )

    @property
    def _averaged(self) -> list[keras.Variable]:
        return self.model.trainable_variables if "ema" in self.bucket.uses else []

    def extract_weights(self, weights: tuple[list[Any], list[Any]], member: int, config: Config) -> Weights:
        """Return a member's weights at its true widths, cut from stacks of trainable and other variables."""
        variables = [*self.model.trainable_variables, *self.model.non_trainable_variables]
        stacks = {get_weight_name(v): stack for v, stack in zip(variables, [*weights[0], *weights[1]], strict=True)}
        return {
            name: np.asarray(stacks[name][member][tuple(map(slice, shape))])
            for name, shape in list_weight_shapes(config, self.rows.facts).items()
        }

    def _start_weights(self, trial: Trial) -> Weights:
        """Return a member's weights before its first epoch, at its true widths, with its dropout rates and keys."""
        weights = draw_initial_weights(trial, list_weight_shapes(trial.config, self.rows.facts))
        rates = {"input_dropout": trial.config.input_dropout}
        rates |= {f"dropout_{i}": trial.config.dropout for i in range(1, trial.config.hidden_layers + 1)}
        for i, (name, rate) in enumerate(rates.items()):
            weights[f"{name}/rate"] = np.array(rate)
            weights[f"{name}/key"] = np.array([derive_seed(trial.seed, "dropout", i), 0])
        return weights


def _adapt_to_members(plain: keras.Sequential, precision: Precision, is_ragged: bool) -> keras.Model:
    """Build a model of the layers of `plain` with MemberDropout, in which batch norm skips padding (not `is_row`).

    Of classes it ends in logits. On JAX, Keras would take the loss of probabilities that it clips to 1e-7, so that a wrong and certain
    answer costs 16 and no more; on TensorFlow it finds the logits behind the softmax, and takes the loss of those.
    """
    rows = keras.Input(plain.input_shape[1:], name="rows")
    is_row = keras.Input((), dtype="bool", name="is_row")
    x = rows
    plain.layers[-1].activation = keras.activations.linear
    for layer in plain.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer = MemberDropout(name=layer.name)
        if precision == "bfloat16" and layer.name not in ("scale", *HEADS.values()):  # these stay in float32
            layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
        x = layer(x, mask=is_row) if is_ragged and isinstance(layer, keras.layers.BatchNormalization) else layer(x)
    return keras.Model([rows, is_row], x)


def draw_initial_weights(trial: Trial, shapes: dict[str, tuple[int, ...]]) -> Weights:
    """Draw Glorot uniform kernels (Glorot & Bengio 2010, AISTATS, equation 16) at true fans; the rest as in Keras."""
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
