"""Runs sweeps as processes, in a folder, and keeps what they said: the history that the checker holds them to."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from sweep.layout import RunsDir
from tests.support import write_tiny_data

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60  # a command that takes longer hangs

# Chance decides the configs, so that every order of events ends with the same ones.
STUDY = """
name = "tiny"
seed = 7

[data]
source = "tiny.npz"
validation_rows = 100

[space]
hidden_layers = {choice = [1, 2]}
units = {int = [4, 32]}
dropout = {float = [0.0, 0.5]}
batch_size = {choice = [32, 64]}

[training]
max_epochs = 4

[search]
trials = 5
workers = 2
sampler = "random"
pruner = {kind = "halving", rungs = [1, 2], reduction_factor = 3}

[confirmation]
replicates = 2

[[baselines]]
name = "by hand"
units = [16, 8]
dropout = 0.5
batch_size = 64
"""


@dataclass
class Sweep:
    """One study in one folder, run by as many commands as it takes."""

    folder: Path
    history: list[str] = field(default_factory=list)  # stderr of each command, in order

    @classmethod
    def new(cls, folder: Path, migrated: RunsDir, study: str = STUDY) -> "Sweep":
        folder.mkdir(parents=True)
        write_tiny_data(folder)
        (folder / "tiny.toml").write_text(study)
        shutil.copytree(migrated.root, folder / "mlruns")
        return cls(folder)

    @property
    def runs(self) -> RunsDir:
        return RunsDir(self.folder / "mlruns")

    @property
    def mark(self) -> Path:
        return self.folder / "failpoint-acted"

    def start(
        self, command: str = "run", *options: str, module: str = "tests.faults.sweep_process", **environment: str
    ) -> "subprocess.Popen[str]":
        """The command as a process, the leader of its own group; by default with workers that train nothing."""
        arguments = [command, str(self.folder / "tiny.toml"), "--runs-dir", str(self.runs.root), *options]
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, "SWEEP_FAILPOINT_MARK": str(self.mark), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, process: "subprocess.Popen[str]") -> int:
        """Wait for a started command, and keep what it said; its exit code."""
        _, said = process.communicate(timeout=TIMEOUT_S)
        self.history.append(said)
        return process.returncode

    def run(self, command: str = "run", *options: str, **settings: str) -> int:
        """Start it with `settings`, which are those of `start`, and wait for its end."""
        return self.finish(self.start(command, *options, **settings))

    def kill_at(self, point: str, hit: int = 1, action: str = "kill") -> int:
        """Run it with a failpoint armed; its exit code."""
        self.mark.unlink(missing_ok=True)
        return self.run(SWEEP_FAILPOINT=f"{point}:{hit}:{action}")

    @property
    def acknowledged(self) -> list[tuple[str, str]]:
        """What the commands said has ended: a trial's label and its state."""
        lines = (line for said in self.history for line in said.splitlines())
        found = (
            re.search(r"\d\d:\d\d:\d\d (?:trial|replicate) (.+?): (complete|pruned|failed)\b", line) for line in lines
        )
        return [(match[1], match[2]) for match in found if match]
