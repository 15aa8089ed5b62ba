"""Where trials come from: the search, and the confirmation of its finalists."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sweep.record.recover import after_death, recover
from sweep.record.takeover import Offer
from sweep.record.trials import Record
from sweep.search.finalists import Finalist, plan_replicates
from sweep.search.pruner import survives_rung
from sweep.search.sampler import Suggester
from sweep.study.config import derive_training_seed
from sweep.study.objective import cost
from sweep.study.schema import Study
from sweep.trial import EpochReport, Phase, Trial, TrialResult, WorkerDied


class _RecordedSource:
    """What both sources do with their record: take up what was cut off, and answer a worker's death."""

    def __init__(self, record: Record, folder: Path) -> None:
        self._record = record
        self._folder = folder
        self._again = deque(recover(record, folder))
        self._deaths: Counter[str] = Counter()

    def after_death(self, death: WorkerDied) -> Trial | TrialResult:
        self._deaths[death.key] += 1
        return after_death(self._record, death.key, death.reason, self._deaths[death.key], self._folder)


class SearchSource(_RecordedSource):
    """See `loop.Source`: first what a crash cut off, then the baselines, then the sampler's, up to the budget."""

    def __init__(self, study: Study, record: Record, folder: Path) -> None:
        super().__init__(record, folder)
        self._study = study
        self._suggester = Suggester(study, record)
        known = {recorded.trial.config for recorded in record.trials.values()}
        # Without validation rows there is nothing to compare baselines by before they are confirmed.
        wanted = study.baselines if study.data.validation_rows else ()
        self._baselines = deque(b for b in wanted if b.config not in known)
        self._n_left = study.search.trials - sum(r.trial.phase == Phase.SEARCH for r in record.trials.values())

    def next(self) -> Trial | None:
        if self._again:
            return self._again.popleft()
        if self._baselines:
            baseline = self._baselines.popleft()
            return self._suggester.given(baseline.config, Phase.BASELINE, baseline.name)
        if self._n_left <= 0:
            return None
        self._n_left -= 1
        return self._suggester.suggest()

    def take_over(self, offers: Iterable[Offer]) -> None:
        """Record the offered trials of another study as trials of this one, as far as the budget goes."""
        known = {recorded.trial.config for recorded in self._record.trials.values()}
        for offer in offers:
            baseline = next((b for b in self._baselines if b.config == offer.config), None)
            is_wanted = self._n_left > 0 and offer.config not in known and self._study.in_space(offer.config)
            if baseline is None and not is_wanted:
                continue
            result = offer.load()
            if baseline is not None:
                self._baselines.remove(baseline)
                trial = self._suggester.given(offer.config, Phase.BASELINE, baseline.name)
            else:
                self._n_left -= 1
                trial = self._suggester.given(offer.config, Phase.SEARCH)
            for rung in trial.rungs:
                if rung <= len(result.history):
                    self._report(trial.key, rung, result.history[rung - 1][self._study.objective])
            self.tell(offer.save(result, self._folder / trial.key))

    def verdicts(self, reports: Sequence[EpochReport]) -> dict[str, bool]:
        for report in reports:  # all are peers of each other
            self._report(report.key, report.epoch, report.logs[self._study.objective])
        return {report.key: self._goes_on(report) for report in reports}

    def _goes_on(self, report: EpochReport) -> bool:
        pruner, objective = self._study.search.pruner, self._study.objective
        # As recorded: a trial that starts again in another cohort reaches the rung again, with a value that may round otherwise.
        costs = {key: cost(objective, value) for key, value in self._record.rung_values(report.epoch).items()}
        return pruner is None or survives_rung(costs[report.key], list(costs.values()), pruner)

    def _report(self, key: str, rung: int, value: float) -> None:
        self._record.report(key, rung, value)
        self._suggester.report(key, rung, value)

    def tell(self, result: TrialResult) -> Trial:
        self._record.tell(result)
        self._suggester.tell(result)
        return self._record.trials[result.key].trial


class ConfirmSource(_RecordedSource):
    """See `loop.Source`: every replicate of every finalist that the record does not have."""

    def __init__(self, study: Study, record: Record, finalists: Iterable[Finalist], folder: Path) -> None:
        super().__init__(record, folder)
        self._study = study
        self._wanted = self._missing(list(finalists))

    def next(self) -> Trial | None:
        return self._again.popleft() if self._again else next(self._wanted, None)

    def verdicts(self, reports: Sequence[EpochReport]) -> dict[str, bool]:
        return {report.key: True for report in reports}  # none: a replicate has no rungs

    def tell(self, result: TrialResult) -> Trial:
        self._record.tell(result)
        return self._record.trials[result.key].trial

    def _missing(self, finalists: list[Finalist]) -> Iterator[Trial]:
        known = {(r.trial.config, r.trial.replicate) for r in self._record.trials.values()}
        for finalist, replicate in plan_replicates(self._study, finalists):
            if (finalist.config, replicate) not in known:
                seed = derive_training_seed(self._study.seed, finalist.config, replicate)
                yield self._record.claim(Phase.CONFIRM, finalist.config, seed, name=finalist.name, replicate=replicate)
