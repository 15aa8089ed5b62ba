"""What is written of a trial comes back equal, from a real store, whichever way it was written."""

import json
import math
from dataclasses import asdict, replace
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweep.data.facts import DataFacts
from sweep.errors import DamagedResultError
from sweep.record import results
from sweep.study.config import Activation, Config, Optimizer, Schedule
from sweep.study.file import parse_study
from sweep.track.client import open_client
from sweep.track.fields import final_metrics, from_run, to_run
from sweep.track.listing import list_runs
from sweep.track.tables import TableRuns
from sweep.track.writers import ClientRuns, End
from sweep.trial import Ended, Phase, Score, State, Trial, TrialResult
from tests.studies import FACTS, tiny_table

STUDY = parse_study(tiny_table(), "tiny.toml")

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(
    lambda t: t.strip() == t
)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)
values = st.floats(allow_nan=True, allow_infinity=True)
logs = st.fixed_dictionaries(
    {"loss": values, "accuracy": values}, optional={"val_loss": values, "val_accuracy": values}
)
configs = st.builds(
    Config,
    units=st.lists(st.integers(1, 65536), min_size=1, max_size=20).map(tuple),
    dropout=st.floats(0, 1, exclude_max=True),
    batch_size=st.integers(1, 65536),
    learning_rate=st.floats(1e-8, 10),
    batch_norm=st.booleans(),
    optimizer=st.sampled_from(get_args(Optimizer)),
    schedule=st.sampled_from(get_args(Schedule)),
    weight_decay=st.floats(0, 1),
    label_smoothing=st.floats(0, 1, exclude_max=True),
    input_dropout=st.floats(0, 1, exclude_max=True),
    activation=st.sampled_from(get_args(Activation)),
    max_norm=st.floats(0, 1000),
    ema=st.floats(0, 1, exclude_max=True),
    augment_shift=st.floats(0, 1000),
    augment_rotation=st.floats(0, 180),
    augment_scale=st.floats(0, 1, exclude_max=True),
    augment_elastic=st.floats(0, 1000),
)
provenances = st.dictionaries(
    st.sampled_from(["git_commit", "git_dirty", "version_keras", "processor", "engine", "device", "taken_over_from"]),
    words,
)


@st.composite
def trials(draw):
    phase = draw(st.sampled_from(list(Phase)))
    return Trial(
        number=draw(st.integers(0, 99_999)),
        phase=phase,
        config=draw(configs),
        seed=draw(st.integers(0, 2**32 - 1)),
        attempt=draw(st.integers(1, 9)),
        name=draw(words) if phase != Phase.SEARCH else "",
        replicate=draw(st.integers(1, 1000)) if phase == Phase.CONFIRM else None,
        rungs=draw(st.sampled_from([(), (1, 3)])),
        keeps_model=phase != Phase.SEARCH or draw(st.booleans()),
    )


@st.composite
def ended(draw):
    trial, state = draw(trials()), draw(st.sampled_from(list(State)))
    history = draw(st.lists(logs, min_size=0 if state == State.FAILED else 1, max_size=5))
    is_scored = trial.phase == Phase.CONFIRM and state == State.COMPLETE
    times = st.floats(0, 2e9)
    result = TrialResult(
        key=trial.key,
        state=state,
        reason=draw(words) if state != State.COMPLETE else "",
        history=history,
        epoch_ended_at=[draw(times) for _ in history],
        best_epoch=0 if state == State.FAILED else draw(st.integers(1, len(history))),
        metrics={} if state == State.FAILED else draw(st.dictionaries(st.sampled_from(["val_loss", "val_accuracy", "train_loss", "train_accuracy"]), numbers)),
        params_count=draw(st.integers(0, 2**40)),
        train_seconds=draw(st.floats(0, 1e6)),
        started_at=draw(times),
        ended_at=draw(times),
        provenance=draw(provenances),
        files=draw(st.sampled_from([{}, {results.MODEL: "0" * 64}])),
    )  # fmt: skip
    score = Score({"test_loss": draw(numbers), "test_accuracy": draw(numbers)}, {}) if is_scored else None
    return Ended(trial, result, score)


