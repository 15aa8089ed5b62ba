"""Optuna's storage for many trials: reads them in one pass a table, and writes many calls in one transaction.

Optuna's own reading takes ten times as long, most of it for parameters and distributions, which configs say already. The
tables are those of one revision of its schema; under any other, trials are read through Optuna.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Connection, text
from sqlalchemy.orm import scoped_session, sessionmaker

TESTED_REVISION = "v3.2.0.a"  # of the schema of Optuna 5.0, in the table alembic_version
_SPECIAL = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}  # numbers that a column does not hold


class Storage(RDBStorage):
    """Optuna's storage in a database, whose calls can share a transaction. One thread uses it."""

    @contextmanager
    def one_transaction(self) -> Iterator[None]:
        """Commit what is called within at its end; roll it all back where it raises.

        Optuna commits in every call. Its sessions are given a connection whose transaction is not theirs to commit:
        https://docs.sqlalchemy.org/en/20/orm/session_transaction.html#joining-a-session-into-an-external-transaction-such-as-for-test-suites
        """
        apart = self.scoped_session
        with self.engine.begin() as connection:
            self.scoped_session = scoped_session(sessionmaker(connection, join_transaction_mode="rollback_only"))
            try:
                yield
            finally:
                self.scoped_session = apart


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
        if connection.scalar(text("SELECT version_num FROM alembic_version")) == TESTED_REVISION:
            return _read_rows(connection, study_id)
    return [
        StoredTrial(one._trial_id, one.number, one.state, one.value, one.user_attrs, one.intermediate_values)
        for one in storage.get_all_trials(study_id, deepcopy=False)
    ]


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
