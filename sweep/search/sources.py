"""Sources of trials for the loop: the search, and the confirmation of its finalists."""

import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from sweep.record import results
from sweep.record.recover import handle_death, recover
from sweep.record.takeover import Offer
from sweep.record.trials import Record, RecordedTrial
from sweep.search.budget import Budget, Clock
from sweep.search.finalists import Candidate, Finalist, plan_replicates, select_finalists
from sweep.search.freeze_thaw import FreezeThaw
from sweep.search.pruner import survives_rung
from sweep.search.sampler import Suggester
from sweep.study.config import derive_training_seed
from sweep.study.objective import cost, ranking_metric
from sweep.study.schema import Study
from sweep.trial import EpochReport, Phase, State, Trial, TrialResult, WorkerDied


def choose_finalists(study: Study, search: Record, confirmation: Record, folder: Path) -> list[Finalist]:
    """Select the finalists of what is recorded. Raises DamagedResultError."""
    confirmed = {(r.trial.name, r.trial.config) for r in confirmation.trials.values()}
    return select_finalists(study, _list_candidates(study, search, folder), confirmed)


def _list_candidates(study: Study, search: Record, folder: Path) -> list[Candidate]:
    """List the complete trials of the search, by number. Reads the validation loss of those alone that are tied for the best."""
    complete = {key: r for key, r in search.trials.items() if r.state == State.COMPLETE and r.value is not None}
    if study.confirmation is None or not complete:
        return []
    if len({recorded.course is None for recorded in complete.values()}) > 1:
        return _list_candidates_of_two_versions(search, complete, folder)
    # Among many trials most values are tied, and to load a result is to check its model.
    costs = {key: cost(study.objective, recorded.value or 0.0) for key, recorded in complete.items()}
    groups = {key: getattr(recorded.trial.config, study.confirmation.group_by) for key, recorded in complete.items()}
    n_with = Counter((groups[key], costs[key]) for key in complete)
    best = {group: min(c for other, c in n_with if other == group) for group in set(groups.values())}

    def to_candidate(key: str, recorded: RecordedTrial) -> Candidate:
        is_tied = costs[key] == best[groups[key]] and n_with[groups[key], costs[key]] > 1
        metrics = results.load(folder / key).metrics if is_tied else {}
        return Candidate(recorded.trial.config, recorded.value or 0.0, metrics.get("val_loss", math.inf))

    return [to_candidate(key, recorded) for key, recorded in complete.items()]


def _list_candidates_of_two_versions(
    search: Record, complete: dict[str, RecordedTrial], folder: Path
) -> list[Candidate]:
    """List complete trials some of which an earlier version told, which ranked by the best epoch: all by one rule."""
    metrics = {key: results.load(folder / key).metrics for key in complete}
    rank_by = ranking_metric(search.objective, metrics.values())
    return [
        Candidate(recorded.trial.config, metrics[key][rank_by], metrics[key].get("val_loss", math.inf))
        for key, recorded in complete.items()
    ]


class _RecordedSource:
    """The part that both sources share: it recovers trials that were cut off, and restarts trials whose worker died."""

    def __init__(self, record: Record, folder: Path) -> None:
        self._record = record
        self._folder = folder
        self._cut_off = deque(recover(record, folder))
        self._n_deaths: Counter[str] = Counter()  # trial key -> deaths of its workers

    def write_together(self) -> AbstractContextManager[None]:
        return self._record.write_together()

    def handle_death(self, death: WorkerDied) -> Trial | TrialResult:
        self._n_deaths[death.key] += death.blames_trial
        return handle_death(self._record, death.key, death.reason, self._n_deaths[death.key], self._folder)


