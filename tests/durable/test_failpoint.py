import os
import signal
import subprocess
import sys

CODE = """
from sweep.durable.failpoint import failpoint
for n in range(1, 4):
    failpoint("other")
    try:
        failpoint("here")
    except OSError as error:
        print("full", error.errno)
    print(n, flush=True)
"""


def run(tmp_path, setting):
    environment = {**os.environ, "SWEEP_FAILPOINT_MARK": str(tmp_path / "mark")}
    if setting:
        environment["SWEEP_FAILPOINT"] = setting
    return subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)


def test_nothing_happens_where_none_is_set(tmp_path):
    assert run(tmp_path, None).stdout == "1\n2\n3\n"


def test_the_process_dies_at_the_hit_that_was_asked_for_and_only_once(tmp_path):
    first = run(tmp_path, "here:2:kill")
    assert (first.returncode, first.stdout) == (-signal.SIGKILL, "1\n")
    assert run(tmp_path, "here:2:kill").stdout == "1\n2\n3\n"


def test_a_full_disk_is_an_error_of_its_kind(tmp_path):
    assert run(tmp_path, "here:1:full").stdout == "full 28\n1\n2\n3\n"


def test_an_action_that_does_not_exist_is_a_mistake(tmp_path):
    assert "no such action: explode" in run(tmp_path, "here:1:explode").stderr
