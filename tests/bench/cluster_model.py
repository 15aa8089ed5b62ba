"""`python -m tests.bench.cluster_model`: what a cluster of up to 10,000 workers would do, by a model of the one coordinator.

The coordinator is a server that takes events as they come, up to 64 at a time, as `sweep/loop.py` does. What each act takes is
measured here and now (`laws.py`). First the model is compared with the real loop, at 100, 1,000 and 10,000 trials; then it is
run at sizes that no machine here can show. What it leaves out: the network, the garbage collector, and that the tracker's
thread shares the interpreter with the loop.
"""

import argparse
import heapq
import random
import sys
from collections import deque
from dataclasses import dataclass, field, replace
from statistics import fmean

from rich.console import Console
from rich.table import Table

from sweep.loop import MAX_TOGETHER
from tests.bench.laws import Laws, draw_epoch, measure_laws, run_real
from tests.simulation import N_EPOCHS, Plan

SURVIVING = 3  # of so many trials at the rung, after the first epoch, one goes on; of the first few the best
TOLERANCE = 0.1
PER_MACHINE = 64  # workers
MTBF_S = 7 * 86_400.0  # of a machine
NOTICED_S = (12.0, 62.0)  # killed, cut off
REPLACED_S = 300.0
TRACK_S = 0.0054  # of a run in SQLite, beside the loop: tests/bench/track_rate.py
RUNG, END, LOSS, RETURN = range(4)


@dataclass(frozen=True)
class Forecast:
    """What a run would be like."""

    hours: float
    utilization: float  # of workers
    coordinator: float  # share of its time in which it works
    n_lost: int  # machines
    n_again: int  # trials that were trained again
    tracker_behind_h: float  # at most


