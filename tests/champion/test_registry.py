"""The registry: each exported champion once, and an alias that moves only when the test rows say so."""

import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

from sweep.champion.registry import ALIAS, VERDICT, register
from sweep.cli.commands import main
from sweep.durable.lock import hold_in_turn
from sweep.errors import TrackingError
from sweep.layout import RunsDir
from sweep.record.results import LOCK
from sweep.report.conclusion import conclude
from sweep.track.client import open_client
from sweep.track.runs import read_study
from tests.champions import champion_handed_on, fake_convert, hand_on
from tests.studies import FILES, STUDY, fake_sweep, tiny_table


@pytest.fixture(scope="module")
def swept(migrated, tmp_path_factory):
    """A finished study of two finalists with three replicates each; nothing is registered."""
    runs = RunsDir(tmp_path_factory.mktemp("swept") / "mlruns")
    shutil.copytree(migrated.root, runs.root)
    fake_sweep(runs, tiny_table(search={"trials": 12}, confirmation={"replicates": 3}), files=FILES)
    return runs


@pytest.fixture
def copy(swept, tmp_path):
    shutil.copytree(swept.root, tmp_path / "mlruns")
    return RunsDir(tmp_path / "mlruns")


def versions(runs):
    """Each version's tags, and the one with the alias, by number."""
    client = open_client(runs)
    aliases = client.get_registered_model("tiny").aliases
    found = client.search_model_versions("name = 'tiny'")
    # MLflow gives numbers of versions as int from a database and as str from a server.
    return {str(version.version): version for version in found}, str(aliases.get(ALIAS))


def challenged(conclusion, holder_is_right, challenger_is_right):
    """The conclusion with another champion, and given shares of test rows that holder and challenger get right."""
    holder = conclusion.champion
    challenger = next(column for column in conclusion.columns if column is not holder)
    predictions = dict(conclusion.tracked.predictions)
    rng = np.random.default_rng(6)
    for column, share in ((holder, holder_is_right), (challenger, challenger_is_right)):
        for run in column.replicate_runs:
            labels = predictions[run].labels
            said = np.where(rng.random(len(labels)) < share, labels, (labels + 1) % 3)
            predictions[run] = replace(predictions[run], predicted=said.astype(np.uint16))
    return replace(conclusion, champion=challenger, tracked=replace(conclusion.tracked, predictions=predictions))


def test_the_first_champion_is_registered_once_with_the_alias_and_its_reason(copy):
    conclusion, exported = champion_handed_on(copy)
    found, bearer = versions(copy)
    [version] = found.values()
    assert bearer == "1"
    assert version.run_id == exported.run_id
    assert version.tags == {
        "study": "tiny", "config": conclusion.champion.finalist.config.key, VERDICT: "the first of its study",
    }  # fmt: skip
    assert exported.model_id in version.source
    logged = open_client(copy).get_logged_model(exported.model_id)
    assert '"name": "tiny"' in logged.tags["mlflow.modelVersions"]


def test_registering_again_writes_nothing(copy):
    conclusion, exported = champion_handed_on(copy)
    before = copy.mlflow_db.read_bytes()
    assert register(conclusion, exported) == "models:/tiny/1, champion: the first of its study"
    assert copy.mlflow_db.read_bytes() == before


def test_a_challenger_that_cannot_be_told_apart_leaves_the_alias_and_says_why(copy):
    conclusion, _ = champion_handed_on(copy)
    challenger = challenged(conclusion, 0.7, 0.75)
    exported = hand_on(challenger)
    found, bearer = versions(copy)
    tags = found["2"].tags
    assert (len(found), bearer, found["2"].run_id) == (2, "1", exported.run_id)
    assert tags[VERDICT].startswith("against version 1: ")
    assert "cannot be told apart with n = 3" in tags[VERDICT]
    assert float(tags[f"{VERDICT}.p"]) > 0.05
    assert float(tags[f"{VERDICT}.difference"]) > 0, "it must be the test that holds the alias, not the sign"
    assert tags[f"{VERDICT}.n"] == "3"
    before = copy.mlflow_db.read_bytes()
    assert register(challenger, exported).startswith("models:/tiny/2, not champion: against version 1: ")
    assert copy.mlflow_db.read_bytes() == before


