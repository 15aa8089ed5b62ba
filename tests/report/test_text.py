import csv
import io
import json
import re
import shutil
import statistics
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sweep.cli.commands import main
from sweep.errors import MissingRunsError
from sweep.layout import RunsDir
from sweep.report.conclusion import compare_champions, conclude, stack_scores
from sweep.report.files import publish
from sweep.report.interval import accuracy_interval
from sweep.report.text import build_tables, champion_line, to_csv, to_dict, to_markdown
from sweep.track.runs import read_study
from tests.studies import FACTS, FILES, STUDY, fake_sweep, tiny_table


@pytest.fixture(scope="module")
def swept(new_runs):
    """A finished study on the fake executor."""
    runs = new_runs()
    fake_sweep(runs, tiny_table(search={"trials": 12, "sampler": "random"}), files=FILES)  # enough to beat the baseline
    return runs


@pytest.fixture(scope="module")
def conclusion(swept):
    return conclude(read_study(swept, "tiny"))


def cells(rows, title):
    return next(row[1:] for row in rows if row[0] == title)


def test_a_column_for_each_depth_and_each_baseline(conclusion):
    (_, selected), (_, baselines) = build_tables(conclusion)
    assert selected[0] == ["Metric", "Best with one hidden layer", "Best with two hidden layers"]
    assert baselines[0] == ["Metric", "By hand"]
    assert cells(baselines, "Hidden units") == ["16-8"]
    assert cells(selected, "Replicates") == ["2", "2"]


def test_figures_are_mean_and_deviation_of_the_replicates(conclusion):
    column = conclusion.columns[0]
    mine = [r for r in conclusion.tracked.replicates if r.trial.config == column.finalist.config]
    accuracies = [replicate.metrics["test_accuracy"] for replicate in mine]
    assert column.summaries["test_accuracy"].mean == pytest.approx(statistics.mean(accuracies), abs=1e-12)
    assert column.summaries["test_accuracy"].sd == pytest.approx(statistics.stdev(accuracies), abs=1e-12)


def test_what_was_selected_is_shown_as_it_was_selected_and_as_it_was_confirmed(conclusion):
    (_, selected), _ = build_tables(conclusion)
    by_depth = {
        depth: [s for s in conclusion.tracked.searched if s.trial.config.hidden_layers == depth] for depth in (1, 2)
    }
    best = [
        max(s.metrics["settled_val_accuracy"] for s in of_it if s.state == "complete") for of_it in by_depth.values()
    ]
    assert cells(selected, "Validation accuracy, last epochs, when selected") == [f"{value:.4f}" for value in best]
    for title, metric in {
        "Validation accuracy, last epochs": "settled_val_accuracy",
        "Validation accuracy": "val_accuracy",
    }.items():
        assert cells(selected, title) == [column.summaries[metric].text for column in conclusion.selected]
    assert cells(selected, "Trials seen") == [str(len(of_it)) for of_it in by_depth.values()]


def test_an_interval_stands_below_the_test_accuracy(conclusion):
    (_, selected), _ = build_tables(conclusion)
    column = conclusion.selected[0]
    low, high = column.summaries["test_accuracy"].interval
    assert (low, high) == accuracy_interval(stack_scores(conclusion.tracked, column))
    assert cells(selected, "Test accuracy, 95 % interval")[0] == f"{low:.4f} to {high:.4f}"


def test_groups_are_compared_with_one_another_and_the_champion_with_every_baseline(conclusion):
    pairs = {(v.first, v.second) for v in conclusion.verdicts}
    one, two = (column.finalist.name for column in conclusion.selected)
    champion = conclusion.champion.finalist.name
    others = {c.finalist.name for c in conclusion.columns if not c.finalist.is_selected} - {champion}
    assert pairs == {(one, two)} | {(champion, f"baseline {other}") for other in others}
    for v in conclusion.verdicts:
        assert v.p >= v.comparison.p
        assert v.text in to_markdown(conclusion)


def test_published_figures_stand_below_ours(conclusion):
    _, (_, baselines) = build_tables(conclusion)
    assert cells(baselines, "Test accuracy, published") == ["0.5"]
    assert cells(baselines, "Train accuracy (running), published") == ["0.5"]
    assert [row for row in baselines if row[0] == "Train accuracy, published"] == []


