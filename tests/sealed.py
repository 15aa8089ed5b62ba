"""Run a command in an empty home, temporary and working folder, in a network of its own that records who is looked up.

`python -m tests.sealed FILE COMMAND...` is the inner half, in namespaces that `unshare` made: a resolver on loopback, the only
one there, refuses every name and writes it to FILE. What a library looks up by itself, in C too, is seen.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]  # nothing of ours is imported: it would settle the environment of the command

UNSHARE = ["unshare", "--map-root-user", "--net", "--mount"]
REFUSED = b"\x81\x85"  # flags of an answer of DNS


def can_seal() -> bool:
    """Return whether this machine lets us make namespaces."""
    try:
        return subprocess.run([*UNSHARE, "mount", "--bind", "/etc/hostname", "/etc/resolv.conf"]).returncode == 0
    except OSError:
        return False


@dataclass(frozen=True)
class Place:
    """Folders that a command is given, all empty at first."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    def make(self) -> "Place":
        for folder in (self.home, self.work, self.scratch):
            folder.mkdir(parents=True)
        return self

    def run(self, *command: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
        """Run a command here; return it and the names that were looked up."""
        names = self.root / "names"
        environment = {
            "HOME": str(self.home),
            "TMPDIR": str(self.scratch),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [*UNSHARE, sys.executable, "-m", "tests.sealed", str(names), *command],
            cwd=self.work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
        )
        return done, set(names.read_text().split())

    def list_written(self) -> set[str]:
        """List the files in the folders, by their paths from the place."""
        folders = (self.home, self.work, self.scratch)
        return {str(path.relative_to(self.root)) for folder in folders for path in folder.rglob("*") if path.is_file()}


def main(names: Path, command: list[str]) -> int:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.NamedTemporaryFile("w", dir=names.parent) as file:
        file.write("nameserver 127.0.0.1\noptions attempts:1 timeout:1\n")
        file.flush()
        subprocess.run(["mount", "--bind", file.name, "/etc/resolv.conf"], check=True)
        heard: list[str] = []
        resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        resolver.bind(("127.0.0.1", 53))
        threading.Thread(target=refuse_all, args=(resolver, heard), daemon=True).start()
        done = subprocess.run(command)
        names.write_text("\n".join(heard))
        return done.returncode


def refuse_all(resolver: socket.socket, heard: list[str]) -> None:
    while True:
        question, sender = resolver.recvfrom(4096)
        heard.append(read_name(question[12:]))
        resolver.sendto(question[:2] + REFUSED + question[4:], sender)


def read_name(question: bytes) -> str:
    labels = []
    while size := question[0]:
        labels.append(question[1 : 1 + size].decode("ascii", "replace"))
        question = question[1 + size :]
    return ".".join(labels)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
