"""Pure rules that decide which configs train in one program, and at which widths."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sweep.study.config import AUGMENTATION, Config
from sweep.trial import Trial

# Values that are data to a program, each with the one that stands for none.
NONE = {
    "dropout": 0.0,
    "schedule": "constant",
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "input_dropout": 0.0,
    "max_norm": 0.0,
    "ema": 0.0,
    **dict.fromkeys(AUGMENTATION, 0.0),
}


@dataclass(frozen=True)
class Bucket:
    """The part of a config that is fixed when a program is compiled; everything else is data to the program.

    `uses` names values that any member has not at their default of none: a program leaves out what no member uses.
    `units` are the widths that members are padded to with zeros. A padded unit outputs 0 and gets no gradient, so it
    stays 0 and changes nothing (tests/train/cohort/test_fitter.py).
    """

    units: tuple[int, ...]
    batch_size: int
    batch_norm: bool
    optimizer: str
    activation: str
    uses: frozenset[str]


def group_into_buckets(trials: Iterable[Trial]) -> dict[Bucket, list[Trial]]:
    """Group the trials that can train together. The bucket with the most work comes first."""
    alike: dict[tuple[int, int, bool, str, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        c = trial.config
        alike[c.hidden_layers, c.batch_size, c.batch_norm, c.optimizer, c.activation].append(trial)
    found = {_make_bucket([trial.config for trial in members]): members for members in alike.values()}
    return dict(sorted(found.items(), key=lambda item: -_estimate_work(*item)))


def round_up(n: int) -> int:
    """Round up to the next power of two. Few sizes mean few programs, and compiling costs more time than padding."""
    return 1 << (n - 1).bit_length()


def _make_bucket(configs: list[Config]) -> Bucket:
    layers = zip(*(config.units for config in configs), strict=True)
    return Bucket(
        # Widths that are all equal, as those of replicates are, need no padding.
        units=tuple(max(widths) if len(set(widths)) == 1 else round_up(max(widths)) for widths in layers),
        batch_size=configs[0].batch_size,
        batch_norm=configs[0].batch_norm,
        optimizer=configs[0].optimizer,
        activation=configs[0].activation,
        uses=frozenset(name for name, none in NONE.items() if any(getattr(c, name) != none for c in configs)),
    )


def _estimate_work(bucket: Bucket, members: list[Trial]) -> float:
    """Estimate the relative cost of an epoch: steps, each over all members' weights. 1000 stands for the features."""
    n_products = sum(a * b for a, b in zip((1000, *bucket.units), bucket.units, strict=False))
    return n_products * len(members) / bucket.batch_size


def compaction_pays(n_fewer: int, n_members: int, seconds_left: float, compile_s: float) -> bool:
    """Return whether the rest of a cohort should go on in a program of `n_fewer` places instead of `n_members`.

    seconds_left: time that the larger program still needs if no trial stops. compile_s: time to compile the
    smaller one.
    """
    return n_fewer <= n_members // 2 and seconds_left * (1 - n_fewer / n_members) > compile_s
