"""Each thing that can be wrong with a study, made wrong by hand, and what the doctor says and does about it."""

import json
import math
import re
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from mlflow.entities import Metric, Param

from sweep.coordinator import run_study, sync_study
from sweep.doctor import diagnose, mend
from sweep.durable.lock import hold
from sweep.errors import Interrupted, StudyInUseError
from sweep.layout import RunsDir
from sweep.record import results
from sweep.report.files import publish
from sweep.report.upload import upload
from sweep.track.client import open_client
from sweep.track.names import FACTS_FILE, STUDY_FILE
from sweep.track.run_files import RunFiles
from sweep.track.runs import read_study
from tests.bundles import seal
from tests.champions import champion_handed_on, hand_on
from tests.studies import FILES, copied, fake_runtime, fake_score, fake_sweep, tiny_table
from tests.studies import job as study_job


@pytest.fixture(scope="module")
def finished(new_runs):
    """The tiny study, run, reported, exported and announced."""
    runs = new_runs()
    fake_sweep(runs, files=FILES)
    conclusion, _ = champion_handed_on(runs)
    publish(conclusion)
    upload(conclusion)
    return runs


@pytest.fixture
def job(finished, tmp_path):
    """A copy of the finished study, to spoil."""
    return study_job(copied(finished, tmp_path))


def findings(job):
    return [finding.what for finding in diagnose(job).findings]


def change(db, *statement):
    with closing(sqlite3.connect(db)) as connection, connection:
        assert connection.execute(*statement).rowcount == 1


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def one_run(job, phase="search"):
    """A complete run of a phase."""
    trials = read_study(job.runs, "tiny").trials
    return next(one for one in trials if (one.trial.phase, one.state) == (phase, "complete"))


def test_a_study_that_ran_to_its_end_is_sound(job):
    diagnosis = diagnose(job)
    assert diagnosis.findings == []
    assert diagnosis.n_trials == diagnosis.n_runs == len(read_study(job.runs, "tiny").trials)


def test_a_study_at_work_is_left_alone(job):
    with hold(job.runs.results("tiny") / ".lock"), pytest.raises(StudyInUseError):
        diagnose(job)


def test_a_trial_that_was_cut_off_waits_to_be_continued(runs):
    countdown = iter(range(4))
    with pytest.raises(Interrupted):
        fake_sweep(runs, is_interrupted=lambda: next(countdown, None) is None)
    cut = study_job(runs)
    said = findings(cut)
    assert "trial-00000 is claimed and has not ended" in said
    assert any(re.match(r"\d of 4 searched trials are recorded", line) for line in said)
    fake_sweep(runs)
    assert findings(cut) == []


def test_a_larger_budget_or_more_replicates_are_said_to_be_missing(job):
    table = tiny_table(search={"trials": 6}, confirmation={"replicates": 3})
    said = findings(study_job(job.runs, table=table))
    assert said[0] == "4 of 6 searched trials are recorded"
    assert [line for line in said[1:] if line.startswith("replicate 3 of ")] == said[1:]


def test_a_smaller_budget_than_was_trained_is_named(job):
    smaller = study_job(job.runs, table=tiny_table(search={"trials": 3}))
    assert findings(smaller)[0] == "4 searched trials are recorded, 3 are asked for"


def test_a_config_that_is_recorded_twice_is_named(job):
    with closing(sqlite3.connect(job.runs.optuna_db)) as connection, connection:
        query = (
            "SELECT trial_user_attributes.trial_id, value_json FROM trial_user_attributes JOIN trials USING (trial_id) "
            "JOIN studies USING (study_id) WHERE key = 'trial' AND study_name = 'tiny' ORDER BY number"
        )
        (_, first), (second, _), *_ = connection.execute(query)
        update = "UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = ? AND key = 'trial'"
        connection.execute(update, (first, second))
    assert any(re.fullmatch(r"config .* is recorded 2 times", finding) for finding in findings(job))


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}"])
def test_an_export_that_cannot_be_read_is_named_and_written_anew(job, content):
    summary = job.runs.exports("tiny") / "summary.json"
    summary.write_bytes(content)
    [said] = findings(job)
    assert said.startswith(f"{summary}: not a summary of a bundle (")
    mend(job, diagnose(job).findings, hand_on)
    assert findings(job) == []


def test_damaged_files_of_the_parent_run_are_named_and_written_anew_by_a_sync(runs):
    spoilt = fake_sweep(runs, tiny_table(confirmation=None))
    parent = read_study(runs, "tiny").parent_run_id
    for name in (STUDY_FILE, FACTS_FILE):
        path = RunFiles(runs, "tiny").artifact(parent, name)
        path.write_bytes(path.read_bytes()[:-2])
        [said] = findings(spoilt)
        assert said.startswith(f"{path}: cannot be read")
        sync_study(spoilt)
        assert findings(spoilt) == []


