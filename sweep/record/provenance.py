"""What a run was made with: code, libraries, machine."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("tensorflow", "keras", "optuna", "mlflow", "numpy", "pandas")


@cache  # asked for by what trains and by what tracks, and the same for as long as this process lives
def read_provenance() -> dict[str, str]:
    """Tags that say what this program is: git commit and dirty flag, library versions, Python and processor."""
    return {
        **_git(),
        **{f"version_{library}": version(library) for library in LIBRARIES},
        "version_python": platform.python_version(),
        "processor": _processor(),
    }


def _git() -> dict[str, str]:
    """`unknown` where the code is not a git checkout."""
    commit = _git_says("rev-parse", "HEAD")
    if commit is None:
        return {"git_commit": "unknown", "git_dirty": "unknown"}
    return {"git_commit": commit, "git_dirty": "true" if _git_says("status", "--porcelain") else "false"}


def _git_says(*arguments: str) -> str | None:
    try:
        here = Path(__file__).parent
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
