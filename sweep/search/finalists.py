"""Pure rules, shared by coordinator and report, that choose which configs are confirmed and how often."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sweep.study.config import Config
from sweep.study.objective import cost
from sweep.study.schema import Study

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Finalist:
    """A config that confirmation retrains with fresh seeds."""

    name: str  # "best with three hidden layers", or the baseline's name
    config: Config
    is_selected: bool  # the best of its group by validation
    baseline: str | None  # name of the baseline with this config, if there is one


def select_finalists(study: Study, candidates: Iterable[tuple[Config, float]]) -> list[Finalist]:
    """Return the best config of each group by validation, groups in ascending order, then every remaining baseline.

    candidates: configs of complete trials with their objective, by trial number; a tie goes to the first. Without
    validation rows there are no candidates, and only the baselines are finalists. Without confirmation there are no
    finalists.
    """
    if study.confirmation is None:
        return []
    group_by = study.confirmation.group_by
    best: dict[int, tuple[Config, float]] = {}
    for config, value in candidates:
        group = getattr(config, group_by)
        if group not in best or cost(study.objective, value) < cost(study.objective, best[group][1]):
            best[group] = config, value
    baselines = {baseline.config: baseline.name for baseline in study.baselines}
    winners = [
        Finalist(_group_name(group_by, group), config, True, baselines.pop(config, None))
        for group, (config, _) in sorted(best.items())
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
