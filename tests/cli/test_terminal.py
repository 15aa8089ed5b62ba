"""Nothing that a user's text holds reaches the terminal as a code or as markup."""

import os
import pty
import subprocess
import sys

import pytest

from sweep.cli.commands import main
from sweep.layout import RunsDir
from tests.studies import FILES, ROOT, copied, fake_sweep

RED = "\x1b[31m"


@pytest.fixture(scope="module")
def swept(new_runs):
    runs = new_runs()
    fake_sweep(runs, files=FILES)
    return runs


def on_terminal(code):
    """Run Python with a terminal as its stdout and stderr; return what the terminal got."""
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=end, stderr=end)
    os.close(end)
    got = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert done.returncode == 0, got
    return got


def test_an_error_is_one_line_without_codes(tmp_path, capsys):
    path = tmp_path / f"{RED}a\x07\nb\r[bold].toml"
    assert main(["report", str(path)]) == 2
    err = capsys.readouterr().err
    assert r"\x1b[31ma\x07 b [bold].toml: cannot be read" in err
    assert err.isascii()
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_names_of_columns_in_an_error_are_one_line_without_codes(tmp_path, capsys):
    (tmp_path / "a.csv").write_text(f'"x\n{RED}[/]",y\n1,2\n', encoding="utf-8")
    study = tmp_path / "a.toml"
    study.write_text(
        'name = "a"\nseed = 1\n[data]\nsource = "a.csv"\nlabel = "z"\nvalidation_rows = 2\n[training]\nmax_epochs = 1\n'
        "[space]\nhidden_layers = 1\nunits = 8\nbatch_size = 32\n[search]\ntrials = 1\n",
        encoding="utf-8",
    )
    assert main(["run", str(study), "--runs-dir", str(tmp_path / "mlruns")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "'z' is not one of its columns" in line
    assert r"\x1b[31m[/]" in line


def test_a_path_that_looks_like_markup_is_printed_as_it_is(swept, study_file, tmp_path, capsys):
    runs = RunsDir(copied(swept, tmp_path / f"[bold]a[/] :cat: {RED}").root)
    assert main(["report", str(study_file), "--runs-dir", str(runs.root)]) == 0
    out = capsys.readouterr().out
    assert r"[bold]a[/] :cat: \x1b[31m/mlruns/reports/tiny/conclusion.md" in out
    assert "\x1b" not in out


def test_data_on_a_terminal_holds_no_codes_and_elsewhere_stays_as_it_is(capsys):
    code = r"from sweep.cli.stdout import say; say('0,\x1b[31mred\n1,größe\n', end='')"
    assert on_terminal(code) == "0,\\x1b[31mred\r\n1,größe\r\n"
    piped = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert piped.stdout.decode() == "0,\x1b[31mred\n1,größe\n"


@pytest.mark.parametrize("where", ["a terminal", "a file"])
def test_a_log_line_is_one_line_without_codes(where):
    code = (
        "import logging; from sweep.conduct.log import set_up_logging; set_up_logging(); "
        r"logging.getLogger('sweep').warning('%s', 'a\x1b[31m\nb [/] :cat: 50%')"
    )
    if where == "a terminal":
        got = on_terminal(code)
    else:
        got = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).stderr.decode()
    assert r"a\x1b[31m\nb [/] :cat: 50%" in got
    assert "\x1b[31m" not in got
    assert got.count("\n") == 1


def test_verify_prints_no_codes_of_a_bundle(tmp_path):
    folder = tmp_path / f"{RED}bundle"
    folder.mkdir()
    (folder / "verify.py").write_bytes((ROOT / "sweep" / "champion" / "verify.py").read_bytes())
    done = subprocess.run([sys.executable, str(folder / "verify.py")], capture_output=True)
    assert done.returncode == 1
    assert b"\\x1b[31mbundle/SHA256SUMS: cannot be read" in done.stdout
    assert b"\x1b" not in done.stdout
