"""A study deleted: what goes, what stays, what is asked, and what is refused."""

import io
import os
import re
import shlex
import subprocess
import sys
from shutil import rmtree as remove_tree

import pytest

import sweep.removal
from sweep.cli.arguments import parse
from sweep.cli.commands import main
from sweep.cli.jobs import open_job
from sweep.durable.lock import hold
from sweep.errors import LostExperimentError, MissingRunsError, TrackingError
from sweep.record.results import DELETING, LOCK
from sweep.removal import delete_study, find_belongings
from sweep.track.client import open_client
from sweep.track.runs import read_study
from tests.bundles import sweep_by_hand
from tests.champions import champion_handed_on
from tests.studies import FILES, fake_sweep, tiny_table


def delete(runs, *options, name="tiny"):
    return main(["delete", name, "--runs-dir", str(runs.root), *options])


def test_a_study_is_removed_everywhere_and_others_stay(runs, capsys):
    fake_sweep(runs, files=FILES)
    fake_sweep(runs, {**tiny_table(), "name": "tiny.2"}, files=FILES)
    champion_handed_on(runs)
    before = find_belongings(runs, "tiny.2", with_exports=True)
    assert delete(runs, "--yes", "--exports") == 0
    said = capsys.readouterr().out
    assert "runs and 1 model versions deleted in" in said
    assert "What stays: " in said
    with pytest.raises(MissingRunsError, match="holds nothing of a study 'tiny'"):
        find_belongings(runs, "tiny", with_exports=True)
    assert find_belongings(runs, "tiny.2", with_exports=True) == before
    fake_sweep(runs, files=FILES)  # starts anew


def test_exports_stay_unless_they_are_asked_for(runs, capsys):
    fake_sweep(runs, files=FILES)
    champion_handed_on(runs)
    assert delete(runs, "--yes") == 0
    assert (runs.exports("tiny") / "README.md").exists()
    assert f"{runs.exports('tiny')} (--exports deletes it too)" in capsys.readouterr().out


def test_a_bundle_is_whole_or_gone_where_its_deletion_is_cut_off(runs, monkeypatch):
    fake_sweep(runs, files=FILES)
    champion_handed_on(runs)
    seen = []

    def removed(folder):
        seen.append(runs.exports("tiny").exists())
        remove_tree(folder)
        if folder.parent == runs.all_exports:
            raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(sweep.removal.shutil, "rmtree", removed)
        with pytest.raises(KeyboardInterrupt):
            delete_study(runs, "tiny", True, print)
    assert not runs.exports("tiny").exists()
    assert not seen[-1], "its files went while it had its name"
    runs.deleted_exports("tiny").mkdir()  # of a cut among its files
    assert delete(runs, "--yes") == 0
    assert [path.name for path in runs.all_exports.iterdir()] == [LOCK]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("answer", "is_deleted"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_it_asks_and_takes_nothing_but_yes_for_yes(runs, monkeypatch, capsys, answer, is_deleted):
    fake_sweep(runs, files=FILES)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert delete(runs) == 0
    said = capsys.readouterr().out
    assert "Delete tiny? [y/N]" in said
    assert ("Nothing was deleted." in said) != is_deleted
    assert runs.results("tiny").exists() != is_deleted


def test_without_a_terminal_it_wants_yes(runs, monkeypatch, capsys):
    fake_sweep(runs, files=FILES)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert delete(runs) == 2
    assert capsys.readouterr().err == (
        "error: delete asks first, and there is no terminal to ask at; --yes deletes without asking\n"
    )
    assert runs.results("tiny").exists()


@pytest.mark.parametrize("name", ["../tiny", "/etc", "", ".", "..", "a/b", "Tiny", "none.toml/x"])
def test_what_is_no_name_of_a_study_is_refused(runs, capsys, name):
    assert delete(runs, "--yes", name=name) == 2
    assert f"error: delete {name}: no name of a study" in capsys.readouterr().err


def test_a_study_is_named_by_its_file_too(runs, study_file, capsys):
    fake_sweep(runs, files=FILES)
    assert delete(runs, "--yes", name=str(study_file)) == 0
    assert delete(runs, "--yes", name=str(study_file)) == 1
    assert "holds nothing of a study 'tiny'" in capsys.readouterr().err


def test_a_study_at_work_is_not_deleted(runs, capsys):
    fake_sweep(runs, files=FILES)
    with hold(runs.results("tiny") / LOCK):
        assert delete(runs, "--yes") == 1
    assert "another sweep is at work on this study" in capsys.readouterr().err
    assert not (runs.results("tiny") / DELETING).exists()


def test_an_experiment_that_was_deleted_in_mlflow_is_named_by_every_command_and_deleted_by_ours(
    runs, study_file, capsys
):
    sweep_by_hand(runs, tiny_table(), study_file.parent)
    client = open_client(runs)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    client.delete_experiment(experiment)
    for said in said_by_every_command(runs, study_file, capsys):
        assert "the experiment 'tiny' was deleted there; bring it back with" in said
        assert f"python -m mlflow experiments restore --experiment-id {experiment}`" in said
        assert f"or start over with `python -m sweep delete tiny --runs-dir {runs.root}`" in said
    assert main(["doctor", str(study_file), "--runs-dir", str(runs.root), "--fix"]) == 1
    assert delete(runs, "--yes") == 0
    fake_sweep(runs, files=FILES)


def said_by_every_command(runs, study_file, capsys):
    """What each command says that cannot go on without MLflow's experiment; `run` trains first."""
    with pytest.raises(TrackingError) as told:
        fake_sweep(
            runs, files=FILES, facts=open_job(parse(["sync", str(study_file), "--runs-dir", str(runs.root)])).data.facts
        )
    yield str(told.value)
    for command, code in (("sync", 3), ("report", 3), ("export", 3), ("doctor", 1), ("compare", 3)):
        assert main([command, str(study_file), "--runs-dir", str(runs.root)]) == code, command
        yield "".join(capsys.readouterr())


def follow(way_out, said):
    """Give the command of MLflow that a message names."""
    where, _, _, *arguments = shlex.split(re.search(rf"`([^`]* {way_out} [^`]*)`", said)[1])
    environment = dict([where.split("=", 1)], MLFLOW_DISABLE_TELEMETRY="true")
    command = [sys.executable, "-m", *arguments]
    subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=True)


