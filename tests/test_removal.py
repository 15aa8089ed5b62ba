"""A study deleted: what goes, what stays, what is asked, and what is refused."""

import io

import pytest

import sweep.removal
from sweep.cli.commands import main
from sweep.durable.lock import hold
from sweep.errors import MissingRunsError
from sweep.record.results import DELETING, LOCK
from sweep.removal import delete_study, find_belongings
from sweep.track.client import open_client
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
    for command, code in (("sync", 3), ("report", 3), ("export", 3), ("doctor", 1), ("compare", 3)):
        assert main([command, str(study_file), "--runs-dir", str(runs.root)]) == code, command
        said = "".join(capsys.readouterr())
        assert "the experiment 'tiny' was deleted there; bring it back with" in said, command
        assert f"mlflow experiments restore --experiment-id {experiment}" in said
        assert "or start over with `python -m sweep delete tiny`" in said
    assert main(["doctor", str(study_file), "--runs-dir", str(runs.root), "--fix"]) == 1
    assert delete(runs, "--yes") == 0
    fake_sweep(runs, files=FILES)


def test_a_run_that_is_not_ours_keeps_its_experiment(runs, capsys):
    fake_sweep(runs, files=FILES)
    client = open_client(runs)
    run = client.create_run(client.get_experiment_by_name("tiny").experiment_id)
    assert delete(runs, "--yes") == 3
    assert f"run {run.info.run_id} of experiment 'tiny' was not made by this program" in capsys.readouterr().err
    assert runs.results("tiny").exists()
    assert not (runs.results("tiny") / DELETING).exists()


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
