"""The projection, on results with a model file, as real workers leave them."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from mlflow.entities import ViewType

from sweep.errors import TrackingError
from sweep.layout import RunsDir
from sweep.record import results
from sweep.study.config import Config
from sweep.study.file import parse_study
from sweep.track import tables
from sweep.track.client import open_client
from sweep.track.experiment import ProjectedStudy
from sweep.track.listing import list_runs
from sweep.track.models import N_BEST
from sweep.track.projection import Projection
from sweep.track.runs import read_study
from sweep.track.writers import ClientRuns
from sweep.trial import Ended, Trial, TrialResult
from tests.studies import FACTS, tiny_table

CONFIG = Config(units=(8,), dropout=0.2, batch_size=32, learning_rate=0.01)
LOGS = {"loss": 0.3, "accuracy": 0.8, "val_loss": 0.4, "val_accuracy": 0.75}


def trial(number=0):
    return Trial(number=number, phase="search", config=CONFIG, seed=1)


def save(runs, number=0, engine="graph", val_accuracy=0.75):
    """A complete result with a model file, in its folder; what loads it."""
    result = TrialResult(
        key=trial(number).key, state="complete", history=[LOGS, LOGS], epoch_ended_at=[11.0, 12.0], best_epoch=2,
        metrics={"val_accuracy": val_accuracy, "val_loss": 0.4}, params_count=9, started_at=10.0, ended_at=12.5,
        provenance={"engine": engine},
    )  # fmt: skip

    def write_files(draft):
        (draft / results.MODEL).write_bytes(b"model")
        (draft / results.SUMMARY).write_text("summary")

    folder = runs.results("tiny") / result.key
    results.save(folder, result, write_files)
    return lambda: (results.load(folder), None)


def project(runs):
    table = tiny_table()
    return Projection(runs, ProjectedStudy(parse_study(table, "tiny.toml"), table, FACTS, {"git_commit": "none"}))


def write(projection, trial, load):
    """As the tracker does."""
    if projection.lacks(trial):
        projection.write([Ended(trial, *load())])


def stored(runs):
    """Everything the tracking database says of the study's runs and models."""
    client = open_client(runs)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    found = [run for run in client.search_runs([experiment], run_view_type=ViewType.ALL) if "trial" in run.data.tags]
    models = client.search_logged_models([experiment])
    curves = [client.get_metric_history(run.info.run_id, "epoch/loss") for run in found]
    return (
        [(r.info.run_id, r.info.status, r.info.end_time, r.data.params, r.data.metrics) for r in found],
        [[(m.step, m.timestamp, m.value) for m in curve] for curve in curves],
        [(m.model_id, str(m.status)) for m in models],
        [[output.model_id for output in run.outputs.model_outputs] for run in found],
    )


def numbers(runs):
    return [one.trial.number for one in read_study(runs, "tiny").trials]


def models(runs):
    """The content of every saved model."""
    tracked = read_study(runs, "tiny")
    return {tracked.files.saved_model(one.run_id).read_bytes() for one in tracked.trials}


CUTS = ["create", "add_files", "create_logged_model", "finalize_logged_model", "log_batch", "log_outputs", "close"]
CUTS_THROUGH_CLIENT = ["create_run", "log_batch", "log_inputs", "log_artifacts", "set_terminated"]


class Cut(Exception):
    """Stands for a SIGKILL."""


class CutOff:
    """A client or a writer, until a call to `last` has been carried out."""

    def __init__(self, whole, last):
        self._whole, self._last = whole, last

    def __getattr__(self, name):
        call = getattr(self._whole, name)

        def carry_out(*arguments, **options):
            answer = call(*arguments, **options)
            if name == self._last:
                raise Cut
            return answer

        return carry_out


def through_client(projection, last=None):
    """Have it write as it does to a server, here cut off after the call `last`."""
    client = CutOff(projection._client, last)
    projection._models.client, projection._writer = client, ClientRuns(client, projection._experiment)
    return projection