@dataclass
class Model:
    """One search of `n_trials` by `n_workers`."""

    laws: Laws
    n_trials: int
    n_workers: int
    epoch_s: float
    chance: random.Random
    store_s: float = 0.0  # to store a result that comes over a network
    has_losses: bool = False
    now: float = 0.0
    busy_s: float = 0.0  # of the coordinator
    trained_s: float = 0.0  # of workers, of what counts
    _due: list[tuple[float, int, int, int]] = field(default_factory=list)  # when, what, slot, lease
    _lease: dict[int, int] = field(default_factory=dict)  # slot -> of the trial that runs in it
    _begun: dict[int, float] = field(default_factory=dict)  # slot -> training that does not count yet
    _free: deque[int] = field(default_factory=deque)
    _ahead: int = 0
    _claimed: int = 0
    _again: int = 0  # trials to be trained again
    _ended: int = 0
    _n_leases: int = 0
    _n_judged: int = 0

    def run(self) -> Forecast:
        self._free.extend(range(self.n_workers))
        self._ask(1)
        while self._free and self._ahead:
            self._submit()
            self._spend(self.laws.commit)
            self._ask(1)
        n_machines, n_lost, n_again = max(self.n_workers // PER_MACHINE, 1), 0, 0
        if self.has_losses:
            heapq.heappush(self._due, (self.chance.expovariate(n_machines / MTBF_S), LOSS, 0, 0))
        tracked_at = behind = 0.0
        while self._ended < self.n_trials:
            batch = self._take_batch()
            ended_before = self._ended
            for at, what, slot, _ in batch:
                if what == LOSS:
                    n_lost += 1
                    n_again += self._lose(self.chance.randrange(n_machines), at)
                    heapq.heappush(self._due, (at + self.chance.expovariate(n_machines / MTBF_S), LOSS, 0, 0))
                elif what == RETURN:
                    self._free.append(slot)
            self._hear([one for one in batch if one[1] in (RUNG, END) and self._lease.get(one[2]) == one[3]])
            for _ in range(self._ended - ended_before):
                tracked_at = max(tracked_at, self.now) + TRACK_S
                behind = max(behind, tracked_at - self.now)
        use = self.trained_s / (self.n_workers * self.now)
        return Forecast(self.now / 3600, use, self.busy_s / self.now, n_lost, n_again, behind / 3600)

    def _take_batch(self) -> list[tuple[float, int, int, int]]:
        self.now = max(self.now, self._due[0][0])
        batch = []
        while self._due and self._due[0][0] <= self.now and len(batch) < MAX_TOGETHER:
            one = heapq.heappop(self._due)
            if one[1] in (LOSS, RETURN) or self._lease.get(one[2]) == one[3]:
                batch.append(one)
        return batch

    def _hear(self, batch: list[tuple[float, int, int, int]]) -> None:
        ends = [slot for _, what, slot, _ in batch if what == END]
        for slot in ends:
            self.trained_s += self._begun.pop(slot)
            del self._lease[slot]
        self._free.extend(ends)
        while self._free and self._ahead:
            self._submit()
        self._spend(self.laws.commit if batch else 0.0)
        for _, what, slot, lease in batch:
            if what == RUNG:
                self._judge(slot, lease)
            else:
                self._spend(self.laws.tell + self.store_s + self.laws.event)
                self._ended += 1
        self._ask(1 + len(self._free))
        while self._free and self._ahead:
            self._submit()

    def _judge(self, slot: int, lease: int) -> None:
        self._spend(self.laws.verdict + self.laws.event)
        rest = 0.0
        self._n_judged += 1
        if self.chance.random() < max(1, self._n_judged // SURVIVING) / self._n_judged:
            rest = sum(draw_epoch(self.chance, self.epoch_s) for _ in range(N_EPOCHS - 1))
            self.busy_s += (N_EPOCHS - 1) * (self.laws.event + self.laws.commit)
            self.now += (N_EPOCHS - 1) * (self.laws.event + self.laws.commit)  # its reports, some time later
        self._begun[slot] += rest
        heapq.heappush(self._due, (self.now + rest, END, slot, lease))

    def _ask(self, n: int) -> None:
        while self._ahead < n and (self._again or self._claimed < self.n_trials):
            if self._again:
                self._again -= 1
            else:
                self._spend(self.laws.propose_at(self._claimed))
                self._claimed += 1
            self._ahead += 1

    def _submit(self) -> None:
        slot = self._free.popleft()
        self._ahead -= 1
        self._n_leases += 1
        self._lease[slot] = self._n_leases
        self._begun[slot] = draw_epoch(self.chance, self.epoch_s)
        heapq.heappush(self._due, (self.now + self._begun[slot], RUNG, slot, self._n_leases))

    def _lose(self, machine: int, at: float) -> int:
        """Lose a machine; its trials are asked again once that is noticed, and another machine takes its place."""
        slots = range(machine * PER_MACHINE, min((machine + 1) * PER_MACHINE, self.n_workers))
        back_at = at + self.chance.choice(NOTICED_S) + REPLACED_S
        lost = [slot for slot in slots if self._lease.pop(slot, None) is not None]
        for slot in lost:
            del self._begun[slot]
            heapq.heappush(self._due, (back_at, RETURN, slot, 0))
        self._again += len(lost)
        return len(lost)

    def _spend(self, seconds: float) -> None:
        self.now += seconds
        self.busy_s += seconds


def check(laws: Laws, sampler: str, numbers: list[int], console: Console) -> bool:
    """Compare the model with the real loop, means over seeds; return whether it is within TOLERANCE everywhere."""
    shown = Table(f"trials, by {sampler}", "real, s", "model, s", "difference", "runs of each")
    is_good = True
    for n in numbers:
        seeds = range(2, 2 + max(1, 1000 // n))  # the last trials of a short run decide how long it is
        plans = [Plan(n, 0, 0, seed=seed, n_workers=N_CHECKED, sampler=sampler) for seed in seeds]
        real_s = fmean(run_real(plan, CHECKED_EPOCH_S)[0] for plan in plans)
        models = [Model(laws, n, N_CHECKED, CHECKED_EPOCH_S, random.Random(seed)) for seed in seeds]
        model_s = 3600 * fmean(model.run().hours for model in models)
        is_good &= abs(model_s / real_s - 1) <= TOLERANCE
        shown.add_row(
            f"{n:,}", f"{real_s:.2f}", f"{model_s:.2f}", f"{100 * (model_s / real_s - 1):+.1f} %", str(len(seeds))
        )
    console.print(shown)
    return is_good


N_CHECKED = 32  # workers
CHECKED_EPOCH_S = 0.2
SIZES = ((100, 60.0, 10_000), (1_000, 300.0, 100_000), (10_000, 600.0, 1_000_000), (10_000, 120.0, 1_000_000))


def forecast(laws: Laws, store_s: float, console: Console, sizes: tuple[tuple[int, float, int], ...] = SIZES) -> None:
    shown = Table(
        "workers x trial",
        "trials",
        "hours",
        "workers busy",
        "coordinator busy",
        "machines lost",
        "trained again",
        "tracker behind",
    )
    for n_workers, trial_s, n_trials in sizes:
        epoch_s = trial_s / (1 + (N_EPOCHS - 1) / SURVIVING)
        got = Model(laws, n_trials, n_workers, epoch_s, random.Random(1), store_s, has_losses=True).run()
        shown.add_row(
            f"{n_workers:,} x {trial_s:.0f} s", f"{n_trials:,}", f"{got.hours:.1f}", f"{100 * got.utilization:.1f} %",
            f"{100 * got.coordinator:.0f} %", str(got.n_lost), f"{got.n_again:,}", f"{got.tracker_behind_h:.1f} h",
        )  # fmt: skip
    console.print(shown)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sampler", choices=("random", "tpe"), default="tpe")
    parser.add_argument("--check", type=int, nargs="*", default=[100, 1_000, 10_000], help="trials of the real loop")
    parser.add_argument("--measured", type=int, default=600, help="trials on which the laws are measured")
    parser.add_argument(
        "--store-ms", type=float, default=6.0, help="to store a result without a model; 22 with one of 4 MB"
    )
    given, console = parser.parse_args(), Console(width=130)
    plan = Plan(given.measured, 0, 0, seed=1, n_workers=N_CHECKED, sampler=given.sampler)
    laws = measure_laws(plan, CHECKED_EPOCH_S)
    console.print("ms: " + ", ".join(f"{name} {_ms(value)}" for name, value in vars(laws).items()))
    is_good = check(laws, given.sampler, given.check, console)
    forecast(laws, given.store_ms / 1000, console)
    slow = replace(laws, propose=tuple((n, 2 * seconds) for n, seconds in laws.propose))
    console.print("with proposals that take twice as long:")
    forecast(slow, given.store_ms / 1000, console, SIZES[1:])
    return 0 if is_good else 1


def _ms(value: float | tuple[tuple[int, float], ...]) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{1000 * seconds:.1f} from {start}" for start, seconds in value)
    return f"{1000 * value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
