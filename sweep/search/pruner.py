"""Who goes on at a rung. Pure rules; lower is better."""

from collections.abc import Sequence

from sweep.study.schema import Pruner


def survives_rung(value: float, peers: Sequence[float], pruner: Pruner) -> bool:
    """Whether a trial with cost `value` goes on past a rung.

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
    """The highest cost that is still among the best 1/reduction_factor of `peers`.

    Source: Li et al. 2020, "A system for massively parallel hyperparameter tuning" (MLSys), algorithm 2 (ASHA);
    reduction_factor is its eta. With fewer peers than that the best one is kept, so early arrivals are not favoured.
    """
    n_survivors = max(1, len(peers) // reduction_factor)
    return sorted(peers)[n_survivors - 1]