@pytest.mark.parametrize("name", [results.RESULT, results.MODEL, results.HISTORY])
def test_a_flipped_byte_in_a_result_is_named(job, name):
    flip(job.runs.results("tiny") / "trial-00000" / name)
    [said] = findings(job)
    assert re.search(rf"trial-00000.*{re.escape(name)}.*not what was written", said)


def test_a_flipped_byte_in_a_tracked_model_is_named(job):
    run = one_run(job)
    flip(RunFiles(job.runs, "tiny").model(run.run_id).path)
    assert findings(job) == [f"run {run.run_id} of {run.trial.key}: model.keras is not what was logged (sha256)"]


def test_damaged_predictions_are_named(job):
    run = one_run(job, "confirm")
    flip(RunFiles(job.runs, "tiny").artifact(run.run_id, results.PREDICTIONS))
    assert any(run.run_id in finding and results.PREDICTIONS in finding for finding in findings(job))


def test_an_artifact_that_is_gone_is_named(job):
    run = one_run(job)
    (job.runs.artifacts("tiny") / run.run_id / "artifacts" / results.CURVES).unlink()
    [said] = findings(job)
    assert said.startswith(f"run {run.run_id} of {run.trial.key}: curves.png: ")


def test_a_value_that_differs_between_record_and_result_is_named(job):
    run = one_run(job)
    change(
        job.runs.optuna_db,
        "UPDATE trial_values SET value = value + 1e-9 WHERE trial_id = (SELECT trial_id FROM trials JOIN studies USING (study_id)"
        " WHERE study_name = 'tiny' AND number = ?)",
        (run.trial.number,),
    )
    [said] = findings(job)
    assert said.startswith(f"{run.trial.key} has the value {run.metrics['val_accuracy'] + 1e-9} in the record")


def test_a_metric_that_differs_between_result_and_run_is_named(job):
    run = one_run(job)
    change(job.runs.mlflow_db, "UPDATE latest_metrics SET value = 0.5 WHERE run_uuid = ? AND key = 'val_loss'", (run.run_id,))  # fmt: skip
    assert findings(job) == [f"run {run.run_id} of {run.trial.key} differs from its result in val_loss"]


def test_a_test_loss_that_is_no_number_is_tracked_as_such_and_is_sound(runs):
    def score(models):
        return {key: ({**metrics, "test_loss": math.nan}, said) for key, (metrics, said) in fake_score(models).items()}

    asked = study_job(runs)
    run_study(asked, replace(fake_runtime(asked.study, files=FILES), score=score))
    assert findings(asked) == []


def test_looking_changes_nothing_where_the_folder_was_moved(runs, tmp_path):
    asked = fake_sweep(runs, files=FILES)
    champion_handed_on(runs)
    moved = replace(asked, runs=RunsDir(runs.root.rename(tmp_path / "elsewhere")))
    before = moved.runs.mlflow_db.read_bytes()
    findings(moved)
    assert moved.runs.mlflow_db.read_bytes() == before


def test_a_missing_run_is_written_anew(job):
    run = one_run(job)
    open_client(job.runs).delete_run(run.run_id)
    diagnosis = diagnose(job)
    assert diagnosis.findings[0].what == f"1 trials have no run in MLflow: {run.trial.key}"
    mend(job, diagnosis.findings, hand_on)
    assert findings(job) == []


def test_a_deleted_parent_run_is_written_anew_and_has_all_runs_below_it(job):
    client, before = open_client(job.runs), read_study(job.runs, "tiny")
    client.delete_run(before.parent_run_id)
    diagnosis = diagnose(job)
    assert [finding.what for finding in diagnosis.findings] == [
        f"{job.runs.mlflow_db}: the parent run of study 'tiny' is gone; `sync` writes it anew"
    ]
    mend(job, diagnosis.findings, hand_on)
    assert findings(job) == []
    after = read_study(job.runs, "tiny")
    assert after.trials == before.trials
    parents = {client.get_run(one.run_id).data.tags["mlflow.parentRunId"] for one in after.trials}
    assert parents == {after.parent_run_id} != {before.parent_run_id}


def test_a_half_written_run_is_completed(job):
    run = one_run(job, "confirm")
    open_client(job.runs).update_run(run.run_id, status="RUNNING")
    diagnosis = diagnose(job)
    assert f"1 runs are half written: {run.run_id}" in [finding.what for finding in diagnosis.findings]
    mend(job, diagnosis.findings, hand_on)
    assert findings(job) == []


