"""A battery that cannot fail proves nothing: each guard of the write protocol is taken out, and a test has to see it."""

import shutil
import subprocess
import sys

import pytest

from tests.studies import ROOT

# What is taken out: file, text, what stands there instead, and what has to see it: the tests of a file, or one where that is long.
MUTATIONS = {
    "files are not synced": (
        "durable/files.py", "for path in (*sorted(folder.iterdir()), folder):", "for path in ():", "tests/record/test_results.py",
    ),
    "a folder's name is not synced": (
        "record/results.py", "    sync(folder.parent)\n    failpoint(", "    failpoint(", "tests/record/test_results.py",
    ),
    "a score is not synced": (
        "durable/files.py", "    sync(draft)\n", "", "tests/record/test_results.py",
    ),
    "a score's name is not synced": (
        "durable/files.py", "    sync(path.parent)\n\n\ndef _clear", "\n\ndef _clear", "tests/record/test_results.py",
    ),
    "a new folder's name is not synced": (
        "durable/files.py", "        sync(path.parent)\n\n\ndef make_draft(", "        pass\n\n\ndef make_draft(", "tests/record/test_results.py",
    ),
    "a score is written under its own name": (
        "durable/files.py", "draft = name_draft(path)", "draft = path", "tests/record/test_results.py",
    ),
    "a result is written under its own name": (
        "durable/files.py", "draft = name_draft(folder)", "draft = folder", "tests/record/test_results.py",
    ),
    "files are not checked": (
        "record/results.py", "        if found != digest:", "        if False:", "tests/record/test_results.py",
    ),
    "a link is followed": (
        "durable/inside.py", "os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK", "os.O_RDONLY | os.O_NONBLOCK", "tests/durable/test_inside.py",
    ),
    "a name may lead out of its folder": (
        "durable/inside.py", "    check_name(name)\n", "", "tests/durable/test_inside.py",
    ),
    "links of a runs directory are written through": (
        "conduct/place.py", "    refuse_links(runs.list_places())\n", "", "tests/test_handed_over.py",
    ),
    "drafts are looked for behind links": (
        "durable/inside.py", " and entry.is_dir(follow_symlinks=False):", " and entry.is_dir():", "tests/durable/test_inside.py",
    ),
    "a lock is written through a link": (
        "durable/lock.py", " | os.O_NOFOLLOW", "", "tests/durable/test_inside.py",
    ),
    "files are written where a database says": (
        "report/upload.py", "    settle_locations(runs, conclusion.tracked.study.name)\n", "", "tests/test_handed_over.py",
    ),
    "a trial whose worker is gone is answered": (
        "loop.py", "verdicts.keys() - dead", "verdicts.keys()", "tests/test_loop.py",
    ),
    "a result leads elsewhere by its key": (
        "execute/cluster/executor.py", "and event.key not in site.running", "and False", "tests/execute/cluster/test_executor.py",
    ),
    "sealed files are not checked": (
        "record/results.py", "if _seal(content) != text:", "if False:", "tests/record/test_results.py",
    ),
    "a model is scored unseen": (
        "coordinator.py", "        results.load(folder / key)  # checks the model's hash\n", "        pass\n", "tests/test_coordinator.py::test_a_model_that_was_damaged_before_it_was_scored_is_not_scored",
    ),
    "an artifact of a run is not checked": (
        "doctor.py", "if sha256_of(path) != digest:", "if False:", "tests/test_doctor.py::test_a_flipped_byte_in_a_tracked_model_is_named",
    ),
    "a finished training is not looked for": (
        "record/recover.py", "result = results.find(folder / trial.key)", "result = None", "tests/test_coordinator.py::test_a_trial_that_was_trained_and_not_told_is_not_trained_again",
    ),
    "trials that were cut off are forgotten": (
        "record/recover.py", "for trial in record.list_unfinished():", "for trial in []:", "tests/test_coordinator.py::test_an_interrupted_study_resumes_to_the_same_set_of_trials",
    ),
    "told without a claim's key": (
        "record/trials.py", "len(self.trials), phase=phase", "0, phase=phase", "tests/test_coordinator.py",
    ),
    "a run is written again": (
        "track/projection.py", "return trial.key not in self._whole", "return True", "tests/track/test_projection.py",
    ),
    "a database is made under its own name": (
        "track/tables.py", 'draft = db.with_name(f".{db.name}")', "draft = db", "tests/track/test_projection.py::test_a_database_that_was_cut_off_among_its_migrations_is_made_anew",
    ),
    "a run of another config is taken": (
        "track/projection.py", 'if run.tags.get("config") != trial.config.key:', "if False:", "tests/track/test_projection.py::test_a_run_of_another_config_under_the_same_key_is_not_taken_for_this_one",
    ),
    "a run that was made twice stays": (
        "track/projection.py", "self._client.delete_run(run.run_id)", "pass", "tests/track/test_projection.py::test_of_a_run_that_a_slow_server_made_twice_one_stays",
    ),
    "a result of another record is taken": (
        "coordinator.py", "        _refuse_strangers(folder, search, confirmation)\n", "", "tests/test_coordinator.py::test_results_of_another_record_are_refused_and_not_taken_for_those_of_this_one",
    ),
    "a result is relied on before its name is synced": (
        "record/results.py", "    sync(folder.parent)  # its writer", "    # its writer", "tests/record/test_results.py",
    ),
    "prepared rows are not synced": (
        "data/prepared.py", '    for path in (*draft.rglob("*"), draft):\n        sync(path)\n', "", "tests/data/test_prepared.py",
    ),
    "the name of prepared rows is not synced": (
        "data/prepared.py", "    sync(folder.parent)\n", "", "tests/data/test_prepared.py",
    ),
    "a created run is asked for twice": (
        "track/mlflow_api.py", 'os.environ[_RETRIES] = "0"', "pass", "tests/track/test_server.py",
    ),
    "a worker that is stopped outlives its parent": (
        "execute/process.py", ".prctl(PR_SET_PDEATHSIG, signal.SIGKILL)", "", "tests/execute/test_workers.py::test_no_worker_outlives_a_killed_coordinator",
    ),
    "a worker writes that settles in after its parent's death": (
        "execute/process.py", "    _end_with_parent(within_s=0)", "    pass", "tests/execute/test_workers.py::test_a_worker_whose_coordinator_died_before_it_settled_in_writes_nothing",
    ),
    "a run that was cut off is not found": (
        "track/projection.py", "for key in news if key in self._before}", "for key in news if False}", "tests/track/test_projection.py",
    ),
    "a half-written run is read": (
        "track/runs.py", "if run.info.status != RUNNING]", "]", "tests/track/test_projection.py::test_a_run_that_is_half_written_is_not_read",
    ),
    "a run is not one transaction": (
        "track/tables.py", 'with self._engine.begin() as connection:\n            for run_id', 'with self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:\n            for run_id', "tests/track/test_projection.py::test_a_run_of_rows_that_cannot_all_be_written_leaves_none",
    ),
    "tables of an unknown schema are written": (
        "track/tables.py", "    if revision == TESTED_REVISION:", "    if True:", "tests/track/test_tables.py",
    ),
    "paths are changed in tables of an unknown schema": (
        "track/tables.py", "    if revision != TESTED_REVISION:", "    if False:", "tests/track/test_tables.py",
    ),
    "a study is deleted without a mark": (
        "removal.py", '        write_durably(folder / results.DELETING, b"")\n', "", "tests/faults/test_delete.py::test_a_study_that_is_half_deleted_is_refused_by_every_other_command",
    ),
    "the mark of a deletion goes before the results": (
        "removal.py", "        folder.rename(runs.deleted_results(name))\n", "        (folder / results.DELETING).unlink()\n        folder.rename(runs.deleted_results(name))\n", "tests/test_removal.py::test_the_mark_goes_in_one_step_with_the_results",
    ),
    "half a bundle keeps its name": (
        "removal.py", "left.rename(runs.deleted_exports(name)) if left == runs.exports(name) else left", "left", "tests/test_removal.py::test_a_bundle_is_whole_or_gone_where_its_deletion_is_cut_off",
    ),
    "a renamed experiment loses its files": (
        "track/removal.py", "        refuse_renamed(client, runs, name)  # its files lie among ours\n", "", "tests/test_removal.py::test_an_experiment_that_was_renamed_in_mlflow_is_named_by_every_command_and_keeps_its_files",
    ),
    "a deleted experiment is not told from one in use": (
        "track/client.py", 'elif found.lifecycle_stage != "active":', "elif False:", "tests/test_removal.py::test_an_experiment_that_was_deleted_in_mlflow_is_named_by_every_command_and_deleted_by_ours",
    ),
    "runs stay below a parent run that is gone": (
        "track/projection.py", "            self._adopt_runs()\n", "", "tests/test_doctor.py::test_a_deleted_parent_run_is_written_anew_and_has_all_runs_below_it",
    ),
    "a lock is held on a file that is gone": (
        "durable/lock.py", "if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):", "if False:", "tests/durable/test_lock.py",
    ),
    "a report is printed before it is published": (
        "conduct/outcome.py", "    files = publish(conclusion)\n    show(conclusion, files)\n", "    show(conclusion, [])\n    publish(conclusion)\n", "tests/cli/test_stdout.py",
    ),
    "two coordinators": (
        "durable/lock.py", "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass", "tests/test_coordinator.py::test_a_second_coordinator_is_refused_with_the_name_of_the_first",
    ),
    "what could not be tracked is dropped": (
        "track/tracker.py", 'return list(islice(self._waiting, n))', 'return []', "tests/track/test_tracker.py",
    ),
    "a model is loaded unseen": (
        "train/model.py", "sorted(set(_find_strange_classes(", "sorted(set() and set(_find_strange_classes(", "tests/train/test_model.py",
    ),
    "a log is written through a link": (
        "layout.py", '(self.root / "logs").glob("*/*")', "()", "tests/test_handed_over.py",
    ),
    "what a server sends is written through a link": (
        "track/run_files.py", "        refuse_links((into, *into.rglob(\"*\")))\n", "", "tests/test_handed_over.py",
    ),
    "a file that was handed over may have no end": (
        "durable/given.py", "    if stat.S_ISREG(status.st_mode) and status.st_size <= limit:", "    if status.st_size <= limit:", "tests/durable/test_given.py",
    ),
    "a file that was handed over may be of any size": (
        "durable/given.py", " and status.st_size <= limit:", ":", "tests/durable/test_given.py",
    ),
    "predictions may be of any class": (
        "track/run_files.py", "            check_fit(found, facts.n_test, facts.n_classes, facts.n_features)\n", "", "tests/test_handed_over.py",
    ),
    "weights may lie in another file": (
        "train/weights.py", "            if item.external or item.is_virtual:", "            if False:", "tests/train/test_weights.py",
    ),
    "prepared rows may lie elsewhere": (
        "data/prepared.py", "        _refuse_links(folder)\n", "", "tests/data/test_prepared.py",
    ),
    "the environment turns telemetry on": (
        "environment.py", "{**DEFAULTS, **kept, **FIXED}", "{**DEFAULTS, **FIXED, **kept}", "tests/test_environment.py",
    ),
    "a model may loop": (
        "champion/onnx_operators.py", "sorted(set(held) - OPERATORS)", "sorted(set(held) - set(held))", "tests/champion/test_predict.py",
    ),
    "programs of others are run": (
        "durable/inside.py", "        shutil.rmtree(folder)\n        folder.mkdir(mode=0o700)\n", "        pass\n", "tests/durable/test_inside.py",
    ),
    "a probe is trained to its end": (
        "search/sources.py", "            return False  # a probe ends here", "            return True  # a probe ends here", "tests/search/test_freeze_thaw.py::test_a_probe_takes_an_epoch_and_a_promoted_one_all_of_them",
    ),
    "how a trial went is not recorded": (
        "record/trials.py", '{"course": asdict(course)}', "{}", "tests/search/test_freeze_thaw.py::test_what_is_proposed_follows_from_the_record_and_the_seed",
    ),
    "a promotion is forgotten": (
        "record/trials.py", 'lasting["promoted_from"] = promoted_from', "pass", "tests/search/test_freeze_thaw.py::test_a_search_that_is_cut_off_between_any_events_tries_what_an_uncut_one_does",
    ),
    "epochs of trials that run are not counted": (
        "search/budget.py", "        self._n_trials += 1\n        self._n_epochs += most_epochs(self._study, trial)\n", "        self._n_trials += 1\n", "tests/search/test_budget.py::test_epochs_are_not_exceeded_and_what_is_left_is_too_little_for_a_training",
    ),
    "a trial starts before its claim is durable": (
        "loop.py", "            self._ask(1 + n_free)\n", "            self._ask(1 + n_free)\n            self._submit()\n", "tests/test_loop.py",
    ),
    "a trial is tracked before it is told for good": (
        "loop.py", "            ended = [(self.source.tell(result), result) for result in results]\n", "            ended = [(self.source.tell(result), result) for result in results]\n            [self.track(*one) for one in ended]\n", "tests/test_loop.py",
    ),
    "what is written together is not one transaction": (
        "record/rows.py", "with self.engine.begin() as connection:", 'with self.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:', "tests/test_loop.py",
    ),
    "a worker's death is its trial's end": (
        "record/recover.py", "if n_deaths < MAX_DEATHS:", "if False:", "tests/test_loop.py",
    ),
    "a lost machine counts against its trials": (
        "search/sources.py", "+= death.blames_trial", "+= 1", "tests/test_loop.py::test_a_trial_whose_machine_is_lost_is_tried_again_however_often",
    ),
    "a result from elsewhere is stored unseen": (
        "execute/cluster/executor.py", ".hexdigest() != digest:", ".hexdigest() == 0:", "tests/execute/cluster/test_executor.py",
    ),
    "a result from elsewhere is acknowledged before it is stored": (
        "execute/cluster/executor.py", "        for one in said:\n", "        self._link.send(Acknowledge(site.number, said[-1].number))\n        for one in said:\n", "tests/execute/cluster/test_executor.py",
    ),
    "what is heard twice counts twice": (
        "execute/cluster/executor.py", "if one.number > site.n_heard:", "if True:", "tests/execute/cluster/test_executor.py",
    ),
    "an outpost that was given up is heard": (
        "execute/cluster/executor.py", "        del self._sites[site.number]\n", "", "tests/execute/cluster/test_executor.py",
    ),
    "an outpost forgets what was not acknowledged": (
        "execute/cluster/outpost.py", "talk.said[0][0] <= acknowledged:", "talk.said[0][0] <= 10**9:", "tests/execute/cluster/test_outpost.py",
    ),
    "orders that come twice are followed twice": (
        "execute/cluster/outpost.py", "if number <= self._talk.n_ordered:", "if False:", "tests/execute/cluster/test_outpost.py",
    ),
    "folders of dead outposts stay": (
        "execute/cluster/scratch.py", "    sweep_dead(base)\n", "", "tests/execute/cluster/test_outpost.py",
    ),
    "a machine that was just lost gets an outpost": (
        "execute/cluster/rules.py", "or quarantine.holds(machine.id):", "or False:", "tests/execute/cluster/test_rules.py",
    ),
    "the test split is sent to other machines": (
        "data/prepared.py", '= ("train", "validation")  # what', '= ("train", "validation", "test")  # what', "tests/data/test_prepared.py",
    ),
    "a transaction does not ask whether the study is still held": (
        "record/hold.py", '        event.listen(engine, "begin", self._check)\n', "", "tests/record/test_hold.py::test_no_write_lands_once_another_holds_the_study",
    ),
    "who asks whether a study is held does not keep it from being taken": (
        "record/hold.py", "WHERE number = :number FOR SHARE", "WHERE number = :number", "tests/record/test_hold.py::test_who_takes_a_study_over_waits_for_the_transaction_that_writes",
    ),
    "an earlier number is left": (
        "record/hold.py", "DELETE FROM {TABLE} WHERE study = :study)", "SELECT)", "tests/record/test_hold.py::test_no_write_lands_once_another_holds_the_study",
    ),
    "two coordinators on a server": (
        "record/hold.py", "SELECT pg_try_advisory_lock(:key)", "SELECT :key IS NOT NULL", "tests/record/test_hold.py::test_a_second_coordinator_is_refused_with_the_name_of_the_first",
    ),
    "a holder that lost its session goes on": (
        "record/hold.py", "        if self._trouble is not None:\n            self._raise_lost(self._trouble)\n", "        pass\n", "tests/record/test_hold.py::test_a_holder_whose_session_ended_stops_though_nobody_took_over",
    ),
    "a silent holder keeps its session": (
        "record/hold.py", "open_sessions(server, idle_session_timeout=round(LEASE_S * 1000))", "open_sessions(server)", "tests/record/test_hold.py::test_a_server_ends_the_session_of_a_holder_that_is_silent",
    ),
    "a coordinator that waits does not look whether it holds its study": (
        "coordinator.py", "    held.poll()\n", "", "tests/test_coordinator.py::test_a_coordinator_that_lost_its_study_stops_while_it_waits_and_tracks_nothing",
    ),
    "MLflow is written without the study": (
        "track/tracker.py", "            self._check_hold()\n            projection.write(ended)\n", "            projection.write(ended)\n", "tests/track/test_tracker.py::test_nothing_is_written_once_the_study_is_lost",
    ),
    "a call of MLflow's that was under way commits without the study": (
        "track/guard.py", "            with self._guarded():\n                return found(*arguments, **options)", "            return found(*arguments, **options)", "tests/track/test_guard.py::test_a_call_writes_nothing_where_the_study_is_lost",
    ),
    "drafts are removed without the study": (
        "record/recover.py", "    record.hold.check()  # before anything is removed", "    pass  # before anything is removed", "tests/record/test_hold.py::test_a_coordinator_that_lost_its_study_removes_and_saves_no_file",
    ),
    "a failure is saved without the study": (
        "record/recover.py", "    record.hold.check()  # the files of a result", "    pass  # the files of a result", "tests/record/test_hold.py::test_a_coordinator_that_lost_its_study_removes_and_saves_no_file",
    ),
    "a later result of a trial is an error": (
        "record/results.py", "if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):", "if True:", "tests/record/test_results.py::test_of_two_results_of_one_trial_the_first_stays_and_is_what_the_second_writer_gets",
    ),
    "a password is quoted": (
        "record_server.py", 'mask(text, [self.password or ""])', "text", "tests/test_record_server.py::test_no_text_of_a_server_holds_its_password",
    ),
}  # fmt: skip


def test_every_guard_stands_once_as_it_is_taken_out():
    gone = [name for name, text, *_ in MUTATIONS.values() if (ROOT / "sweep" / name).read_text().count(text) != 1]
    assert gone == []


@pytest.mark.faults
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_guard_that_is_taken_out_is_missed(tmp_path, mutation):
    name, text, instead, tests = MUTATIONS[mutation]
    for folder in ("sweep", "tests", "studies"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "results", ".site")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "sweep" / name
    path.write_text(path.read_text().replace(text, instead))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "not faults", "-x", "-p", "no:cacheprovider", tests],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, f"nothing saw that {mutation}:\n{done.stdout[-2000:]}"
    assert " failed" in done.stdout
