"""What a search has spent of its budget, and on what."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweep.search.budget import measure_union
from sweep.track.fields import TrackedTrial
from sweep.track.runs import TrackedStudy
from sweep.trial import Phase, State

PROMOTED, WHOLE, FAILED = "Promoted, trained to the end", "Trained to the end", "Failed"
MISSING = "-"


@dataclass(frozen=True)
class Spent:
    """What trials of a kind have taken."""

    name: str
    n_trials: int
    n_epochs: int
    minutes: float  # in which any of them was in training, side by side or not

    @classmethod
    def of(cls, name: str, trials: Sequence[TrackedTrial]) -> "Spent":
        seconds = measure_union((t.started_at, t.ended_at) for t in trials)
        return cls(name, len(trials), sum(t.n_epochs for t in trials), seconds / 60)


def list_spent(tracked: TrackedStudy) -> list[Spent]:
    """List what the search has spent, by kind of trial, then in all. Baselines are not counted. Empty without a search."""
    searched = [t for t in tracked.searched if t.trial.phase == Phase.SEARCH]
    pruned = "Probes" if tracked.study.probes else "Pruned"
    kinds = {name: [t for t in searched if _name_kind(t, pruned) == name] for name in (pruned, PROMOTED, WHOLE, FAILED)}
    spent = [Spent.of(name, trials) for name, trials in kinds.items() if trials]
    return [*spent, Spent.of("In all", searched)] if searched else []


def _name_kind(tracked: TrackedTrial, pruned: str) -> str:
    match tracked.state:
        case State.COMPLETE:
            return WHOLE if tracked.trial.promoted_from is None else PROMOTED
        case State.PRUNED:
            return pruned
        case _:
            return FAILED


def build_spending_table(tracked: TrackedStudy) -> list[list[str]]:
    """Build the table of what the search has spent and has left, the head first; empty without a search."""
    spent = list_spent(tracked)
    if not spent:
        return []
    rows = [["", "Trials", "Epochs", "Minutes"]]
    rows += [[s.name, str(s.n_trials), str(s.n_epochs), f"{s.minutes:.1f}"] for s in spent]
    search, in_all = tracked.study.search, spent[-1]
    limits = (search.trials, search.epochs, search.minutes)
    rows.append(["Budget", *(MISSING if limit is None else f"{limit:g}" for limit in limits)])
    left = [
        limit and max(limit - used, 0)
        for limit, used in zip(limits, (in_all.n_trials, in_all.n_epochs, in_all.minutes), strict=True)
    ]
    rows.append(["Left", *(MISSING if n is None else f"{n:.1f}" if i == 2 else str(n) for i, n in enumerate(left))])
    return rows