def test_the_champion_is_the_best_by_validation_never_by_test(conclusion):
    best = max(conclusion.columns, key=lambda column: column.summaries["val_accuracy"].mean)
    assert conclusion.champion is best
    assert champion_line(conclusion).startswith(best.finalist.name.capitalize())


def test_finalists_of_the_report_are_those_that_were_confirmed(conclusion):
    confirmed = {replicate.trial.config for replicate in conclusion.tracked.replicates}
    assert {column.finalist.config for column in conclusion.columns} == confirmed


def test_the_same_runs_give_the_same_bytes_also_after_a_move(swept, tmp_path):
    first = [path.read_bytes() for path in publish(conclude(read_study(swept, "tiny")))]
    moved = RunsDir(tmp_path / "moved")
    shutil.copytree(swept.root, moved.root)
    assert [path.read_bytes() for path in publish(conclude(read_study(moved, "tiny")))] == first


def test_every_file_names_the_runs_it_was_made_from(conclusion):
    run_ids = {replicate.run_id for replicate in conclusion.tracked.replicates} | {conclusion.tracked.parent_run_id}
    markdown, table = to_markdown(conclusion), to_csv(conclusion)
    assert all(run_id in markdown for run_id in run_ids)
    rows = list(csv.DictReader(io.StringIO(table)))
    assert {run_id for row in rows for run_id in row["run_ids"].split()} == run_ids - {conclusion.tracked.parent_run_id}


def test_json_holds_what_the_table_shows(conclusion):
    found = json.loads(json.dumps(to_dict(conclusion)))
    assert found["champion"] == conclusion.champion.finalist.name
    assert found["trials"] == Counter(searched.state for searched in conclusion.tracked.searched)
    assert [finalist["metrics"]["test_loss"]["n"] for finalist in found["finalists"]] == [2, 2, 2]


def test_a_study_without_validation_rows_says_so_and_has_no_champion(runs):
    facts = FACTS.__class__(**{**FACTS.__dict__, "n_validation": 0})
    table = tiny_table(
        data={"source": "tiny.npz", "validation_rows": 0}, space=None, search=None, training={"max_epochs": 2}
    )
    fake_sweep(runs, table, facts=facts, curve=lambda config, seed, epoch: {"loss": 0.1, "accuracy": 0.9})
    found = conclude(read_study(runs, "tiny"))
    ((_, rows),) = build_tables(found)
    assert cells(rows, "Validation accuracy") == ["no validation rows"]
    assert found.champion is None
    assert "no validation rows to choose by" in champion_line(found)


def test_a_study_that_was_never_run_is_a_named_error(runs):
    with pytest.raises(MissingRunsError, match="holds no runs of study 'other'"):
        read_study(runs, "other")
    with pytest.raises(MissingRunsError, match=r"no such file; run the study first"):
        read_study(RunsDir(runs.root / "nowhere"), "tiny")


def test_runs_whose_files_are_gone_are_a_named_error(swept, tmp_path):
    shutil.copytree(swept.root, tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "artifacts")
    with pytest.raises(MissingRunsError, match="was the runs directory copied whole"):
        read_study(RunsDir(tmp_path / "cut"), "tiny")


def test_a_baseline_that_wins_its_group_stands_in_both_tables(runs):
    def baseline_wins(config, seed, epoch):
        accuracy = 0.9 if config.units == (16, 8) else 0.5
        return {"loss": 0.1, "accuracy": accuracy, "val_loss": 0.1, "val_accuracy": accuracy}

    fake_sweep(runs, curve=baseline_wins)
    found = conclude(read_study(runs, "tiny"))
    (_, selected), (_, baselines) = build_tables(found)
    assert cells(selected, "Hidden units")[-1] == "16-8"
    assert cells(baselines, "Hidden units") == ["16-8"]
    assert "(the baseline 'by hand')" in champion_line(found)


