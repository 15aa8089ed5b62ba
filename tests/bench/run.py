"""Run one contender once, as a process of its own, and keep what it left."""

import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.configs import ConfigTable
from tests.bench.contender import Stamps
from tests.bench.measure import Measured, measure
from tests.bench.summary import Figures, figures

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


@dataclass(frozen=True)
class Outcome:
    """One run of one contender: what was measured from outside, what it stamped, and the figures that follow."""

    contender: str
    measured: Measured
    trials: list[Stamps]
    figures: Figures

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def run(contender: str, configs: list[ConfigTable], epochs: int, n_workers: int) -> Outcome:
    """Run `contender` in an empty folder, which is removed afterwards. Raises ContenderFailed."""
    log = RESULTS / "logs" / f"{contender}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{contender}-", dir=RESULTS))
    try:
        (folder / "configs.json").write_text(json.dumps(configs))
        options = {
            "configs": folder / "configs.json",
            "epochs": epochs,
            "workers": n_workers,
            "folder": folder / "work",
            "out": folder / "out.json",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        measured = measure([sys.executable, "-m", MODULES[contender], *arguments], log, os.environ | ENVIRONMENT)
        if measured.exit_code:
            raise ContenderFailed(contender, measured.exit_code, log)
        out = json.loads((folder / "out.json").read_text())
    finally:
        shutil.rmtree(folder)
    trials = [Stamps(**row) for row in out["trials"]]
    if sorted((t.config, len(t.epoch_ended_at)) for t in trials) != [(i, epochs) for i in range(len(configs))]:
        raise ContenderFailed(contender, measured.exit_code, log)
    return Outcome(contender, measured, trials, figures(trials, out["n_workers"], measured, configs, epochs))
