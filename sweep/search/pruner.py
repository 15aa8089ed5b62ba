"""Pure rules that decide whether a trial goes on past a rung; lower cost is better."""

from collections.abc import Sequence

from sweep.study.schema import Pruner


def survives_rung(value: float, peers: Sequence[float], pruner: Pruner) -> bool:
    """Return whether a trial with cost `value` goes on past a rung.

    peers: costs of all trials that have reached this rung so far, `value` among them. Ties survive, and so does the
    best trial. Raises ValueError if a peer is NaN: diverged trials never reach a rung.
    """
    if any(peer != peer for peer in peers):
        raise ValueError(f"peers must be numbers, got {list(peers)}")
    match pruner.kind:
        case "halving":
            return value <= _last_of_the_best(peers, pruner.reduction_factor)
        case "median":
            return value <= sorted(peers)[(len(peers) - 1) // 2]


def _last_of_the_best(peers: Sequence[float], reduction_factor: int) -> float:
    """Return the highest cost that is still among the best 1/reduction_factor of `peers`.

    With fewer than reduction_factor peers only the best survives, so that early arrivals are not favoured.
    Source: Li et al. 2020, "A system for massively parallel hyperparameter tuning" (MLSys), algorithm 2 (ASHA);
    reduction_factor is its eta.
    """
    n_survivors = max(1, len(peers) // reduction_factor)
    return sorted(peers)[n_survivors - 1]
