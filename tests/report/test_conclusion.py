"""Rules of the conclusion that few studies meet: failed replicates, ties between finalists, a baseline that wins."""

from dataclasses import replace

import pytest

from sweep.report.conclusion import conclude
from sweep.track.runs import read_study
from sweep.trial import State
from tests.studies import FILES, fake_sweep, tiny_table


@pytest.fixture(scope="module")
def tracked(new_runs):
    runs = new_runs()
    fake_sweep(runs, tiny_table(search={"trials": 16, "sampler": "random"}), files=FILES)
    return read_study(runs, "tiny")


def changed(tracked, change):
    """The study as it would be if `change` had happened to each of its trials."""
    return replace(tracked, trials=tuple(map(change, tracked.trials)))


def of(conclusion, name):
    return next(column for column in conclusion.columns if column.finalist.name == name)


def test_a_replicate_that_failed_counts_in_no_figure(tracked):
    column = conclude(tracked).columns[0]
    failed, *others = column.replicate_runs

    def fail(one):
        return replace(one, state=State.FAILED, metrics={"val_accuracy": 0.0}) if one.run_id == failed else one

    after = of(conclude(changed(tracked, fail)), column.finalist.name)
    assert after.replicate_runs == tuple(others)
    assert after.summaries["val_accuracy"].n == len(others)
    assert after.summaries["val_accuracy"].mean > 0


def tie(tracked, losses):
    """All replicates with one validation accuracy, and a validation loss by their finalist's number of hidden layers."""

    def level(one):
        if one not in tracked.replicates:
            return one
        depth = one.trial.config.hidden_layers
        metrics = {**one.metrics, "val_accuracy": 0.9, "val_loss": losses[depth]}
        return replace(one, metrics=metrics, params_count=1000 * sum(one.trial.config.units))

    return changed(tracked, level)


def test_of_equal_finalists_the_one_with_the_lower_validation_loss_is_champion(tracked):
    for better, worse in ((1, 2), (2, 1)):
        champion = conclude(tie(tracked, {better: 0.3, worse: 0.4})).champion
        assert champion.finalist.config.hidden_layers == better


def test_of_finalists_with_equal_losses_too_the_smallest_net_is_champion(tracked):
    conclusion = conclude(tie(tracked, {1: 0.3, 2: 0.3}))
    sizes = [column.params_count for column in conclusion.columns]
    assert len(set(sizes)) == len(sizes)
    assert conclusion.champion.params_count == min(sizes)


def test_a_champion_that_is_a_baseline_is_not_compared_with_itself(tracked):
    def favour(one):
        is_its = one in tracked.replicates and one.trial.name == "by hand"
        return replace(one, metrics={**one.metrics, "val_accuracy": 0.99}) if is_its else one

    conclusion = conclude(changed(tracked, favour))
    assert conclusion.champion.finalist.name == "by hand"
    assert not conclusion.champion.finalist.is_selected
    pairs = [(verdict.first, verdict.second) for verdict in conclusion.verdicts]
    assert pairs == [tuple(column.finalist.name for column in conclusion.selected)]


def selected_in_a_tie(tracked, losses, *, confirmed):
    """The selected config of a group two of whose trials are tied, with these losses; `confirmed` is whether its replicates count."""
    group = [one for one in tracked.searched if one.trial.config.hidden_layers == 1 and one.state == State.COMPLETE]
    first, second = group[0], group[1]

    def level(one):
        if one not in tracked.searched:
            return one
        value = 0.99 if one in (first, second) else 0.5
        metrics = {name: value if name.endswith("accuracy") else x for name, x in one.metrics.items()}
        return replace(one, metrics=metrics | ({"val_loss": losses[one is second]} if one in (first, second) else {}))

    changed_study = changed(tracked, level)
    if confirmed:
        replicate = tracked.replicates[0]
        named = replace(replicate.trial, name="best with one hidden layer", config=second.trial.config)
        changed_study = replace(changed_study, trials=(*changed_study.trials, replace(replicate, trial=named)))
    chosen = of(conclude(changed_study), "best with one hidden layer").finalist.config
    return {first.trial.config: "first", second.trial.config: "second"}[chosen]


def test_of_equal_trials_the_lower_loss_is_selected_then_the_first_but_one_that_was_confirmed_stays(tracked):
    assert selected_in_a_tie(tracked, (0.3, 0.2), confirmed=False) == "second"
    assert selected_in_a_tie(tracked, (0.2, 0.3), confirmed=False) == "first"
    assert selected_in_a_tie(tracked, (0.2, 0.2), confirmed=False) == "first"
    assert selected_in_a_tie(tracked, (0.2, 0.3), confirmed=True) == "second"


def test_the_champion_is_compared_with_every_baseline_and_the_selected_with_each_other(tracked):
    conclusion = conclude(tracked)
    assert conclusion.tracked is tracked
    assert conclusion.champion.finalist.is_selected
    one, two = (column.finalist.name for column in conclusion.selected)
    pairs = [(verdict.first, verdict.second) for verdict in conclusion.verdicts]
    assert pairs == [(one, two), (conclusion.champion.finalist.name, "baseline by hand")]
