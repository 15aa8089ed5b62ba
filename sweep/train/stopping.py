"""Early stopping, as a rule without Keras."""

from dataclasses import dataclass

from sweep.study.objective import cost
from sweep.study.schema import EarlyStopping


@dataclass(frozen=True)
class Patience:
    """How a monitored metric has gone so far."""

    best_cost: float = float("inf")
    best_epoch: int = 0  # counted from 1; 0 before the first epoch
    last_epoch: int = 0

    def update(self, epoch: int, value: float, rule: EarlyStopping) -> "Patience":
        """The state after `epoch` ended with `value`. An improvement beats the best by more than `min_delta`.

        Source: `keras.callbacks.EarlyStopping`, which the tests compare with.
        """
        new_cost = cost(rule.monitor, value)
        if new_cost + rule.min_delta < self.best_cost:  # summed in Keras' order, which decides ties
            return Patience(new_cost, epoch, epoch)
        return Patience(self.best_cost, self.best_epoch, epoch)

    def is_over(self, rule: EarlyStopping) -> bool:
        return self.last_epoch - self.best_epoch >= rule.patience
