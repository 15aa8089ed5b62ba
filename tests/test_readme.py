"""Hold every README to the code: its commands, links, pictures, examples and figures."""

import re
import shlex
import signal
import subprocess
import tomllib
from pathlib import Path

import pytest

from sweep.cli.commands import main
from sweep.data.files import check_rows, read
from sweep.errors import SweepError
from sweep.study.file import load_study, parse_study
from tests.faults import test_attempts, test_delete, test_failpoints, test_kills, test_mutations
from tests.studies import ROOT, tiny_table

PATHS = [
    *(ROOT / folder / "README.md" for folder in (".", "studies", "mlruns")),  # what runs write below mlruns is not ours
    *(ROOT / "sweep").rglob("README.md"),
    *(path for path in (ROOT / "tests").rglob("README.md") if not {".site", "results"} & set(path.parts)),
]
READMES = {str(path.relative_to(ROOT)): path.read_text() for path in PATHS}
TOP = READMES["README.md"]
MAX_WORDS = 1000  # of the top README: three minutes


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def prose(text: str) -> str:
    """A README without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)


def commands(text: str) -> list[str]:
    """Commands in blocks of shell, and those within a line of prose; without their comments and settings."""
    typed = [line.split("#")[0].strip() for block in blocks(text, "sh") for line in block.splitlines()]
    typed += re.findall(r"`((?:make|python -m) [^`]+)`", prose(text))
    return [re.sub(r"^(?:[A-Z_]+=\S+ )+", "", command) for command in typed if command]


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(text), re.M)}


def in_all(find) -> list:
    """Each thing that `find` sees in a README, with the README's name, as cases of a test."""
    return [pytest.param(name, thing, id=f"{name}: {thing}") for name, text in READMES.items() for thing in find(text)]


def test_every_folder_that_the_top_readme_maps_has_a_readme():
    assert {"studies/README.md", "sweep/README.md", "tests/README.md", "mlruns/README.md"} <= READMES.keys()


# Commands


@pytest.mark.parametrize(("readme", "command"), in_all(lambda text: dict.fromkeys(commands(text))))
def test_every_command_exists(readme, command, capsys):
    match shlex.split(command):
        case ["make", *arguments]:
            check_make(arguments)
        case [".venv/bin/python" | "python", "-m", "sweep", *arguments]:
            with pytest.raises(SystemExit) as end:
                main([*arguments, "--help"])
            assert end.value.code == 0
            check_options(arguments, (ROOT / "sweep/cli/arguments.py").read_text())
        case [".venv/bin/python" | "python", "-m", "pytest", *paths]:
            assert all((ROOT / path).exists() for path in paths)
        case [".venv/bin/python", "-m", "pip", "install", *arguments]:
            check_pip(arguments)
        case [".venv/bin/python" | "python", "-m", module, *arguments] if module.startswith("tests."):
            folder = ROOT / module.replace(".", "/")
            check_options(arguments, folder.with_suffix(".py").read_text())
        case ["python", script, "DATA.npz"]:
            assert (ROOT / readme).with_name(script).is_file()
        case ["createuser" | "createdb", *_] | ["mlflow", "server", *_] | ["export", _]:
            pass  # of a server that others run
        case ["sha256sum", "--check", sums]:
            assert sums in prose(READMES[readme])
        case _:
            pytest.fail(f"a command of an unknown kind: {command}")


def check_make(arguments: list[str]) -> None:
    done = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for study in re.findall(r"STUDY=(studies/\S+)", " ".join(arguments)):
        assert (ROOT / study).is_file()


def check_options(arguments: list[str], source: str) -> None:
    for option in arguments:
        assert not option.startswith("--") or f'"{option}"' in source


def check_pip(arguments: list[str]) -> None:
    """What is installed is pinned as the project pins it: by a file, or as one of its requirements."""
    named = [argument for argument in arguments if argument.endswith(".lock") or "==" in argument]
    assert named
    for argument in named:
        requirement = re.sub(r"\[.*\]", "", argument)
        assert (ROOT / argument).is_file() or f'"{requirement}"' in (ROOT / "pyproject.toml").read_text()


def test_the_first_command_is_the_quick_study():
    assert commands(TOP)[0] == "make sweep STUDY=studies/quick.toml"


@pytest.mark.parametrize("variable", ["study=studies/quick.toml", "check=1"])
def test_a_variable_in_small_letters_starts_nothing(variable):
    done = subprocess.run(["make", "--dry-run", "sweep", variable], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"{variable}: write the name in capital letters" in done.stderr
    assert "sweep run" not in done.stdout


def test_bare_make_lists_every_target():
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "sweep", "report", "export", "ui", "test", "check", "clean"):
        assert f"make {target} " in listed