@pytest.mark.slow  # MLflow's command line takes seconds to load
def test_the_commands_that_are_named_bring_a_deleted_and_renamed_experiment_back(runs):
    fake_sweep(runs, files=FILES)
    client, before = open_client(runs), read_study(runs, "tiny")
    experiment = client.get_experiment_by_name("tiny").experiment_id
    client.rename_experiment(experiment, "other")
    with pytest.raises(LostExperimentError) as told:
        read_study(runs, "tiny")
    follow("rename", str(told.value))
    client.delete_experiment(experiment)
    with pytest.raises(LostExperimentError) as told:
        read_study(runs, "tiny")
    follow("restore", str(told.value))
    assert read_study(runs, "tiny").trials == before.trials


def test_an_experiment_that_was_renamed_in_mlflow_is_named_by_every_command_and_keeps_its_files(
    runs, study_file, capsys
):
    sweep_by_hand(runs, tiny_table(), study_file.parent)
    client = open_client(runs)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    client.rename_experiment(experiment, "other")
    for said in said_by_every_command(runs, study_file, capsys):
        assert (
            "the experiment 'tiny' was renamed 'other' there; delete that one there, or give it its name back" in said
        )
    n_files = len(list(runs.artifacts("tiny").rglob("*")))
    assert delete(runs, "--yes") == 3
    assert "was renamed 'other' there" in capsys.readouterr().err
    assert len(list(runs.artifacts("tiny").rglob("*"))) == n_files
    assert client.get_experiment_by_name("tiny") is None


def test_a_run_that_is_not_ours_keeps_its_experiment(runs, capsys):
    fake_sweep(runs, files=FILES)
    client = open_client(runs)
    run = client.create_run(client.get_experiment_by_name("tiny").experiment_id)
    assert delete(runs, "--yes") == 3
    assert f"run {run.info.run_id} of experiment 'tiny' was not made by this program" in capsys.readouterr().err
    assert runs.results("tiny").exists()
    assert not (runs.results("tiny") / DELETING).exists()


def test_a_model_that_was_registered_under_another_name_keeps_its_files(runs, capsys):
    fake_sweep(runs, files=FILES)
    champion_handed_on(runs)
    open_client(runs).rename_registered_model("tiny", "in-use")
    assert delete(runs, "--yes") == 3
    assert (
        "version 1 of the registered model 'in-use' is a model of study 'tiny', whose files would go; "
        "delete it there, or name its model 'tiny' again"
    ) in capsys.readouterr().err
    open_client(runs).rename_registered_model("in-use", "tiny")
    assert delete(runs, "--yes") == 0


def test_a_version_that_is_of_no_run_of_the_study_keeps_its_model(runs, capsys):
    fake_sweep(runs, files=FILES)
    client = open_client(runs)
    client.create_registered_model("tiny")
    client.create_model_version("tiny", str(runs.root))
    assert delete(runs, "--yes") == 3
    assert "version 1 of the registered model 'tiny' is of no run of that study" in capsys.readouterr().err


def test_the_mark_goes_in_one_step_with_the_results(runs, monkeypatch):
    fake_sweep(runs, files=FILES)
    folder, seen = runs.results("tiny"), []
    monkeypatch.setattr(
        sweep.removal, "failpoint", lambda point: seen.append((point, folder.exists(), (folder / DELETING).exists()))
    )
    renames = []
    rename = type(folder).rename
    monkeypatch.setattr(
        type(folder), "rename", lambda path, to: (renames.append((path / DELETING).exists()), rename(path, to))[1]
    )
    delete_study(runs, "tiny", False, print)
    assert renames[-1], "the mark was gone before the results were"
    assert all(marked for _, exists, marked in seen if exists)
    assert [point for point, exists, _ in seen if not exists] == ["delete.unmarked", "delete.folder"]
