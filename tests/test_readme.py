"""The README's commands exist, and its file map names every file."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from sweep.cli.commands import main
from sweep.study.file import parse_study
from tests.studies import tiny_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip() for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()
]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make")])
def test_every_make_command_has_its_target_and_study(command):
    done = subprocess.run(["make", "--dry-run", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for study in re.findall(r"STUDY=(\S+)", command):
        assert (ROOT / study).is_file()


@pytest.mark.parametrize("command", [c for c in COMMANDS if "-m sweep" in c])
def test_every_sweep_command_parses(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*shlex.split(command.split("-m sweep", 1)[1]), "--help"])
    assert end.value.code == 0


def test_the_commands_are_all_of_a_known_kind():
    assert COMMANDS
    assert all(command.startswith("make") or "-m sweep" in command for command in COMMANDS)


def test_bare_make_lists_every_target():
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "sweep", "report", "export", "ui", "test", "check", "clean"):
        assert f"make {target} " in listed


def test_the_file_map_names_every_file_once():
    rooms = {str(p.relative_to(ROOT)) for p in (ROOT / "sweep").rglob("*.py") if p.name != "__init__.py"}
    named = re.findall(r"^\| `(sweep/\S+\.py)` \|", README, re.M)
    assert sorted(named) == sorted(rooms)


def test_the_example_of_a_space_is_one():

    [example] = [block for block in re.findall(r"```toml\n(.*?)```", README, re.S) if "[space]" in block]
    parse_study(tiny_table(**tomllib.loads(example)), "README.md")


def test_dependencies_are_named_with_their_reason():

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    table = README.split("## Dependencies")[1]
    for requirement in wanted:
        assert re.match(r"[a-z-]+", requirement)[0] in table
