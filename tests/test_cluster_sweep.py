"""The quick study on two simulated machines of a Ray cluster, beside the same study on workers of this machine."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from sweep.layout import RunsDir
from sweep.record import results
from sweep.track.runs import read_study
from sweep.train.weights import read_weights
from tests.clusters import run_cluster
from tests.studies import ROOT

pytestmark = pytest.mark.slow
MIN_ALIKE = 10  # of 13 trials; who is pruned, and where, depends on who came to the rung first


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The study on a cluster and here, as MLflow has it. Chance proposes, so that both try the same configs."""
    pytest.importorskip("ray")
    folder = tmp_path_factory.mktemp("both")
    quick = (ROOT / "studies" / "quick.toml").read_text()
    (folder / "quick.toml").write_text(quick.replace("[search]\n", '[search]\nsampler = "random"\nengine = "graph"\n'))
    with run_cluster(folder) as cluster:
        on_cluster = run(folder, "cluster", cluster.environment)
    return on_cluster, run(folder, "here", {})


def run(folder, name, environment):
    command = [sys.executable, "-m", "sweep", "run", "quick.toml", "--workers", "2", "--runs-dir", name]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    if environment:
        assert "machine" in done.stderr
    return read_study(RunsDir(folder / name), "quick")


def by_config(tracked):
    """Every trial by what it is, with its result and the folder of that."""
    folder = tracked.runs.results("quick")
    trials = [one.trial for one in tracked.trials]
    keys = [json.dumps([t.phase, t.config.to_dict(), t.seed, t.replicate]) for t in trials]
    return {key: (results.load(folder / t.key), folder / t.key) for key, t in zip(keys, trials, strict=True)}


def test_each_config_trains_to_the_bit_as_it_does_here(both):
    there, here = map(by_config, both)
    n_alike = 0
    for key in there.keys() & here.keys():
        (one, one_folder), (other, other_folder) = there[key], here[key]
        n_epochs = min(len(one.history), len(other.history))
        assert one.history[:n_epochs] == other.history[:n_epochs]
        if len(one.history) == len(other.history):
            n_alike += 1
            assert (one.metrics, one.best_epoch) == (other.metrics, other.best_epoch)
            weights, same = read_weights(one_folder / results.MODEL), read_weights(other_folder / results.MODEL)
            assert weights.keys() == same.keys()
            assert all(np.array_equal(weights[name], same[name]) for name in weights)
    assert n_alike >= MIN_ALIKE


def test_runs_are_tagged_with_what_trained_them(both):
    there, here = both
    assert all(one.provenance["host"] for one in there.trials)
    assert all({**one.provenance, "host": ""} == {**here.trials[0].provenance, "host": ""} for one in there.trials)
