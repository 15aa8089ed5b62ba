import subprocess
import sys

import numpy as np
import optuna
import pytest
from optuna.samplers._tpe import _truncnorm
from scipy.special import log_ndtr

from sweep.record.trials import Record
from sweep.search import faster_tpe
from sweep.search.sampler import Suggester
from sweep.study.file import parse_study
from sweep.trial import Phase
from tests.studies import FACTS, tiny_table


def slow(x):
    """Stands for Optuna's own function, which another test may have replaced already."""
    return np.vectorize(_truncnorm._log_ndtr_single)(x)


@pytest.fixture(autouse=True)
def _optunas_own(monkeypatch):
    monkeypatch.setattr(_truncnorm, "_log_ndtr", slow)


def test_the_logarithm_that_tpe_is_given_is_the_one_it_has():
    at = np.concatenate([np.linspace(-60, 60, 2001), [-np.inf, np.inf]])
    np.testing.assert_allclose(log_ndtr(at), slow(at), rtol=1e-9, atol=1e-15)


def test_a_suggester_draws_with_the_faster_logarithm(runs):
    study = parse_study(tiny_table(), "tiny.toml")
    Suggester(study, Record.open(runs.optuna_db, study, Phase.SEARCH, FACTS))
    assert _truncnorm._log_ndtr is log_ndtr


def test_an_import_of_the_sampler_leaves_optuna_as_it_is():
    code = "import sweep.search.sampler; from optuna.samplers._tpe import _truncnorm; print(_truncnorm._log_ndtr.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == _truncnorm.__name__


def test_another_version_of_optuna_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(optuna, "__version__", "5.0.1")
    faster_tpe.install()
    assert _truncnorm._log_ndtr is slow


def test_an_optuna_without_that_function_is_left_as_it_is(monkeypatch):
    monkeypatch.delattr(_truncnorm, "_log_ndtr")
    faster_tpe.install()
    assert not hasattr(_truncnorm, "_log_ndtr")


def test_the_version_that_is_patched_is_the_one_in_use():
    assert optuna.__version__ == faster_tpe.OPTUNA_VERSION
