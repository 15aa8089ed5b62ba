"""A reader that leaves early, or an encoding that lacks characters, costs nothing but what is not read."""

import os
import shutil
import subprocess
import sys

import pytest

from sweep.cli.stdout import say
from sweep.report.conclusion import conclude
from sweep.report.files import NAMES, find_stale
from sweep.report.upload import is_uploaded
from sweep.track.runs import read_study
from tests.studies import FILES, ROOT, fake_sweep


@pytest.fixture(scope="module")
def swept(new_runs):
    runs = new_runs()
    fake_sweep(runs, files=FILES)
    return runs


def report(runs, study_file, **environment):
    command = [sys.executable, "-m", "sweep", "report", str(study_file), "--runs-dir", str(runs.root)]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.slow
def test_a_report_whose_reader_has_left_is_written_and_shown_in_mlflow_without_a_word(swept, study_file):
    process = report(swept, study_file)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0
    conclusion = conclude(read_study(swept, "tiny"))
    assert find_stale(conclusion) == []
    assert is_uploaded(conclusion)


@pytest.mark.slow
def test_a_report_that_cannot_be_printed_is_written_first(swept, study_file):
    shutil.rmtree(swept.reports("tiny"), ignore_errors=True)
    with open("/dev/full", "wb") as full:  # every write fails: no space left
        command = [sys.executable, "-m", "sweep", "report", str(study_file), "--runs-dir", str(swept.root)]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 4
    assert done.stderr.startswith(b"error: [Errno 28] No space left on device")
    assert find_stale(conclude(read_study(swept, "tiny"))) == []


@pytest.mark.slow
def test_characters_that_the_encoding_lacks_are_question_marks_on_stdout_and_whole_in_the_files(swept, study_file):
    process = report(swept, study_file, PYTHONIOENCODING="ascii")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert b" ? 0." in out
    assert " ± 0." in (swept.reports("tiny") / NAMES[0]).read_text(encoding="utf-8")


def test_what_is_said_after_the_reader_has_left_is_lost_and_nothing_else():
    code = """
import sys
from sweep.cli.stdout import say
for n in range(3):
    say("a line", "another")
print("done", file=sys.stderr)
"""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"done\n")


def test_lines_are_printed_one_below_the_other(capsys):
    say("one", "two")
    say("three", end="")
    assert capsys.readouterr().out == "one\ntwo\nthree"
