"""The wheel holds all that sweep needs: it runs where there is no checkout."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.studies import ROOT

# MNIST comes from the wheel, as do the templates of the report's page and of the model card.
DIGITS = """
name = "digits"
seed = 1
data = {source = "mnist", validation_rows = 10000}
space = {hidden_layers = 1, units = 8, batch_size = 1024}
training = {max_epochs = 1}
search = {trials = 1, workers = 1}
confirmation = {replicates = 2}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install the wheel into a folder of its own, offline; return the folder."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "sweep", source / "sweep", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--target", target]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *options, source], check=True)
    return target


def run_installed(installed, folder, *arguments):
    """Run the installed command in a folder that holds no checkout; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-P", installed / "bin" / "sweep", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_installed_command_names_itself_and_its_version(installed, tmp_path):
    assert run_installed(installed, tmp_path, "--version") == "sweep 0.1.0\n"
    assert run_installed(installed, tmp_path, "--help").startswith("usage: sweep ")


@pytest.mark.slow
def test_the_installed_command_runs_a_study_from_data_to_report_and_bundle(installed, tmp_path):
    (tmp_path / "digits.toml").write_text(DIGITS)
    printed = run_installed(installed, tmp_path, "run", "digits.toml")
    assert "Registered: models:/digits/1" in printed
    assert (tmp_path / "mlruns" / "reports" / "digits" / "report.html").exists()
    assert (tmp_path / "mlruns" / "exports" / "digits" / "README.md").exists()