def cut_off(projection, last):
    projection._models.client, projection._writer = CutOff(projection._client, last), CutOff(projection._writer, last)
    return projection


@pytest.mark.parametrize(
    ("last", "cut"), [(last, cut_off) for last in CUTS] + [(last, through_client) for last in CUTS_THROUGH_CLIENT]
)
def test_a_run_that_was_cut_off_anywhere_is_completed_once(runs, last, cut):
    load = save(runs)
    with pytest.raises(Cut):
        write(cut(project(runs), last), trial(), load)
    again = project(runs)
    write(again, trial(), load)
    run_rows, curves, models, outputs = stored(runs)
    assert [(status, end) for _, status, end, _, _ in run_rows] == [("FINISHED", 12500)]
    assert curves == [[(1, 11000, 0.3), (2, 12000, 0.3)]]
    assert [status for _, status in models] == ["READY"]
    assert outputs == [[models[0][0]]]
    once_more = stored(runs)
    write(again, trial(), load)
    write(project(runs), trial(), load)
    assert stored(runs) == once_more


OF_A_RUN = """
    SELECT 'run', name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, deleted_time,
        source_version, lifecycle_stage, experiment_id, replace(artifact_uri, run_uuid, '') FROM runs WHERE run_uuid = :run
    UNION ALL SELECT 'tag', key, value, '', '', '', '', '', '', '', '', '', '', '' FROM tags
        WHERE run_uuid = :run AND key != 'mlflow.parentRunId'
    UNION ALL SELECT 'param', key, value, '', '', '', '', '', '', '', '', '', '', '' FROM params WHERE run_uuid = :run
    UNION ALL SELECT 'metric', key, value, timestamp, step, is_nan, '', '', '', '', '', '', '', '' FROM metrics
        WHERE run_uuid = :run
    UNION ALL SELECT 'latest', key, value, timestamp, step, is_nan, '', '', '', '', '', '', '', '' FROM latest_metrics
        WHERE run_uuid = :run
    UNION ALL SELECT 'input', inputs.source_type, destination_type, step, input_tags.name, input_tags.value, datasets.name,
        digest, dataset_source_type, dataset_source, dataset_schema, dataset_profile, experiment_id, '' FROM inputs
        JOIN input_tags USING (input_uuid) JOIN datasets ON source_id = dataset_uuid WHERE destination_id = :run
"""


def rows_of(runs, trial):
    """What the tables of MLflow hold of a trial's run, without its random ids, and its artifacts by name."""
    [run] = [one.run_id for one in read_study(runs, "tiny").trials if one.trial.number == trial]
    with closing(sqlite3.connect(runs.mlflow_db)) as connection:
        rows = connection.execute(OF_A_RUN, {"run": run}).fetchall()
    artifacts = runs.artifacts("tiny") / run / "artifacts"
    said = sorted(repr(row).replace(str(runs.root.absolute()), "") for row in rows)
    return said, {path.name: path.read_bytes() for path in artifacts.rglob("*")}


@pytest.mark.parametrize("engine", ["graph", "cohort"])
def test_a_run_of_rows_is_what_mlflows_client_would_have_left(new_runs, engine):
    by_rows, by_client = new_runs(), new_runs()
    for number in (0, 1):  # the second finds the data sets there
        write(project(by_rows), trial(number), save(by_rows, number, engine))
        write(through_client(project(by_client)), trial(number), save(by_client, number, engine))
        rows, files = rows_of(by_rows, number)
        assert (rows, files) == rows_of(by_client, number)
        assert len(rows) > 50
        assert results.SUMMARY in files