# Links, pictures, paths


@pytest.mark.parametrize(
    ("readme", "target"), in_all(lambda text: dict.fromkeys(re.findall(r"\]\(([^)\s]+)\)", prose(text))))
)
def test_every_link_leads_somewhere(readme, target):
    if target.startswith("https://"):
        return
    path, _, anchor = target.partition("#")
    there = ((ROOT / readme).parent / path).resolve() if path else ROOT / readme
    assert there.exists()
    assert there.is_relative_to(ROOT)
    if anchor:
        assert anchor in anchors(there.read_text())


@pytest.mark.parametrize(
    ("readme", "path"),
    in_all(lambda text: dict.fromkeys(re.findall(r"`((?:sweep|studies|tests|\.ci)/[\w./-]*)`", prose(text)))),
)
def test_every_path_that_is_named_exists(readme, path):
    assert (ROOT / path).exists() or path.startswith("tests/bench/results/")


@pytest.mark.parametrize("picture", sorted((ROOT / "studies").glob("*.png")), ids=lambda path: path.name)
def test_every_picture_is_shown_once(picture):
    shown = [
        (ROOT / name).parent / path for name, text in READMES.items() for path in re.findall(r"!\[.+?\]\((.+?)\)", text)
    ]
    assert [path.resolve() for path in shown].count(picture) == 1


def test_every_folder_of_the_code_with_a_readme_is_linked_from_that_of_the_code():
    for name in READMES:
        if re.fullmatch(r"sweep/.+/README\.md", name):
            assert f"]({name.removeprefix('sweep/')})" in READMES["sweep/README.md"]


# Examples


@pytest.mark.parametrize(("readme", "example"), in_all(lambda text: blocks(text, "toml")))
def test_every_example_of_a_study_is_one(readme, example):
    parse_study(tiny_table(**tomllib.loads(example)), readme)


def test_the_example_of_own_data_is_one_that_a_sweep_can_start_on(tmp_path, monkeypatch):
    text = READMES["studies/README.md"].split("## The space")[0]
    [code], [study_file] = blocks(text, "python"), blocks(text, "toml")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    Path("digits.toml").write_text(study_file)
    study, _ = load_study(tmp_path / "digits.toml")
    data = read(study.data, tmp_path)
    check_rows(data, study.data)
    assert f"of {len(data.x_train):,} small images" in " ".join(text.split())


# Figures


def test_the_top_readme_is_read_in_three_minutes():
    assert len(TOP.split()) <= MAX_WORDS


def test_every_figure_of_the_top_readme_stands_in_one_of_those_below():
    below = "\n".join(text for name, text in READMES.items() if name != "README.md")
    figures = set(re.findall(r"\d+\.\d+", TOP)) - {"3.11", "2.0", "3.0"}  # of Python and of licences
    assert figures
    assert {figure for figure in figures if figure not in below} == set()


def test_exit_codes_are_those_of_the_errors():
    def below(error: type[SweepError]) -> set[int]:
        return {error.exit_code}.union(*(below(kind) for kind in error.__subclasses__()))

    table = READMES["sweep/README.md"].split("## Exit codes")[1].split("\n## ")[0]
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.M)}
    assert codes == {0, 128 + signal.SIGTERM} | below(SweepError)


def test_the_fault_battery_is_as_large_as_its_readme_says():
    text = READMES["tests/faults/README.md"]
    points, again = test_failpoints.POINTS, set(test_failpoints.POINTS) - test_failpoints.AT_MOST_TWICE
    short = len(test_failpoints.SHORT)
    kills = f"{len(test_failpoints.KILLS) - short}, {short} more in `make test`; {len(again)} at a later hit"
    assert f"each of {len(points)} named points" in text
    assert f"| {kills} |" in text
    n_points = len(test_delete.POINTS)
    assert f"each of {n_points} points of a deletion, at its first hit and its second | {2 * n_points} |" in text
    assert f"at each of those points | {n_points} |" in text
    assert f"pairs of points | {len(test_failpoints.PAIRS)} |" in text
    assert f"a test fails | {len(test_mutations.MUTATIONS)} |" in text
    assert f"[below](#what-others-may-hand-over)) | {test_attempts.N_ATTEMPTS} |" in text
    assert f"at random moments | {test_kills.N_KILLS}; {test_kills.N_COHORT_KILLS} of sweeps in cohorts" in text


def test_every_dependency_has_its_reason_beside_it():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    requirements = [line for line in lines if re.match(r'    "[\w-]+[>=]=', line)]
    project = tomllib.loads("\n".join(lines))["project"]
    extras = project["optional-dependencies"].values()
    assert len(requirements) == len(project["dependencies"]) + sum(map(len, extras))
    assert all("# " in line for line in requirements)
