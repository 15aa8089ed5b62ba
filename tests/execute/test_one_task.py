"""A process for one task."""

import os

import pytest

from sweep.errors import ConversionError, WorkersError
from sweep.execute.one_task import run_in_process


def fail():
    raise ConversionError("as it must")


def die():
    os._exit(7)


def test_it_gives_the_answer_of_its_task_its_error_or_its_exit_code(tmp_path):
    log = tmp_path / "logs" / "once.log"
    assert run_in_process(os.getpid, "asking", log) != os.getpid()
    with pytest.raises(ConversionError, match="as it must"):
        run_in_process(fail, "failing", log)
    with pytest.raises(WorkersError, match=rf"dying ended with exit code 7; see {log}"):
        run_in_process(die, "dying", log)