@pytest.mark.parametrize("state", ["failed", "pruned"])
def test_so_is_that_of_a_trial_that_is_not_complete(new_runs, state):
    result = TrialResult(
        key=trial().key, state=state, reason="why", history=[LOGS] * (state == "pruned"), started_at=10.0, ended_at=12.5,
        epoch_ended_at=[11.0] * (state == "pruned"), best_epoch=1,
    )  # fmt: skip
    by_rows, by_client = new_runs(), new_runs()
    for runs, projection in ((by_rows, project(by_rows)), (by_client, through_client(project(by_client)))):
        write(projection, trial(), lambda: (result, None))
        assert [end for _, _, end, *_ in stored(runs)[0]] == [12500]
    assert rows_of(by_rows, 0) == rows_of(by_client, 0)


def test_an_experiment_that_was_deleted_takes_no_runs_until_it_is_restored(runs):
    projection, client, load = project(runs), open_client(runs), save(runs)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    client.delete_experiment(experiment)
    with pytest.raises(TrackingError, match="experiment 'tiny' was deleted; restore it there"):
        write(projection, trial(), load)
    client.restore_experiment(experiment)
    assert stored(runs)[0] == []
    write(project(runs), trial(), load)
    assert len(stored(runs)[0]) == 1


def test_an_experiment_of_that_name_that_keeps_its_files_elsewhere_is_left_alone(runs, tmp_path):
    open_client(runs).create_experiment("tiny", artifact_location=str(tmp_path / "mine"))
    with pytest.raises(TrackingError, match=r"'tiny' keeps its artifacts at .*mine, .*; rename it there"):
        project(runs)
    assert not (tmp_path / "mine").exists()


def test_a_run_whose_files_are_gone_holds_back_none_of_those_before_it(runs):
    ended = [Ended(trial(number), *save(runs, number)()) for number in range(3)]
    (runs.results("tiny") / ended[1].trial.key / results.SUMMARY).unlink()
    with pytest.raises(TrackingError, match="summary"):
        project(runs).write(ended)
    assert numbers(runs) == [0]
    assert [project(runs).lacks(one.trial) for one in ended] == [False, True, True]


def test_a_run_of_rows_that_cannot_all_be_written_leaves_none(runs):
    projection = project(runs)
    load = save(runs)
    with closing(sqlite3.connect(runs.mlflow_db)) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON latest_metrics BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
        with pytest.raises(TrackingError, match="no room"):
            write(projection, trial(), load)
        assert stored(runs)[0] == []
        connection.execute("DROP TRIGGER no")
    write(projection, trial(), load)
    assert [status for _, status, *_ in stored(runs)[0]] == ["FINISHED"]


@pytest.mark.parametrize("last", ["create", "add_files", "create_logged_model", "close"])
def test_of_runs_that_were_cut_off_together_each_is_completed_once(runs, last):
    ended = [Ended(trial(number), *save(runs, number, "graph" if number else "cohort")()) for number in range(3)]
    with pytest.raises(Cut):
        cut_off(project(runs), last).write(ended)
    again = project(runs)
    again.write([one for one in ended if again.lacks(one.trial)])
    assert [status for _, status, *_ in stored(runs)[0]] == ["FINISHED"] * 3
    assert numbers(runs) == [0, 1, 2]
    assert models(runs) == {b"model"}


def test_a_database_that_was_cut_off_among_its_migrations_is_made_anew(tmp_path, migrated, monkeypatch):
    def create(cut):
        class Store:
            """Stands for one that takes its seconds to migrate."""

            def __init__(self, uri, artifacts):
                shutil.copy(migrated.mlflow_db, uri.removeprefix("sqlite:///"))
                self.engine = SimpleNamespace(dispose=lambda: None)
                if cut:
                    raise Cut

        monkeypatch.setattr(tables, "SqlAlchemyStore", Store)
        return open_client(RunsDir(tmp_path / "mlruns"))

    with pytest.raises(Cut):
        create(cut=True)
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()
    assert create(cut=False).search_experiments()
    assert sorted(path.name for path in (tmp_path / "mlruns").iterdir()) == [".mlflow.db.lock", "mlflow.db"]


