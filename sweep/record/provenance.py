"""Describe what a run was made with: code, libraries, machine."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("tensorflow", "keras", "optuna", "mlflow", "numpy", "pandas")


@cache  # both training and tracking ask for it, and it does not change while this process lives
def read_provenance() -> dict[str, str]:
    """Return tags for the git commit and dirty flag, the versions of libraries and Python, and the processor."""
    return {
        **_read_git(),
        **{f"version_{library}": version(library) for library in LIBRARIES},
        "version_python": platform.python_version(),
        "processor": _read_processor(),
    }


def _read_git() -> dict[str, str]:
    """Return the commit and the dirty flag, both `unknown` if the code is not a git checkout."""
    commit = _run_git("rev-parse", "HEAD")
    if commit is None:
        return {"git_commit": "unknown", "git_dirty": "unknown"}
    return {"git_commit": commit, "git_dirty": "true" if _run_git("status", "--porcelain") else "false"}


def _run_git(*arguments: str) -> str | None:
    try:
        here = Path(__file__).parent
        done = subprocess.run(
            ["git", *arguments],
            cwd=here,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
