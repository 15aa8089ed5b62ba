"""Run one contender once, as a process of its own, and keep what it left."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from tests.bench.configs import ConfigTable
from tests.bench.contender import Stamps
from tests.bench.keras_tuner_loop import NOT_INSTALLED
from tests.bench.measure import Measured, measure
from tests.bench.summary import Figures, SearchFigures, figures, search_figures

RESULTS = Path(__file__).parent / "results"
MODULES = {
    "textbook": "tests.bench.textbook",
    "tuned": "tests.bench.tuned",
    "keras-tuner": "tests.bench.keras_tuner_loop",
    "ours": "tests.bench.ours",
}
ENVIRONMENT = {  # for all alike
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "MPLBACKEND": "agg",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONWARNINGS": "ignore",
}


class ContenderFailed(Exception):
    """A contender ended with another exit code than 0."""

    def __init__(self, contender: str, exit_code: int, log: Path) -> None:
        super().__init__(f"{contender} ended with exit code {exit_code}; see {log}")
        self.exit_code = exit_code


F = TypeVar("F", Figures, SearchFigures)


@dataclass(frozen=True)
class Outcome(Generic[F]):
    """One run of one contender: what was measured from outside, what it stamped, and the figures that follow."""

    contender: str
    measured: Measured
    trials: list[Stamps]
    figures: F

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def run(
    contender: str, configs: list[ConfigTable], epochs: int, n_workers: int, environment: dict[str, str] = ENVIRONMENT
) -> Outcome[Figures]:
    """Let `contender` train each config for `epochs`. Raises ContenderFailed."""
    measured, trials, n_at_once = _launch(contender, configs, epochs, 0, n_workers, environment)
    if sorted((t.config, len(t.epoch_ended_at)) for t in trials) != [(i, epochs) for i in range(len(configs))]:
        raise ContenderFailed(contender, measured.exit_code, _log(contender))
    return Outcome(contender, measured, trials, figures(trials, n_at_once, measured, configs, epochs))


def search(contender: str, n_trials: int, max_epochs: int, n_workers: int) -> Outcome[SearchFigures]:
    """Let `contender` search the space of `study.toml`. Raises ContenderFailed."""
    measured, trials, _ = _launch(contender, [], max_epochs, n_trials, n_workers, ENVIRONMENT)
    return Outcome(contender, measured, trials, search_figures(trials, measured))


def alternate(
    contenders: list[str], repeats: int, run: Callable[[str], Outcome[F]], say: Callable[[str], None]
) -> dict[str, list[Outcome[F]]]:
    """Run A B C D, A B C D, ...: what the machine does meanwhile meets all alike. One that is not installed is left out."""
    runs: dict[str, list[Outcome[F]]] = {contender: [] for contender in contenders}
    for repeat in range(1, repeats + 1):
        for contender in list(runs):
            try:
                outcome = run(contender)
            except ContenderFailed as error:
                if error.exit_code != NOT_INSTALLED:
                    raise
                say(f"{contender}: left out, it is not installed; see tests/bench/README.md")
                del runs[contender]
                continue
            runs[contender].append(outcome)
            say(f"repeat {repeat}, {contender}: {outcome.measured.wall_s:.0f} s")
    return runs


def _launch(
    contender: str,
    configs: list[ConfigTable],
    epochs: int,
    n_search: int,
    n_workers: int,
    environment: dict[str, str],
) -> tuple[Measured, list[Stamps], int]:
    """Run `contender` in an empty folder, which is removed afterwards."""
    log = _log(contender)
    log.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{contender}-", dir=RESULTS))
    try:
        (folder / "configs.json").write_text(json.dumps(configs))
        options = {
            "configs": folder / "configs.json",
            "epochs": epochs,
            "search": n_search,
            "workers": n_workers,
            "folder": folder / "work",
            "out": folder / "out.json",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        measured = measure([sys.executable, "-m", MODULES[contender], *arguments], log, os.environ | environment)
        if measured.exit_code:
            raise ContenderFailed(contender, measured.exit_code, log)
        out = json.loads((folder / "out.json").read_text())
    finally:
        shutil.rmtree(folder)
    return measured, [Stamps(**row) for row in out["trials"]], out["n_workers"]


def _log(contender: str) -> Path:
    return RESULTS / "logs" / f"{contender}.log"