def test_a_doubled_run_and_a_run_of_no_trial_are_named(job):
    client, run = open_client(job.runs), one_run(job)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    data = client.get_run(run.run_id).data
    for key, number in ((run.trial.key, run.trial.number), ("trial-00099", 99)):
        copy = client.create_run(experiment, tags={**data.tags, "key": key, "trial": str(number)}).info.run_id
        metrics = [Metric(name, value, 0, 1) for name, value in data.metrics.items()]
        client.log_batch(copy, metrics, [Param(name, value) for name, value in data.params.items()])
        client.set_terminated(copy)
    said = findings(job)
    assert f"{run.trial.key} has 2 runs in MLflow" in said
    assert "trial-00099 has a run in MLflow, and is not recorded as ended" in said


@pytest.mark.parametrize("tag", ["config", "key", "seed", "state", "phase"])
def test_a_run_that_is_not_what_was_written_is_named(job, tag):
    run = one_run(job)
    open_client(job.runs).set_tag(run.run_id, tag, "search" if tag == "phase" else "9")
    change(job.runs.mlflow_db, "UPDATE params SET value = '1-x' WHERE run_uuid = ? AND key = 'units'", (run.run_id,))
    [said] = findings(job)
    assert said.startswith(f"run {run.run_id}: not what was written (")
    assert said.endswith("delete the run in MLflow, and `sync` writes it anew")


def test_drafts_are_removed_and_strangers_are_named(job):
    folder = job.runs.results("tiny")
    (folder / ".trial-00003.4711").mkdir()
    (folder / "trial-00099").mkdir()
    diagnosis = diagnose(job)
    assert len(diagnosis.findings) == 2
    mend(job, diagnosis.findings, hand_on)
    assert findings(job) == [f"{folder / 'trial-00099'}: a result of no recorded trial"]


def test_a_report_or_an_export_that_was_changed_is_written_anew(job):
    report, model = job.runs.reports("tiny") / "conclusion.md", job.runs.exports("tiny") / "model.onnx"
    report.write_text(report.read_text().replace("0.9", "1.0"))
    flip(model)
    diagnosis = diagnose(job)
    assert [finding.what for finding in diagnosis.findings] == [
        f"{report}: not what the runs give",
        f"{model}: not what was exported (sha256)",
    ]
    mend(job, diagnosis.findings, hand_on)
    assert findings(job) == []


def test_a_report_that_mlflow_does_not_show_is_shown_anew(job):
    parent = read_study(job.runs, "tiny").parent_run_id
    flip(RunFiles(job.runs, "tiny").artifact(parent, "report/report.html"))
    diagnosis = diagnose(job)
    assert [finding.what for finding in diagnosis.findings] == [f"parent run {parent} does not show the report"]
    mend(job, diagnosis.findings, hand_on)
    assert findings(job) == []


def test_an_export_of_another_than_the_champion_is_written_anew(job):
    summary = job.runs.exports("tiny") / "summary.json"
    summary.write_text(summary.read_text().replace('"dropout": ', '"dropout": 9'))
    diagnosis = diagnose(job)
    assert [finding.what for finding in diagnosis.findings] == [f"{summary.parent}: its model is not the champion"]
    mend(job, diagnosis.findings, hand_on)
    assert findings(job) == []


def test_an_export_that_is_no_bundle_is_not_registered_or_is_of_another_run_is_written_anew(job):
    folder = job.runs.exports("tiny")
    (folder / "SHA256SUMS").unlink()
    diagnosis = diagnose(job)
    assert [finding.what for finding in diagnosis.findings] == [
        f"{folder / 'SHA256SUMS'}: cannot be read: No such file or directory"
    ]
    mend(job, diagnosis.findings, hand_on)
    open_client(job.runs).delete_registered_model("tiny")
    diagnosis = diagnose(job)
    assert [finding.what for finding in diagnosis.findings] == [f"{folder}: its model is not in MLflow's registry"]
    mend(job, diagnosis.findings, hand_on)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "run": "another"}))
    seal(folder)
    diagnosis = diagnose(job)
    assert [finding.what for finding in diagnosis.findings] == [
        f"{folder}: its model is of another run than the champion's best, {summary['run']}"
    ]
    mend(job, diagnosis.findings, hand_on)
    assert findings(job) == []


@pytest.mark.parametrize("db", ["optuna_db", "mlflow_db"])
def test_a_damaged_database_is_named_before_anything_else(job, db):
    path = getattr(job.runs, db)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(4096) + content[8192:])
    [said] = findings(job)
    assert said.startswith(f"{path}: damaged: ")
