"""What a replay says, on the fake executor with models of our own making."""

import zipfile
from dataclasses import replace
from io import BytesIO

import h5py
import numpy as np
import pytest

from sweep.errors import InvalidDataError, MissingRunsError, WorkersError
from sweep.execute.fake import FakeExecutor, plausible_logs
from sweep.record import results
from sweep.replay import replay
from sweep.track.runs import find_study_of, read_study
from sweep.trial import Phase
from tests.studies import FACTS, FILES, fake_sweep, tiny_table


def model_file(weight):
    """A .keras file with a single weight."""
    weights, archive = BytesIO(), BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = np.full((2, 2), weight, np.float32)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("model.weights.h5", weights.getvalue())
    return archive.getvalue()


def files(weight=1.0):
    return {**FILES, results.MODEL: model_file(weight)}


@pytest.fixture(scope="module")
def swept(new_runs):
    runs = new_runs()
    fake_sweep(runs, files=files())
    return runs


def again(swept, run_id, *, curve=plausible_logs, weight=1.0, facts=FACTS):
    tracked = read_study(swept, find_study_of(swept, run_id))
    return replay(
        tracked, tracked.trial(run_id), facts, lambda folder: FakeExecutor(folder, 5, 1, curve, files(weight))
    )


def off_by(amount):
    def curve(config, seed, epoch):
        return {name: value + amount for name, value in plausible_logs(config, seed, epoch).items()}

    return curve


def runs_of(swept, state):
    return [one.run_id for one in read_study(swept, "tiny").trials if one.state == state]


@pytest.mark.parametrize("state", ["complete", "pruned"])
def test_a_run_that_trains_to_the_same_is_bit_equal(swept, state):
    for run_id in runs_of(swept, state):
        done = again(swept, run_id)
        assert done.outcome == "bit-equal"
        assert done.n_epochs[0] == done.n_epochs[1]


@pytest.mark.parametrize(
    ("amount", "weight", "outcome"),
    [(1e-9, 1.0, "within tolerance"), (0.0, 1.0001, "within tolerance"), (0.004, 1.0, "within tolerance"), (0.006, 1.0, "different")],
)  # fmt: skip
def test_a_run_that_does_not_is_told_with_the_figures(swept, amount, weight, outcome):
    done = again(swept, runs_of(swept, "complete")[0], curve=off_by(amount), weight=weight)
    assert done.outcome == outcome
    assert done.weights_differ_by == pytest.approx(weight - 1.0, rel=1e-3)
    assert done.epochs_differ_by["val_accuracy"] == pytest.approx(amount, abs=1e-12)
    assert outcome in done.lines[0]


def test_a_run_that_kept_no_model_is_compared_by_its_figures_alone(new_runs):
    runs = new_runs()
    fake_sweep(runs, {**(table := tiny_table()), "search": table["search"] | {"keep_models": False}}, files=files())
    for one in read_study(runs, "tiny").searched:
        done = again(runs, one.run_id, weight=1.0 if one.trial.keeps_model else 7.0)
        assert done.outcome == "bit-equal"
        assert (done.weights_differ_by is None) == (one.trial.phase == Phase.SEARCH)
    assert done.lines[-1] == "  weights: not compared, the run kept no model"


def test_what_cannot_be_replayed_is_refused_with_the_reason(swept):
    run_id = runs_of(swept, "complete")[0]
    with pytest.raises(InvalidDataError, match="the data has changed"):
        again(swept, run_id, facts=replace(FACTS, sha256="1" * 64))
    with pytest.raises(InvalidDataError, match=r"scaled as an earlier version did, by 'pixels', for which .* 'robust'"):
        again(swept, run_id, facts=replace(FACTS, scaling="robust"))
    with pytest.raises(WorkersError, match="trained again it is failed"):
        again(swept, run_id, curve=off_by(float("nan")))
    with pytest.raises(MissingRunsError, match="holds no run 'abc'"):
        again(swept, "abc")
    with pytest.raises(MissingRunsError, match="not a trial of study 'tiny' that has ended"):
        again(swept, read_study(swept, "tiny").parent_run_id)