def test_champions_of_two_studies_are_compared_where_they_saw_the_same_test_rows(swept, tmp_path, capsys):
    runs = RunsDir(tmp_path / "mlruns")
    shutil.copytree(swept.root, runs.root)
    fake_sweep(runs, tiny_table(name="other", seed=8), files=FILES)
    paths = []
    for name, seed in (("tiny", 7), ("other", 8)):
        paths.append(str(tmp_path / f"{name}.toml"))
        Path(paths[-1]).write_text(
            STUDY.replace('name = "tiny"', f'name = "{name}"').replace("seed = 7", f"seed = {seed}")
        )
    assert main(["compare", *paths, "--runs-dir", str(runs.root)]) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r"^- Tiny and other: [+-]0\.\d{4}, ", said, re.M)) == 1
    assert "not compared" not in said
    first, second = (conclude(read_study(runs, name)) for name in ("tiny", "other"))
    facts = replace(first.tracked.facts, sha256="1" * 64)
    assert compare_champions([replace(first, tracked=replace(first.tracked, facts=facts)), second]) == []


def test_accuracies_and_losses_have_intervals_that_they_can_have(conclusion):
    for finalist in to_dict(conclusion)["finalists"]:
        for metric, found in finalist["metrics"].items():
            low, high = found["interval"]
            assert 0 <= low <= found["mean"] <= high
            assert high <= 1 or metric.endswith("loss")


def test_a_study_without_test_rows_says_so_once_and_how_to_get_some(runs):
    fake_sweep(runs, facts=replace(FACTS, n_test=0), files=FILES)
    found = conclude(read_study(runs, "tiny"))
    tables = build_tables(found)
    assert not [row for _, rows in tables for row in rows if row[0].startswith("Test")]
    assert len(re.findall("no test rows", to_markdown(found))) == 1
    assert "set `test_rows` under [data]" in to_markdown(found)
    assert "test rows were opened" not in to_markdown(found)


def test_a_champion_that_is_tied_is_said_to_be_and_has_the_lower_validation_loss(runs):
    def two_are_alike(config, seed, epoch):
        loss = 0.1 if config.hidden_layers == 2 else 0.2
        return {"loss": 0.1, "accuracy": 0.9, "val_loss": loss, "val_accuracy": 0.9}

    fake_sweep(runs, tiny_table(baselines=[]), curve=two_are_alike, files=FILES)
    found = conclude(read_study(runs, "tiny"))
    assert found.champion.finalist.name == "best with two hidden layers"
    assert (
        "Tied with best with one hidden layer in mean val_accuracy; the lower validation loss decided."
        in champion_line(found)
    )
    assert [column.n_tied for column in found.columns] == [1, 1], "trials of a group are alike as well"
    assert "tied with another trial when it was selected; the order of trials decided." in to_markdown(found)


def test_a_group_s_tie_is_broken_by_validation_loss_and_what_is_confirmed_is_what_is_reported(runs):
    def loss_by_size(config, seed, epoch):
        return {"loss": 0.1, "accuracy": 0.9, "val_loss": 1 / sum(config.units), "val_accuracy": 0.9}

    fake_sweep(
        runs, tiny_table(search={"trials": 10, "sampler": "random"}, baselines=[]), curve=loss_by_size, files=FILES
    )
    found = conclude(read_study(runs, "tiny"))
    for column in found.selected:
        group = [t.trial.config for t in found.tracked.searched if t.trial.config.hidden_layers == column.finalist.config.hidden_layers]  # fmt: skip
        assert sum(column.finalist.config.units) == max(sum(config.units) for config in group)
        assert len(column.replicate_runs) == 2
    assert "the lower validation loss decided" in to_markdown(found)


def test_the_largest_class_stands_beside_accuracies_where_classes_are_uneven(conclusion):
    tracked = conclusion.tracked
    labels = np.where(np.arange(FACTS.n_test) < 95, 0, 1)
    uneven = {
        run: replace(p, labels=labels.astype(p.labels.dtype), predicted=np.zeros_like(p.predicted))
        for run, p in tracked.predictions.items()
    }
    found = replace(conclusion, tracked=replace(tracked, predictions=uneven))
    (_, selected), _ = build_tables(found)
    assert cells(selected, "Test accuracy of a dummy") == ["0.9500", "0.9500"]
    line = champion_line(found)
    assert "Its test accuracy is no better than always answering `0`, the class of 0.9500 of the test rows." in line
    assert "The dummy is the floor, no model at all: always answering `" in to_markdown(conclusion)
    assert "always answering" not in champion_line(conclusion), "its classes are even"
