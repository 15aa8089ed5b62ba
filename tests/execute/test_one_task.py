"""A process for one task."""

import os
import subprocess
import sys

import pytest

from sweep.errors import ConversionError, WorkersError
from sweep.execute.one_task import run_in_process
from tests.studies import ROOT


def fail():
    raise ConversionError("as it must")


def die():
    os._exit(7)


@pytest.mark.slow
def test_it_gives_the_answer_of_its_task_its_error_or_its_exit_code(tmp_path):
    log = tmp_path / "logs" / "once.log"
    assert run_in_process(os.getpid, "asking", log) != os.getpid()
    with pytest.raises(ConversionError, match="as it must"):
        run_in_process(fail, "failing", log)
    with pytest.raises(WorkersError, match=rf"dying ended with exit code 7; see {log}"):
        run_in_process(die, "dying", log)


@pytest.mark.parametrize("as_module", [False, True])
def test_a_process_does_not_run_the_program_again_that_starts_it_without_a_guard(tmp_path, as_module):
    (tmp_path / "script.py").write_text(
        "import os\nfrom pathlib import Path\nfrom sweep.execute.one_task import run_in_process\n"
        "print('once', flush=True)\nrun_in_process(os.getpid, 'asking', Path('asking.log'))\n"
    )
    command = [sys.executable, *(["-m", "script"] if as_module else ["script.py"])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")