def facts_of(shape):
    """Facts of rows of this shape."""
    return st.builds(
        DataFacts,
        name=words,
        sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
        n_train=st.integers(2, 10**9),
        n_validation=st.integers(0, 10**9),
        n_test=st.integers(0, 10**9),
        n_features=st.just(math.prod(shape)),
        classes=st.lists(st.text(max_size=20), min_size=2, max_size=5, unique=True).map(tuple),
        scaling=st.sampled_from(["pixels", "standardize", "robust", "standard"]),
        feature_shape=st.just(shape),
    )


facts = st.lists(st.integers(1, 100), min_size=1, max_size=3).map(tuple).flatmap(facts_of)


@pytest.fixture(scope="module")
def store(new_runs):
    """A store for the whole module: each example writes a run of its own."""
    runs = new_runs()
    client = open_client(runs)
    experiment = client.create_experiment("tiny", artifact_location=str(runs.artifacts("tiny").absolute()))
    parent = client.create_run(experiment).info.run_id
    return (
        {"rows": TableRuns(client, experiment, runs, "tiny"), "client": ClientRuns(client, experiment)},
        client,
        parent,
    )


def is_logged_apart(one):
    """Final metrics of a trial with a logged model are written with the model."""
    return results.MODEL in one.result.files and not (
        one.trial.phase == Phase.SEARCH and one.result.provenance.get("engine") == "cohort"
    )


@pytest.mark.parametrize("way", ["rows", "client"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(one=ended(), seen=facts)
def test_a_trial_that_was_written_comes_back_equal(store, way, one, seen):
    writers, client, parent = store
    [run_id] = writers[way].create([to_run(one, STUDY, seen, parent)])
    writers[way].close([End(run_id, "FINISHED", 0)])
    tracked = from_run(client.get_run(run_id))
    assert tracked.run_id == run_id
    assert tracked.trial == replace(one.trial, rungs=())
    assert (tracked.state, tracked.reason) == (one.result.state, one.result.reason)
    assert (tracked.best_epoch, tracked.n_epochs) == (one.result.best_epoch, len(one.result.history))
    assert (tracked.params_count, tracked.train_seconds) == (one.result.params_count, one.result.train_seconds)
    assert tracked.provenance == one.result.provenance
    finite = {name: value for name, value in final_metrics(one).items() if math.isfinite(value)}
    assert tracked.metrics == ({} if is_logged_apart(one) else finite)


@given(seen=facts)
def test_facts_come_back_equal_from_json(seen):
    assert DataFacts.from_dict(json.loads(json.dumps(asdict(seen)))) == seen


def test_a_run_that_lacks_what_was_written_is_named(store):
    writers, client, parent = store
    trial = Trial(
        number=0,
        phase=Phase.SEARCH,
        config=Config(units=(8,), dropout=0.0, batch_size=8, learning_rate=0.1),
        seed=1,
    )
    failed = TrialResult.failed(trial.key, "why", started_at=0.0, ended_at=1.0, provenance={"engine": "graph"})
    new = to_run(Ended(trial, failed, None), STUDY, FACTS, parent)
    for spoilt in (
        replace(new, tags={name: value for name, value in new.tags.items() if name != "seed"}),
        replace(new, tags={**new.tags, "config": "another"}),
        replace(new, params={**new.params, "units": "many"}),
        replace(new, metrics=[]),
    ):
        [run_id] = writers["rows"].create([spoilt])
        with pytest.raises(
            DamagedResultError, match=rf"^run {run_id}: not what was written \(.*delete the run in MLflow"
        ):
            from_run(client.get_run(run_id))
    assert len(list_runs(client, client.get_run(parent).info.experiment_id)) > 4