def test_of_a_run_that_a_slow_server_made_twice_one_stays(runs):
    load = save(runs)
    first = project(runs)
    client = open_client(runs)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    tags = {"key": trial().key, "phase": "search", "trial": "0"}
    client.create_run(experiment, tags=tags)
    write(first, trial(), load)
    for _ in range(2):
        client.create_run(experiment, tags=tags)
    project(runs).close("FINISHED")
    assert [run.info.status for run in client.search_runs([experiment], filter_string="tags.trial = '0'")] == [
        "FINISHED"
    ]


def test_a_run_of_another_config_under_the_same_key_is_not_taken_for_this_one(runs):
    write(project(runs), trial(), save(runs))
    other = replace(trial(), config=replace(CONFIG, units=(9,)))
    with pytest.raises(TrackingError, match=r"has the key trial-00000, and another config: .* `sync` writes them anew"):
        write(project(runs), other, save)


def test_nor_is_one_that_was_cut_off(runs):
    with pytest.raises(Cut):
        write(cut_off(project(runs), "create"), trial(), save(runs))
    other = replace(trial(), config=replace(CONFIG, units=(9,)))
    with pytest.raises(TrackingError, match=r"has the key trial-00000, and another config"):
        write(project(runs), other, save)


def test_a_run_that_is_half_written_is_not_read(runs):
    projection = project(runs)
    write(projection, trial(0), save(runs, 0))
    with pytest.raises(Cut):
        write(through_client(projection, "create_run"), trial(1), save(runs, 1))
    assert numbers(runs) == [0]


def test_a_run_that_a_person_adds_to_the_experiment_disturbs_nothing(runs):
    projection = project(runs)
    write(projection, trial(0), save(runs, 0))
    client = open_client(runs)
    client.create_run(client.get_experiment_by_name("tiny").experiment_id, tags={"note": "mine", "key": "mine"})
    write(project(runs), trial(1), save(runs, 1))
    assert numbers(runs) == [0, 1]


def test_a_run_of_a_cohort_that_is_not_what_was_written_leaves_the_parent_run_ended(runs, caplog):
    write(project(runs), trial(), save(runs, engine="cohort"))
    projection = project(runs)
    [run] = read_study(runs, "tiny").trials
    open_client(runs).set_tag(run.run_id, "seed", "?")
    projection.close("FINISHED")
    assert "not among the logged models: run" in caplog.text
    [parent] = [r for r in list_runs(open_client(runs), projection._experiment) if r.data.tags["key"] == "study"]
    assert parent.info.status == "FINISHED"


def test_the_parent_run_ends_with_a_time(runs):
    projection = project(runs)
    write(projection, trial(0), save(runs, 0))
    projection.close("FINISHED")
    parent = open_client(runs).get_run(read_study(runs, "tiny").parent_run_id)
    assert parent.info.status == "FINISHED"
    assert parent.info.end_time >= parent.info.start_time
    assert asdict(FACTS)["sha256"] == parent.data.tags["data_sha256"]


@pytest.mark.parametrize("last", [None, "create_logged_model", "log_batch", "log_outputs"])
def test_of_a_search_in_cohorts_the_best_models_are_logged_as_such_at_its_end(runs, last):
    worst = {3, 7}
    projection = project(runs)
    for number in range(N_BEST + len(worst)):
        accuracy = 0.5 if number in worst else 0.7 + number / 100
        write(projection, trial(number), save(runs, number, "cohort", accuracy))
    assert stored(runs)[2] == []
    if last is not None:
        with pytest.raises(Cut):
            cut_off(projection, last).close("FINISHED")
        projection = project(runs)
    projection.close("FINISHED")
    client, trials = open_client(runs), read_study(runs, "tiny").trials
    unlisted = {one.trial.number for one in trials if not client.get_run(one.run_id).outputs.model_outputs}
    assert unlisted == worst
    assert [status for _, status in stored(runs)[2]] == ["READY"] * N_BEST
    assert models(runs) == {b"model"}
    before = stored(runs)
    project(runs).close("FINISHED")
    assert stored(runs) == before
