"""Pure rules that decide whether a trial goes on past a rung; lower cost is better."""

from collections.abc import Sequence

from sweep.study.search import Pruner


def survives_rung(value: float, peers: Sequence[float], pruner: Pruner) -> bool:
    """Return whether a trial with cost `value` goes on past a rung.

    peers: costs of all trials that have reached this rung so far, `value` among them, sorted, the lowest first. Ties
    survive, and so does the best trial. Looks at one peer, however many there are.
    """
    match pruner.kind:
        case "halving":
            return value <= _last_of_the_best(peers, pruner.reduction_factor)
        case "median":
            return value <= peers[(len(peers) - 1) // 2]


def _last_of_the_best(peers: Sequence[float], reduction_factor: int) -> float:
    """Return the highest cost that is still among the best 1/reduction_factor of `peers`, which are sorted.

    With fewer than reduction_factor peers only the best survives, so that early arrivals are not favoured.
    Source: Li et al. 2020, "A system for massively parallel hyperparameter tuning" (MLSys), algorithm 2 (ASHA);
    reduction_factor is its eta.
    """
    n_survivors = max(1, len(peers) // reduction_factor)
    return peers[n_survivors - 1]
