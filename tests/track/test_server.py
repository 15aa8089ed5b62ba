"""Tracking on an MLflow server: there, away, killed, back."""

from dataclasses import replace

import pytest
from mlflow import MlflowClient

import sweep.track.removal
from sweep.coordinator import sync_study
from sweep.doctor import diagnose
from sweep.errors import MissingRunsError, TrackingError
from sweep.removal import delete_study, find_belongings
from sweep.report.files import publish
from sweep.report.upload import is_uploaded, upload
from sweep.track.run_files import RunFiles
from sweep.track.runs import read_study
from tests.champions import champion_handed_on
from tests.faults.loopback import losing_answers, serving
from tests.servers import mlflow_server
from tests.studies import FILES, fake_sweep, has_each_key_once, job, tiny_table

N_TRIALS = 5


@pytest.mark.slow
def test_a_sweep_is_tracked_on_a_server_reported_exported_registered_and_found_sound(runs, new_runs, unused_port):
    with mlflow_server(new_runs(), unused_port) as uri:
        there = replace(runs, mlflow_server=uri)
        done = fake_sweep(there, files=FILES)
        found = read_study(there, "tiny")
        assert len(found.searched) == N_TRIALS
        conclusion, exported = champion_handed_on(there)
        assert (exported.folder / "model.keras").read_bytes() == FILES["model.keras"]
        registered = MlflowClient(uri).get_model_version_by_alias("tiny", "champion")
        assert (registered.run_id, exported.model_id in registered.source) == (exported.run_id, True)
        publish(conclusion)
        assert not is_uploaded(conclusion)
        upload(conclusion)
        assert is_uploaded(conclusion)
        assert RunFiles(there, "tiny").has_artifact(exported.run_id, "history.json")
        assert diagnose(done).findings == []
        check_lost_answers(runs, uri)
        check_deletion(there)


def check_lost_answers(runs, uri):
    """Of a second study, on the same server: one start is enough for both."""
    lost = set()

    def is_lost(created):
        is_first = created not in lost
        lost.add(created)
        return is_first

    table = tiny_table(name="lost", confirmation=None)
    with serving(losing_answers(int(uri.rsplit(":", 1)[1]), is_lost)) as address:
        away = replace(runs, mlflow_server=address)
        with pytest.raises(TrackingError):
            fake_sweep(away, table, files=FILES)
        while True:
            try:
                sync_study(job(away, table))
                break
            except TrackingError:
                continue
    assert lost == {"runs", "logged-models"}
    found = read_study(replace(runs, mlflow_server=uri), "lost")
    assert len(found.searched) == N_TRIALS
    assert has_each_key_once(found)


def check_deletion(runs):
    """Of both studies; of the second, which a person deleted before, after it was cut off."""
    client = MlflowClient(runs.mlflow_server)
    delete_study(runs, "tiny", True, print)
    assert client.search_registered_models("name = 'tiny'") == []
    client.delete_experiment(client.get_experiment_by_name("lost").experiment_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep.track.removal, "failpoint", cut_off_at("delete.freed"))
        with pytest.raises(KeyboardInterrupt):
            delete_study(runs, "lost", True, print)
    delete_study(runs, "lost", True, print)
    assert [client.get_experiment_by_name(name) for name in ("tiny", "lost")] == [None, None]
    assert [experiment.name for experiment in client.search_experiments()] == ["Default"]
    with pytest.raises(MissingRunsError, match="holds nothing of a study 'lost'"):
        find_belongings(runs, "lost", with_exports=True)


def cut_off_at(point):
    def failpoint(reached):
        if reached == point:
            raise KeyboardInterrupt

    return failpoint


@pytest.mark.slow
def test_a_server_that_is_away_costs_no_training_and_is_brought_up_to_date(runs, new_runs, unused_port):
    away = replace(runs, mlflow_server=f"http://127.0.0.1:{unused_port}")
    trained = []
    with pytest.raises(
        TrackingError, match=rf"runs are not tracked yet: MLflow at http://127.0.0.1:{unused_port}"
    ) as told:
        fake_sweep(away, watch=lambda trial, event: trained.append(trial) if event is None else None)
    assert told.value.exit_code == 3
    assert len([trial for trial in trained if trial.phase != "confirm"]) == N_TRIALS
    with mlflow_server(new_runs(), unused_port):
        sync_study(job(away))
        found = read_study(away, "tiny")
        assert len(found.trials) == len(trained)
        assert has_each_key_once(found)
        assert found.parent_status == "FINISHED"
