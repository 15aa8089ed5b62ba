"""Runs sweeps as processes, in a folder, and keeps what they said: the history that the checker holds them to."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from sweep.layout import RunsDir
from tests import support

TIMEOUT_S = 60  # a command that takes longer hangs

# Chance decides the configs, so that every order of events ends with the same ones.
STUDY = support.STUDY.replace("trials = 4\n", 'trials = 5\nsampler = "random"\n')


@dataclass
class Sweep:
    """One study in one folder, run by as many commands as it takes."""

    folder: Path
    history: list[str] = field(default_factory=list)  # stderr of each command, in order

    @classmethod
    def new(cls, folder: Path, migrated: RunsDir) -> "Sweep":
        folder.mkdir(parents=True)
        support.write_tiny_data(folder)
        (folder / "tiny.toml").write_text(STUDY)
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
            cwd=support.ROOT,
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
