"""Train trials in cohorts, from their first epoch to their results."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sweep.data.facts import DataFacts
from sweep.data.prepared import PreparedData, open_scaling, open_training_split
from sweep.data.scaling import Scaling
from sweep.study.training import Training
from sweep.train.cohort.bucket import Bucket, compaction_pays, group_into_buckets, round_up
from sweep.train.cohort.member import Blueprint, DeviceRows
from sweep.train.cohort.program import Cohort, Program, get_device_bytes, is_device_failure
from sweep.train.course import Clock, Course, is_finite
from sweep.train.model import Weights
from sweep.trial import Judge, Logs, State, Trial, TrialResult

# Receives each result, and the weights of a trial that did not fail.
OnResult = Callable[[Trial, TrialResult, Weights | None], None]


class CohortFitter:
    """Trains trials on one data set, which it keeps on the device."""

    def __init__(
        self,
        data: PreparedData,
        training: Training,
        provenance: dict[str, str],
        clock: Clock = time.time,
        max_bytes: int | None = None,
        ranked: tuple[str, ...] = (),
    ) -> None:
        """Put the rows on the device. max_bytes: device memory for one cohort; None means all that is free.

        ranked: metrics to measure on validation rows after every epoch, see `ranked.measure_ranked`.
        """
        self._ranked = ranked
        has_validation = data.facts.n_validation > 0
        validation = open_training_split(data, "validation") if has_validation else None
        self._facts = data.facts
        self._scaling = open_scaling(data)
        self.rows = DeviceRows.of(data.facts, open_training_split(data, "train"), validation)
        self._training = training
        self._provenance = provenance
        self._clock = clock
        self._max_bytes = get_device_bytes() if max_bytes is None else max_bytes
        self._blueprints: dict[Bucket, Blueprint] = {}
        self._programs: dict[tuple[Bucket, int], Program] = {}

    def fit(self, trials: Sequence[Trial], judge: Judge, on_result: OnResult) -> None:
        """Train `trials`, each bucket as soon as its program is compiled. A trial that diverges has a failed result."""
        found = group_into_buckets(trials)
        for bucket in found.keys() - self._blueprints.keys():
            self._blueprints[bucket] = Blueprint(
                bucket,
                self.rows,
                self._training.precision,
                self._training.max_epochs,
                loss=self._training.loss,
                is_balanced=self._training.class_weight == "balanced",
                ranked=self._ranked,
            )
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # XLA compiles in parallel: it releases Python's lock
            compiled = [threads.submit(self._split_by_memory, bucket, members) for bucket, members in found.items()]
            for done in as_completed(compiled):
                for members, program in done.result():
                    self._train_or_split(members, program, judge, on_result)

    def make_save(self, trial: Trial, result: TrialResult, weights: Weights | None) -> Callable[[Path], TrialResult]:
        """Build the function that saves a result and its model as a folder. Any process can call it."""
        return partial(_save, trial, result, weights, self._facts, self._scaling)

    def _split_by_memory(self, bucket: Bucket, members: list[Trial]) -> list[tuple[list[Trial], Program]]:
        """Split the members into cohorts that fit into device memory, going by their compiled programs."""
        program = self._get_program(bucket, round_up(len(members)))
        if len(members) == 1 or program.n_bytes <= self._max_bytes:
            return [(members, program)]
        half = (len(members) + 1) // 2
        return self._split_by_memory(bucket, members[:half]) + self._split_by_memory(bucket, members[half:])

    def _get_program(self, bucket: Bucket, n_members: int) -> Program:
        if (bucket, n_members) not in self._programs:
            self._programs[bucket, n_members] = Program(self._blueprints[bucket], n_members)
        return self._programs[bucket, n_members]

    def _train_or_split(self, members: list[Trial], program: Program, judge: Judge, on_result: OnResult) -> None:
        """Train a cohort. If it fails as a whole, retrain it in halves, until the member at fault fails alone."""
        left, began = {trial.key: trial for trial in members}, self._clock()

        def end(trial: Trial, result: TrialResult, weights: Weights | None) -> None:
            on_result(trial, result, weights)
            del left[trial.key]

        try:
            self._train(members, program, judge, end)
            return
        except (OSError, EOFError, BrokenExecutor):  # the coordinator or a writer is gone
            raise
        except Exception as error:  # only its text is kept: its traceback would keep device memory alive
            if is_device_failure(error):
                raise
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        rest = list(left.values())
        if len(rest) == 1:
            failed = TrialResult.failed(
                rest[0].key, reason, started_at=began, ended_at=self._clock(), provenance=self._provenance
            )
            on_result(rest[0], failed, None)
            return
        half = (len(rest) + 1) // 2
        for part in filter(None, (rest[:half], rest[half:])):
            self._train_or_split(
                part, self._get_program(program.blueprint.bucket, round_up(len(part))), judge, on_result
            )

    def _train(self, members: list[Trial], program: Program, judge: Judge, on_result: OnResult) -> None:
        cohort = Cohort(program, members)
        courses = [_CohortCourse(trial, self._training, self._clock()) for trial in members]
        while any(not course.is_over for course in courses):
            began = self._clock()
            logs = cohort.train_epoch()
            now = self._clock()
            _record_epoch(courses, logs, now, (now - began) / len(courses), judge)
            cohort.keep([course.is_to_keep(cohort.n_epochs) for course in courses])
            cohort, courses = self._compact(cohort, courses, now - began, on_result)
        self._finish(cohort, courses, on_result)

    def _compact(
        self, cohort: Cohort, courses: list["_CohortCourse"], epoch_s: float, on_result: OnResult
    ) -> tuple[Cohort, list["_CohortCourse"]]:
        """Move the trials that go on into a smaller program, if that saves time; finish the others then."""
        going_on = [member for member, course in enumerate(courses) if not course.is_over]
        program = cohort.program
        bucket, n_fewer = program.blueprint.bucket, round_up(max(1, len(going_on)))
        # The slowest compile so far: programs from the cache compile instantly and would understate the cost.
        # Iterate over a copy, because other threads add programs.
        longest_s = max(one.compile_s for one in list(self._programs.values()))
        compile_s = 0.0 if (bucket, n_fewer) in self._programs else longest_s
        epochs_left = self._training.max_epochs - cohort.n_epochs
        if not going_on or not compaction_pays(n_fewer, program.n_members, epochs_left * epoch_s, compile_s):
            return cohort, courses
        self._finish(cohort, courses, on_result)
        fewer = cohort.compact(going_on, self._get_program(bucket, n_fewer))
        return fewer, [courses[member] for member in going_on]

    def _finish(self, cohort: Cohort, courses: list["_CohortCourse"], on_result: OnResult) -> None:
        """Pass the results of the trials that are over to `on_result`."""
        is_any_complete = any(course.is_over and course.state == State.COMPLETE for course in courses)
        on_train: list[Logs] = cohort.evaluate_kept() if is_any_complete else [{}] * len(courses)
        for course, logs, weights in zip(courses, on_train, cohort.fetch_kept_weights(), strict=True):
            if course.is_over:
                result = course.make_result(
                    logs if course.state == State.COMPLETE else {},
                    params_count=sum(array.size for array in weights.values()),
                    train_seconds=course.train_seconds,
                    ended_at=self._clock(),
                    provenance=self._provenance,
                )
                on_result(course.trial, result, None if result.state == State.FAILED else weights)


@dataclass
class _CohortCourse(Course):
    """The course of a member, with its share of its cohort's training time."""

    train_seconds: float = 0.0

    def is_to_keep(self, n_epochs: int) -> bool:
        """Return whether to keep the weights after `n_epochs` of its cohort: those it would end with, as of now."""
        if self.n_epochs != n_epochs or self.state == State.FAILED:  # it was over before
            return False
        return self.is_best and (self.is_over or self.training.early_stopping is not None)


def _save(
    trial: Trial, result: TrialResult, weights: Weights | None, facts: DataFacts, scaling: Scaling | None, folder: Path
) -> TrialResult:
    from sweep.train.artifacts import save_weights  # here: only writers load what draws

    return save_weights(folder, trial, result, weights, facts, scaling)


def _record_epoch(courses: list[_CohortCourse], logs: list[Logs], now: float, share_s: float, judge: Judge) -> None:
    """Add an epoch to every course that is not over, have it judged, and prune the courses that are refused."""
    reports = []
    for course, of_epoch in zip(courses, logs, strict=True):
        if not course.is_over:
            course.train_seconds += share_s
            on_train = {name: value for name, value in of_epoch.items() if not name.startswith("val_")}
            reports.append(course.add(of_epoch if is_finite(on_train) else on_train, now))
    verdicts = judge(reports)
    for course in courses:
        if not verdicts.get(course.trial.key, True):
            course.prune()
