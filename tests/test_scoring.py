"""The process that scores: interrupted, and dying. What it scores is in `test_end_to_end.py`."""

import multiprocessing
import time

import pytest

from sweep.data import PreparedData
from sweep.errors import Interrupted, WorkersError
from sweep.execute.once import MAX_DEATHS
from sweep.execute.scoring import score_in_process
from tests.support import FACTS


@pytest.fixture
def data(tmp_path):
    return PreparedData(tmp_path / "none", FACTS)


def test_ctrl_c_ends_it_at_once(data, tmp_path):
    started_at = time.monotonic()
    with pytest.raises(Interrupted):
        score_in_process({}, data, tmp_path / "scoring.log", lambda: True)
    assert time.monotonic() - started_at < 2
    assert not multiprocessing.active_children()


def test_a_process_that_keeps_dying_is_given_up_with_its_log(data, tmp_path):
    (tmp_path / "logs").write_text("in the way of a folder")
    n_asked = 0

    def is_interrupted():
        nonlocal n_asked
        n_asked += 1
        return False

    with pytest.raises(WorkersError, match=r"ended with exit code 1; see .*logs/scoring\.log"):
        score_in_process({}, data, tmp_path / "logs" / "scoring.log", is_interrupted)
    assert n_asked >= MAX_DEATHS - 1
