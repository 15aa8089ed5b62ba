"""Runs sweeps as processes, in a folder, and keeps what they said: the history that the checker holds them to."""

import multiprocessing
import os
import re
import shutil
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from sweep.layout import RunsDir
from sweep.record_server import RecordServer
from tests import studies
from tests.faults.sweep_process import run_command
from tests.postgres import whole_address

TIMEOUT_S = 60  # a command that takes longer hangs
TRAINING_TIMEOUT_S = 300  # one that trains: its workers, what scores and what exports each import TensorFlow

# Chance decides the configs, so that every order of events ends with the same ones.
STUDY = studies.STUDY.replace("trials = 4\n", 'trials = 5\nsampler = "random"\n')
# One worker, so that what a search by probes proposes is the same each time.
PROBING = studies.STUDY.replace("trials = 4\nworkers = 2\n", "trials = 5\nworkers = 1\n").replace(studies.PRUNER, "")

_commands = multiprocessing.get_context("forkserver")
_commands.set_forkserver_preload(["tests.faults.preloaded"])


@dataclass
class Sweep:
    """One study in one folder, run by as many commands as it takes."""

    folder: Path
    history: list[str] = field(default_factory=list)  # stderr of each command, in order
    timeout_s: float = TIMEOUT_S  # of the command that was started last
    record: RecordServer | None = None  # None for optuna.db

    @classmethod
    def new(
        cls,
        folder: Path,
        migrated: RunsDir,
        engine: str = "graph",
        study: str = STUDY,
        record: RecordServer | None = None,
    ) -> "Sweep":
        folder.mkdir(parents=True)
        studies.write_tiny_data(folder)
        (folder / "tiny.toml").write_text(study.replace("trials = 5\n", f'trials = 5\nengine = "{engine}"\n'))
        shutil.copytree(migrated.root, folder / "mlruns")
        if record is not None:
            (folder / "mlruns" / "optuna.db").unlink()
        return cls(folder, record=record)

    @property
    def runs(self) -> RunsDir:
        return RunsDir(self.folder / "mlruns", record_server=self.record)

    @property
    def mark(self) -> Path:
        return self.folder / "failpoint-acted"

    @property
    def said(self) -> str:
        """What the last command wrote to stderr, so far."""
        return self._said.read_text()

    @property
    def printed(self) -> str:
        """What the last command wrote to stdout, so far."""
        return self._printed.read_text()

    def start(
        self, command: str = "run", *options: str, is_training: bool = False, **environment: str
    ) -> ForkServerProcess:
        """The command as a process, the leader of its own group; with workers that train nothing, unless `is_training`."""
        self._said.touch()
        self.timeout_s = TRAINING_TIMEOUT_S if is_training else TIMEOUT_S
        arguments = [command, str(self.folder / "tiny.toml"), "--runs-dir", str(self.runs.root), *options]
        where = {} if self.record is None else {"SWEEP_RECORD": whole_address(self.record)}
        environment = {"SWEEP_FAILPOINT_MARK": str(self.mark), **where, **environment}
        process = _commands.Process(
            target=run_command, args=(arguments, environment, self._printed, self._said, is_training)
        )
        process.start()
        return process

    def finish(self, process: ForkServerProcess) -> int:
        """Wait for a started command, and keep what it said; its exit code."""
        process.join(self.timeout_s)
        if process.exitcode is None:
            os.kill(process.pid or 0, 9)
        self.history.append(self.said)
        assert process.exitcode is not None, f"it hangs:\n{self.said}"
        return process.exitcode

    def run(self, command: str = "run", *options: str, is_training: bool = False, **environment: str) -> int:
        """Start it, and wait for its end; its exit code."""
        return self.finish(self.start(command, *options, is_training=is_training, **environment))

    def act_at(self, point: str, hit: int = 1, action: str = "kill", **environment: str) -> int:
        """Run it with a failpoint armed; its exit code."""
        self.mark.unlink(missing_ok=True)
        return self.run(SWEEP_FAILPOINT=f"{point}:{hit}:{action}", **environment)

    @property
    def acknowledged(self) -> list[tuple[str, str]]:
        """What the commands said has ended: a trial's label and its state."""
        lines = (line for said in self.history for line in said.splitlines())
        found = (
            re.search(r"\d\d:\d\d:\d\d (?:trial|replicate) (.+?): (complete|pruned|failed)\b", line) for line in lines
        )
        return [(match[1], match[2]) for match in found if match]

    def beside(self, name: str) -> "Sweep":
        """The same study in the same folders, for a second command at a time, whose words are kept apart."""
        return Beside(self.folder, record=self.record, name=name)

    @property
    def _printed(self) -> Path:
        return self.folder / "stdout"

    @property
    def _said(self) -> Path:
        return self.folder / "stderr"


@dataclass
class Beside(Sweep):
    """A second command on the same study."""

    name: str = ""
    started: list[ForkServerProcess] = field(default_factory=list)

    def start(self, *arguments: str, is_training: bool = False, **environment: str) -> ForkServerProcess:
        process = super().start(*arguments, is_training=is_training, **environment)
        self.started.append(process)
        return process

    @property
    def _printed(self) -> Path:
        return self.folder / f"stdout-{self.name}"

    @property
    def _said(self) -> Path:
        return self.folder / f"stderr-{self.name}"
