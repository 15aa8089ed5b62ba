"""Optuna's storage for many trials: read a table at a time, written as rows, many calls in one transaction.

Optuna's own way takes some 15 ms of processor time for a trial's claim and end, and counts all trials to number the next; it
reads ten times as slowly, most of it parameters and distributions, which configs say already. A test compares what both ways
leave, row by row, for one revision of the schema; under any other, trials are read and written through Optuna.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, text
from sqlalchemy.orm import scoped_session, sessionmaker

TESTED_REVISION = "v3.2.0.a"  # of the schema of Optuna 5.0, in the table alembic_version
_SPECIAL = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}  # numbers that a column does not hold


_INSERT_TRIAL = text(
    "INSERT INTO trials (number, study_id, state, datetime_start) VALUES (:number, :study, 'RUNNING', :now) RETURNING trial_id"
)
_INSERT_PARAM = text(
    "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (:trial, :name, :value, :kind)"
)
_PUT_ATTRIBUTE = text(
    "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (:trial, :key, :value) "
    "ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json"
)
_INSERT_POINT = text(
    "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
    "VALUES (:trial, :step, :value, :kind)"
)
_INSERT_VALUE = text(
    "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (:trial, 0, :value, :kind)"
)
_END_TRIAL = text(
    "UPDATE trials SET state = :state, datetime_complete = :now WHERE trial_id = :trial AND state = 'RUNNING'"
)


class Storage(RDBStorage):
    """Optuna's storage in a database, of which this process is the only one that writes a study. One thread uses it."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._shared: Connection | None = None  # while calls share a transaction
        with self.engine.connect() as connection:
            self._is_known = _has_tested_schema(connection)

    @contextmanager
    def one_transaction(self) -> Iterator[None]:
        """Commit what is called within at its end; roll it all back where it raises.

        Optuna commits in every call. Its sessions are given a connection whose transaction is not theirs to commit:
        https://docs.sqlalchemy.org/en/20/orm/session_transaction.html#joining-a-session-into-an-external-transaction-such-as-for-test-suites
        """
        apart = self.scoped_session
        with self.engine.begin() as connection:
            self.scoped_session = scoped_session(sessionmaker(connection, join_transaction_mode="rollback_only"))
            self._shared = connection
            try:
                yield
            finally:
                self.scoped_session, self._shared = apart, None

    def add_trial(self, study_id: int, number: int, claimed: FrozenTrial) -> int:
        """Add a trial that runs; return its id. number: how many trials the study has."""
        if not self._is_known:
            return self.create_new_trial(study_id, claimed)
        with self._writing() as connection:
            new = {"number": number, "study": study_id, "now": _now()}
            trial_id = int(connection.execute(_INSERT_TRIAL, new).scalar_one())
            params = [
                {
                    "trial": trial_id,
                    "name": name,
                    "value": kind.to_internal_repr(claimed.params[name]),
                    "kind": distribution_to_json(kind),
                }
                for name, kind in claimed.distributions.items()
            ]
            if params:
                connection.execute(_INSERT_PARAM, params)
            self._put_attributes(connection, trial_id, claimed.user_attrs)
        return trial_id

    def put_attribute(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute of a trial, over one that is there."""
        if not self._is_known:
            return self.set_trial_user_attr(trial_id, key, value)
        with self._writing() as connection:
            self._put_attributes(connection, trial_id, {key: value})

    def add_point(self, trial_id: int, step: int, value: float) -> None:
        """Add what a trial is worth at a step, which is written once."""
        if not self._is_known:
            return self.set_trial_intermediate_value(trial_id, step, value)
        with self._writing() as connection:
            connection.execute(_INSERT_POINT, {"trial": trial_id, "step": step, "value": value, "kind": "FINITE"})

    def end_trial(self, trial_id: int, state: TrialState, value: float | None, attributes: Mapping[str, Any]) -> None:
        """End a trial, in one transaction with attributes of it. Raises UpdateFinishedTrialError if it has ended before."""
        if not self._is_known:
            for key, attribute in attributes.items():
                self.set_trial_user_attr(trial_id, key, attribute)
            self.set_trial_state_values(trial_id, state, None if value is None else [value])
            return
        with self._writing() as connection:
            ended = connection.execute(_END_TRIAL, {"state": state.name, "now": _now(), "trial": trial_id})
            if ended.rowcount != 1:
                raise UpdateFinishedTrialError(f"trial {trial_id} has ended before")
            self._put_attributes(connection, trial_id, attributes)
            if value is not None:
                connection.execute(_INSERT_VALUE, {"trial": trial_id, "value": value, "kind": "FINITE"})

    def _writing(self) -> AbstractContextManager[Connection]:
        """Return the transaction that is shared, or one of its own."""
        return self.engine.begin() if self._shared is None else nullcontext(self._shared)

    def _put_attributes(self, connection: Connection, trial_id: int, attributes: Mapping[str, Any]) -> None:
        rows = [{"trial": trial_id, "key": key, "value": json.dumps(value)} for key, value in attributes.items()]
        if rows:
            connection.execute(_PUT_ATTRIBUTE, rows)


def _now() -> str:
    """Return the time as Optuna's columns hold it, in UTC."""
    return f"{datetime.now(UTC).replace(tzinfo=None):%Y-%m-%d %H:%M:%S.%f}"


@dataclass
class StoredTrial:
    """A trial as Optuna's storage has it."""

    id: int  # the storage's own
    number: int
    state: TrialState
    value: float | None = None
    user_attrs: dict[str, Any] = field(default_factory=dict)
    intermediate_values: dict[int, float] = field(default_factory=dict)  # by step


def read_trials(storage: RDBStorage, study_id: int) -> list[StoredTrial]:
    """Return the trials of a study, by number."""
    with storage.engine.connect() as connection:
        if _has_tested_schema(connection):
            return _read_rows(connection, study_id)
    return [
        StoredTrial(one._trial_id, one.number, one.state, one.value, one.user_attrs, one.intermediate_values)
        for one in storage.get_all_trials(study_id, deepcopy=False)
    ]


def _has_tested_schema(connection: Connection) -> bool:
    return bool(connection.scalar(text("SELECT version_num FROM alembic_version")) == TESTED_REVISION)


def _read_rows(connection: Connection, study_id: int) -> list[StoredTrial]:
    of_study = {"study": study_id}
    rows = connection.execute(
        text("SELECT trial_id, number, state FROM trials WHERE study_id = :study ORDER BY trial_id"), of_study
    )
    trials = {id_: StoredTrial(id_, number, TrialState[state]) for id_, number, state in rows}

    def select(columns: str, table: str) -> Any:
        joined = f"FROM {table} JOIN trials ON trials.trial_id = {table}.trial_id WHERE trials.study_id = :study"
        return connection.execute(text(f"SELECT {table}.trial_id, {columns} {joined}"), of_study)

    for id_, key, value in select("key, value_json", "trial_user_attributes"):
        trials[id_].user_attrs[key] = json.loads(value)
    for id_, value, kind in select("value, value_type", "trial_values"):
        trials[id_].value = _SPECIAL.get(kind, value)
    points = select("step, intermediate_value, intermediate_value_type", "trial_intermediate_values")
    for id_, step, value, kind in points:
        trials[id_].intermediate_values[step] = _SPECIAL.get(kind, value)
    return list(trials.values())
