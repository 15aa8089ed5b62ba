"""Cohorts on the real engine, in their real process. What every executor does is in `test_contract.py`."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sweep.data.files import read
from sweep.data.prepared import open_training_split, prepare
from sweep.execute.cohort_process import CohortOptions
from sweep.execute.cohorts import CohortExecutor
from sweep.execute.start import compute_max_searched, has_accelerator
from sweep.record import results
from sweep.study.config import Config
from sweep.study.schema import Data
from sweep.study.search import Search
from sweep.study.training import EarlyStopping, Training
from sweep.train.model import load_model
from sweep.trial import CohortReport, Phase, State, Trial, TrialResult, WorkerDied
from tests.studies import write_tiny_data

TRAINING = Training(max_epochs=4, early_stopping=EarlyStopping(monitor="val_accuracy", patience=3))


def trial(number, phase=Phase.SEARCH, **changes):
    config = Config(**{"units": (12,), "dropout": 0.2, "batch_size": 64, "learning_rate": 0.01, **changes})
    return Trial(number=number, phase=phase, config=config, seed=number, rungs=(1,) if phase == Phase.SEARCH else ())


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohorts")
    spec = Data(source=write_tiny_data(folder).name, validation_rows=100)
    return CohortOptions(
        data=prepare(read(spec, folder), spec, 1, folder / "cache"),
        training=TRAINING,
        results=folder / "results",
        logs=folder / "logs",
        programs=folder / "programs",
        provenance={"engine": "cohort"},
    )


@pytest.fixture(scope="module")
def executor(options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
        started = CohortExecutor(options, n_searched=3)
        yield started
        started.close()


def heard(executor, prune=(), within_s=120.0):
    """Yield every event until all trials have ended; those with keys in `prune` are pruned at their rung."""
    deadline = time.monotonic() + within_s
    while executor.n_running:
        assert time.monotonic() < deadline, "it takes too long"
        event = executor.wait(1.0)
        if isinstance(event, CohortReport):
            for report in event.reports:
                if report.waits:
                    executor.answer(report.key, report.key not in prune)
        if event is not None:
            yield event


@pytest.mark.slow
def test_it_takes_only_so_many_of_the_search_and_all_that_was_settled_before(executor):
    searched = [trial(number) for number in range(4)]
    for one in searched[:3]:
        executor.submit(one)
    assert not executor.takes(searched[3])
    for number in range(10, 12):
        assert executor.takes(trial(number, Phase.CONFIRM))
    executor.submit(trial(10, Phase.BASELINE, units=(20,)))
    events = list(heard(executor, prune={"trial-00001"}))
    reached = next(event for event in events if isinstance(event, CohortReport))
    assert {(report.key, report.waits) for report in reached.reports} == {
        ("trial-00000", True),
        ("trial-00001", True),
        ("trial-00002", True),
        ("trial-00010", False),
    }
    ended = {event.key: event for event in events if isinstance(event, TrialResult)}
    assert {key: result.state for key, result in ended.items()} == {
        "trial-00000": State.COMPLETE,
        "trial-00001": State.PRUNED,
        "trial-00002": State.COMPLETE,
        "trial-00010": State.COMPLETE,
    }


@pytest.mark.slow
def test_what_a_member_leaves_is_a_plain_model_of_its_true_widths_with_the_metrics_recorded(executor, options):
    executor.submit(trial(20, Phase.BASELINE, units=(9,)))
    executor.submit(trial(21, Phase.BASELINE, units=(17,), dropout=0.0))
    for result in [event for event in heard(executor) if isinstance(event, TrialResult)]:
        assert results.load(options.results / result.key) == result
        assert result.provenance.keys() >= {"engine", "device", "version_jax"}
        model = load_model(options.results / result.key / results.MODEL)
        assert model.get_layer("dense_1").units == (9 if result.key == "trial-00020" else 17)
        assert model.count_params() == result.params_count
        for part, name in (("train", "train_accuracy"), ("validation", "val_accuracy")):
            split = open_training_split(options.data, part)
            guesses = model.predict(np.asarray(split.x), verbose=0).argmax(axis=1)
            assert (guesses == split.y).mean() == pytest.approx(result.metrics[name], abs=1e-6)


@pytest.mark.slow
def test_a_writer_that_dies_while_it_is_idle_costs_an_attempt(executor):
    executor.submit(trial(24, Phase.BASELINE))  # which starts the writers
    assert TrialResult in [type(event) for event in heard(executor)]
    children = Path(f"/proc/{executor.pids[0]}/task/{executor.pids[0]}/children").read_text().split()
    writers = [pid for pid in map(int, children) if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert writers
    for pid in writers:
        os.kill(pid, signal.SIGKILL)
    executor.submit(trial(25, Phase.BASELINE))
    assert [type(event) for event in heard(executor) if not isinstance(event, CohortReport)] == [WorkerDied]
    executor.submit(trial(25, Phase.BASELINE))
    assert [type(event) for event in heard(executor) if not isinstance(event, CohortReport)] == [TrialResult]


@pytest.mark.slow
def test_after_a_death_each_trial_is_told_of_and_the_next_time_trains_alone(executor):
    trials = [trial(30 + i, Phase.BASELINE) for i in range(2)]
    for one in trials:
        executor.submit(one)
    assert executor.wait(0) is None  # they are on their way
    os.kill(executor.pids[0], signal.SIGKILL)
    died = [event for event in heard(executor) if isinstance(event, WorkerDied)]
    assert [event.key for event in died] == ["trial-00030", "trial-00031"]
    assert all(event.reason.startswith("its worker was killed by signal 9") for event in died)
    for one in trials:
        executor.submit(one)
    reports = [event.reports for event in heard(executor) if isinstance(event, CohortReport)]
    assert {len(together) for together in reports} == {1}


@pytest.mark.slow
def test_compiled_programs_are_found_again_where_their_folder_lies_now(options, tmp_path):
    def programs_after_one_trial(folder, number):
        started = CohortExecutor(
            replace(options, programs=folder, results=tmp_path / f"results-{number}"), n_searched=3
        )
        try:
            started.submit(trial(0))
            list(heard(started))
        finally:
            started.close()
        return {path.name for path in folder.glob("*-cache")}

    compiled = programs_after_one_trial(tmp_path / "programs", 1)
    assert len(compiled) > 2
    moved = (tmp_path / "programs").rename(tmp_path / "elsewhere")
    assert programs_after_one_trial(moved, 2) == compiled


def test_a_plugin_of_jax_that_cannot_be_used_is_said_to_be_so(tmp_path, monkeypatch, caplog):
    (tmp_path / "broken_plugin.py").write_text(
        "def initialize():\n    raise RuntimeError('no driver for this device')\n"
    )
    about = tmp_path / "broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[jax_plugins]\nbroken = broken_plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("JAX_PLATFORMS")
    assert not has_accelerator()
    assert "no driver for this device" in caplog.text


@pytest.mark.parametrize(
    ("search", "at_once"),
    [
        ({"trials": 1, "sampler": "tpe"}, 4),
        ({"trials": 8, "sampler": "tpe"}, 4),
        ({"trials": 40, "sampler": "random"}, 10),
        ({"trials": 256, "sampler": "tpe"}, 64),
        ({"minutes": 5.0, "sampler": "tpe"}, 4),
        ({"trials": 256}, 16),
        ({"epochs": 1000}, 16),
    ],
)
def test_a_quarter_of_a_search_is_blind_at_a_time_and_sixteen_trials_of_one_that_models_curves(search, at_once):
    assert compute_max_searched(Search(**search)) == at_once
