"""The rule of early stopping, pure and without Keras."""

from dataclasses import dataclass

from sweep.study.objective import cost
from sweep.study.training import EarlyStopping


@dataclass(frozen=True)
class Patience:
    """The best and the last epoch of a monitored metric so far."""

    best_cost: float = float("inf")
    best_epoch: int = 0  # counted from 1; 0 before the first epoch
    last_epoch: int = 0

    def update(self, epoch: int, value: float, rule: EarlyStopping) -> "Patience":
        """Return the state after `epoch` ended with `value`. It improves if it beats the best by more than `min_delta`.

        Source: `keras.callbacks.EarlyStopping`; tests/train/test_stopping.py compares with it.
        """
        new_cost = cost(rule.monitor, value)
        if new_cost + rule.min_delta < self.best_cost:  # added in the same order as in Keras, which decides ties
            return Patience(new_cost, epoch, epoch)
        return Patience(self.best_cost, self.best_epoch, epoch)

    def is_over(self, rule: EarlyStopping) -> bool:
        """Return whether training stops: `patience` epochs have passed since the best one."""
        return self.last_epoch - self.best_epoch >= rule.patience
