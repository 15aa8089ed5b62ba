"""Pure rules, shared by coordinator and report, that choose which configs are confirmed and how often."""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from sweep.study.config import Config
from sweep.study.objective import cost
from sweep.study.schema import Study

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Candidate:
    """A complete trial of the search, or a baseline."""

    config: Config
    value: float  # of the objective
    loss: float = math.inf  # on validation, which breaks ties; not a number, or infinite, where it is not known


@dataclass(frozen=True)
class Finalist:
    """A config that confirmation retrains with fresh seeds."""

    name: str  # "best with three hidden layers", or the baseline's name
    config: Config
    is_selected: bool  # the best of its group by validation
    baseline: str | None  # name of the baseline with this config, if there is one


def select_finalists(
    study: Study, candidates: Iterable[Candidate], confirmed: Collection[tuple[str, Config]] = ()
) -> list[Finalist]:
    """Return the best config of each group by validation, groups in ascending order, then every remaining baseline.

    candidates: complete trials, by trial number. A tie goes to the lower validation loss, then to the first. Without
    validation rows there are no candidates, and only the baselines are finalists. Without confirmation there are no
    finalists.
    confirmed: names and configs of replicates. The config that was confirmed as the best of its group wins a tie: a study
    that is continued, or was begun by a version that broke ties otherwise, is not confirmed anew for luck.
    """
    if study.confirmation is None:
        return []
    group_by = study.confirmation.group_by
    groups: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(getattr(candidate.config, group_by), []).append(candidate)

    def rank(candidate: Candidate) -> tuple[float, bool, float]:
        name = _group_name(group_by, getattr(candidate.config, group_by))
        loss = math.inf if math.isnan(candidate.loss) else candidate.loss
        return cost(study.objective, candidate.value), (name, candidate.config) not in confirmed, loss

    best = {group: min(tried, key=rank).config for group, tried in groups.items()}
    baselines = {baseline.config: baseline.name for baseline in study.baselines}
    winners = [
        Finalist(_group_name(group_by, group), config, True, baselines.pop(config, None))
        for group, config in sorted(best.items())
    ]
    return winners + [Finalist(name, config, False, name) for config, name in baselines.items()]


def plan_replicates(study: Study, confirmed: Iterable[Finalist]) -> Iterator[tuple[Finalist, int]]:
    """Yield every training that confirmation asks for, as a finalist and its replicate, counted from 1.

    Large nets come first, so that the trainings that end last are short.
    """
    if study.confirmation is None:
        return
    for finalist in sorted(confirmed, key=lambda f: -_n_products(f.config)):
        for replicate in range(1, study.confirmation.replicates + 1):
            yield finalist, replicate


def _group_name(group_by: str, group: int | bool) -> str:
    match group_by:
        case "hidden_layers":
            number = NUMBER_WORDS[group] if group < len(NUMBER_WORDS) else str(group)
            return f"best with {number} hidden layer{'' if group == 1 else 's'}"
        case "batch_norm":
            return f"best {'with' if group else 'without'} batch norm"
        case _:
            return f"best with {group_by.replace('_', ' ')} {group}"


def _n_products(config: Config) -> int:
    """Estimate the multiplications that one row takes, to order nets by size; 1000 stands for the features."""
    return sum(a * b for a, b in zip((1000, *config.units), config.units, strict=False))