class SearchSource(_RecordedSource):
    """A `loop.Source`: trials that were cut off, then the baselines, then the sampler's proposals, up to the budget."""

    def __init__(self, study: Study, record: Record, folder: Path, clock: Clock = time.time) -> None:
        super().__init__(record, folder)
        self._study = study
        self._learn_earlier_courses()
        self._budget = Budget(study, record, clock)
        self._suggester = open_suggester(study, record)
        known = {recorded.trial.config for recorded in record.trials.values()}
        # Without validation rows baselines cannot be compared here; they are trained as finalists.
        wanted = study.baselines if study.data.validation_rows else ()
        self._baselines = deque(b for b in wanted if b.config not in known)

    def next(self) -> Trial | None:
        if self._cut_off:
            return self._cut_off.popleft()
        if self._baselines:
            baseline = self._baselines.popleft()
            return self._suggester.claim(baseline.config, Phase.BASELINE, baseline.name)
        trial = None if self._budget.is_spent else self._suggester.suggest(self._budget.left)
        if trial is not None:
            self._budget.start(trial)
        return trial

    def take_over(self, offers: Iterable[Offer]) -> None:
        """Record trials that another study offers as trials of this one, until the budget is spent."""
        known = {recorded.trial.config for recorded in self._record.trials.values()}
        for offer in offers:
            baseline = next((b for b in self._baselines if b.config == offer.config), None)
            if baseline is not None:
                result = offer.load()  # raises for a damaged result, before its config is claimed
                self._baselines.remove(baseline)
                self._adopt(offer, result, self._suggester.claim(offer.config, Phase.BASELINE, baseline.name))
            elif not self._budget.is_spent and offer.config not in known and self._study.in_space(offer.config):
                result = offer.load()
                trial = self._suggester.claim(offer.config, Phase.SEARCH)
                self._budget.start(trial)
                self._adopt(offer, result, trial)

    def _adopt(self, offer: Offer, result: TrialResult, trial: Trial) -> None:
        """Give `trial`, just claimed, the values at rungs, the files and the result that are offered."""
        for rung in trial.rungs:
            if rung <= len(result.history):
                self._report(trial.key, rung, result.history[rung - 1][self._study.objective])
        self.tell(offer.save(result, self._folder / trial.key))

    def judge(self, reports: Sequence[EpochReport]) -> dict[str, bool]:
        for report in reports:  # all of them before any verdict, as they are compared with each other
            self._report(report.key, report.epoch, report.logs[self._study.objective])
        return {report.key: self._survives(report) for report in reports}

    def _survives(self, report: EpochReport) -> bool:
        if self._study.probes:
            return False  # a probe ends here; the model says which are trained to the end
        pruner = self._study.search.pruner
        # Use the recorded value, not the reported one: a trial that is restarted in another cohort reaches the rung
        # again, and its value may then be rounded differently.
        value = self._record.rungs.values_at(report.epoch)[report.key]
        return pruner is None or survives_rung(
            cost(self._study.objective, value), self._record.rungs.costs_at(report.epoch), pruner
        )

    def _report(self, key: str, rung: int, value: float) -> None:
        self._record.report(key, rung, value)
        self._suggester.report(key, rung, value)

    def tell(self, result: TrialResult) -> Trial:
        self._record.tell(result)
        self._suggester.tell(result)
        trial, course = self._record.trials[result.key].trial, self._record.course_of(result.key)
        if trial.phase == Phase.SEARCH and course is not None:
            self._budget.end(trial, course)
        return trial

    def _learn_earlier_courses(self) -> None:
        """Read from their results how trials went that earlier versions told: those did not record it."""
        for key, recorded in self._record.trials.items():
            if recorded.state is not None and self._record.course_of(key) is None:
                self._record.add_earlier_course(key, results.load(self._folder / key))


def open_suggester(study: Study, record: Record) -> FreezeThaw | Suggester:
    """Return what proposes the configs of a study, which has learned from its record."""
    return (
        FreezeThaw(study, record)
        if study.search.proposer == "freeze_thaw" and study.space
        else Suggester(study, record)
    )


class ConfirmSource(_RecordedSource):
    """A `loop.Source`: replicates that were cut off, then every replicate of a finalist that the record lacks."""

    def __init__(self, study: Study, record: Record, finalists: Iterable[Finalist], folder: Path) -> None:
        super().__init__(record, folder)
        self._study = study
        self._missing = self._claim_missing(list(finalists))

    def next(self) -> Trial | None:
        return self._cut_off.popleft() if self._cut_off else next(self._missing, None)

    def judge(self, reports: Sequence[EpochReport]) -> dict[str, bool]:
        return {report.key: True for report in reports}  # empty: a replicate has no rungs

    def tell(self, result: TrialResult) -> Trial:
        self._record.tell(result)
        return self._record.trials[result.key].trial

    def _claim_missing(self, finalists: list[Finalist]) -> Iterator[Trial]:
        """Claim each missing replicate when it is asked for, not before."""
        known = {(r.trial.config, r.trial.replicate) for r in self._record.trials.values()}
        for finalist, replicate in plan_replicates(self._study, finalists):
            if (finalist.config, replicate) not in known:
                seed = derive_training_seed(self._study.seed, finalist.config, replicate)
                yield self._record.claim(Phase.CONFIRM, finalist.config, seed, name=finalist.name, replicate=replicate)