@pytest.mark.parametrize(("holder", "challenger", "bearer"), [(0.5, 0.95, "2"), (0.95, 0.5, "1")])
def test_the_alias_moves_to_a_challenger_that_is_better_not_to_one_that_is_worse(copy, holder, challenger, bearer):
    conclusion, _ = champion_handed_on(copy)
    hand_on(challenged(conclusion, holder, challenger))
    found, bears = versions(copy)
    assert bears == bearer
    assert "differs (p" in found["2"].tags[VERDICT]
    assert float(found["2"].tags[f"{VERDICT}.p"]) < 0.05


def test_the_same_config_confirmed_again_takes_the_alias_over(copy):
    conclusion, first = champion_handed_on(copy)
    others = [run for run in conclusion.champion.replicate_runs if run != first.run_id]
    again = replace(conclusion, champion=replace(conclusion.champion, replicate_runs=tuple(others)))
    second = hand_on(again)
    found, bearer = versions(copy)
    assert (bearer, found["2"].run_id) == ("2", second.run_id)
    assert found["2"].tags[VERDICT] == "the config of version 1, confirmed again"


def test_a_version_that_cannot_be_compared_leaves_the_alias(copy):
    conclusion, _ = champion_handed_on(copy)
    challenger = challenged(conclusion, 0.5, 0.95)
    kept = {
        run: said for run, said in challenger.tracked.predictions.items() if run in challenger.champion.replicate_runs
    }
    hand_on(replace(challenger, tracked=replace(challenger.tracked, predictions=kept)))
    found, bearer = versions(copy)
    assert bearer == "1"
    assert found["2"].tags[VERDICT].startswith("cannot be compared with version 1")
    assert f"{VERDICT}.p" not in found["2"].tags


class Cut(Exception):
    """Stands for a SIGKILL."""


@pytest.mark.parametrize("point", ["register.model", "register.version", "register.linked", "register.tags"])
def test_a_registration_that_was_cut_off_anywhere_is_completed_once(copy, monkeypatch, point):
    def cut(name):
        if name == point:
            raise Cut

    with monkeypatch.context() as patched:
        patched.setattr("sweep.champion.registry.failpoint", cut)
        with pytest.raises(Cut):
            champion_handed_on(copy)
    champion_handed_on(copy)
    found, bearer = versions(copy)
    assert (len(found), bearer, found["1"].tags[VERDICT]) == (1, "1", "the first of its study")


def test_versions_lie_where_the_runs_directory_was_moved(copy, tmp_path):
    champion_handed_on(copy)
    moved = RunsDir(copy.root.rename(tmp_path / "elsewhere"))
    hand_on(conclude(read_study(moved, "tiny")))
    found, _ = versions(moved)
    assert found["1"].source.startswith(f"{moved.root}/artifacts/tiny/")
    assert open_client(moved).get_model_version_download_uri("tiny", "1") == found["1"].source


def test_a_registry_that_is_away_loses_no_export_and_is_told_in_one_line(copy, tmp_path, monkeypatch, capsys):
    study = tmp_path / "tiny.toml"
    study.write_text(STUDY)
    monkeypatch.setattr("sweep.champion.convert.convert_in_process", fake_convert)

    def unavailable(runs):
        raise TrackingError("MLflow at somewhere: no answer")

    with monkeypatch.context() as patched:
        patched.setattr("sweep.champion.registry.open_client", unavailable)
        assert main(["export", str(study), "--runs-dir", str(copy.root)]) == 3
    out, err = capsys.readouterr()
    assert out == f"Export: {copy.exports('tiny')}\n"
    assert err == (
        "error: exported, but not registered: MLflow at somewhere: no answer; `export` registers it, once that is put right\n"
    )
    assert (copy.exports("tiny") / "SHA256SUMS").exists()
    assert main(["export", str(study), "--runs-dir", str(copy.root)]) == 0
    assert capsys.readouterr().out.endswith("Registered: models:/tiny/1, champion: the first of its study\n")


def test_registering_waits_for_whoever_exports(copy):
    conclusion, exported = champion_handed_on(copy)
    done = threading.Event()

    def again():
        register(conclusion, exported)
        done.set()

    with hold_in_turn(copy.all_exports / LOCK):
        thread = threading.Thread(target=again)
        thread.start()
        assert not done.wait(0.5)
    thread.join(60)
    assert done.is_set()
