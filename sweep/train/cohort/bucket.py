"""Pure rules that decide which configs train in one program, and at which widths."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sweep.study.config import Config
from sweep.trial import Trial


@dataclass(frozen=True)
class Bucket:
    """The part of a config that is fixed when a program is compiled; everything else is data to the program.

    `units` are the widths that members are padded to with zeros. A padded unit outputs 0 and gets no gradient, so it
    stays 0 and changes nothing (tests/train/cohort/test_fitter.py).
    """

    units: tuple[int, ...]
    batch_size: int
    batch_norm: bool
    has_dropout: bool


def group_into_buckets(trials: Iterable[Trial]) -> dict[Bucket, list[Trial]]:
    """Group the trials that can train together. The bucket with the most work comes first."""
    alike: dict[tuple[int, int, bool], list[Trial]] = defaultdict(list)
    for trial in trials:
        config = trial.config
        alike[config.hidden_layers, config.batch_size, config.batch_norm].append(trial)
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
        has_dropout=any(config.dropout > 0 for config in configs),
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
