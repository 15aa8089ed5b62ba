"""The search by probes and a model of curves, on the real record; a tabular executor or the test answers for the trials."""

from collections import Counter, defaultdict
from dataclasses import replace

import pytest

from sweep.errors import Interrupted, InvalidStudyError
from sweep.execute.fake import plausible_logs
from sweep.execute.tabular import TabularExecutor, VirtualClock
from sweep.loop import run_trials
from sweep.record.trials import Record
from sweep.search.defaults import default_config
from sweep.search.freeze_thaw import N_FIRST, FreezeThaw
from sweep.search.sources import SearchSource
from sweep.study.file import parse_study
from sweep.study.schema import PROBE_EPOCHS
from sweep.trial import Phase, State, TrialResult
from tests.studies import FACTS, tiny_table

N_EPOCHS = 5
SMALL = {"hidden_layers": {"choice": [1, 2]}, "units": {"choice": [4, 8]}, "batch_size": 32}  # 2 + 4 configs


def study(**changes):
    changes = {"search": {"trials": 200}, "baselines": None, "confirmation": None} | changes
    return parse_study(tiny_table(training={"max_epochs": N_EPOCHS}, **changes), "tiny.toml")


def open_record(runs, the_study):
    return Record.open(runs.optuna_db, the_study, Phase.SEARCH, FACTS)


def tell(record, suggester, trial, *, fails=False):
    """End a trial: a probe after an epoch, another after all of them."""
    n = PROBE_EPOCHS if trial.rungs else N_EPOCHS
    history = [plausible_logs(trial.config, trial.seed, epoch) for epoch in range(1, n + 1)]
    for rung in trial.rungs:
        record.report(trial.key, rung, history[rung - 1]["val_accuracy"])
    state = State.FAILED if fails else State.PRUNED if trial.rungs else State.COMPLETE
    metrics = {} if fails else {"val_accuracy": history[-1]["val_accuracy"]}
    result = TrialResult(key=trial.key, state=state, history=history, metrics=metrics, started_at=1.0, ended_at=2.0)
    record.tell(result)
    suggester.tell(result)


def search(record, suggester, n):
    trials = []
    for _ in range(n):
        trial = suggester.suggest()
        tell(record, suggester, trial)
        trials.append(trial)
    return trials


def sweep(runs, the_study, n_slots=1, n_events=10**9):
    """Run a search by the real loop, until it ends or `n_events` have passed. Return its trials."""
    record, events, clock = open_record(runs, the_study), iter(range(10**9)), VirtualClock()
    folder = runs.results(the_study.name)
    run_trials(
        SearchSource(the_study, record, folder, clock),
        lambda: TabularExecutor(folder, the_study.training, plausible_logs, n_slots, clock),
        lambda trial, result: None,
        lambda trial, event: None,
        lambda: next(events) >= n_events,
    )
    return list(record.trials.values())


def identities(trials):
    return [(t.config, t.seed, t.promoted_from) for t in trials]


def test_what_is_proposed_follows_from_the_record_and_the_seed(runs):
    whole, again, other = study(), study(name="again"), study(name="other", seed=8)
    record = open_record(runs, whole)
    uncut = search(record, FreezeThaw(whole, record), 40)

    cut = []
    for n in (5, 1, 14, 20):
        record = open_record(runs, again)
        cut += search(record, FreezeThaw(again, record), n)
    assert identities(cut) == identities(uncut)

    record = open_record(runs, other)
    assert identities(search(record, FreezeThaw(other, record), 5)) != identities(uncut[:5])


def test_a_search_that_is_cut_off_between_any_events_tries_what_an_uncut_one_does(runs):
    budget = {"epochs": 60}
    uncut = sweep(runs, study(search=budget))
    again = study(name="again", search=budget)
    for n_events in range(1, 50, 7):
        try:
            sweep(runs, again, n_events=n_events)
        except Interrupted:
            continue
    cut = sweep(runs, again)
    assert [replace(one.trial, attempt=0) for one in cut] == [replace(one.trial, attempt=0) for one in uncut]
    assert [one.value for one in cut] == [one.value for one in uncut]


@pytest.mark.parametrize("n_slots", [1, 2, 16])
def test_a_config_is_tried_as_one_probe_and_promoted_at_most_once_with_the_seed_of_its_probe(runs, n_slots):
    trials = [one.trial for one in sweep(runs, study(search={"epochs": 140}), n_slots)]
    probes = {t.number: t for t in trials if t.promoted_from is None}
    promoted = [t for t in trials if t.promoted_from is not None]
    assert len({t.config for t in probes.values()}) == len(probes)
    assert len({t.config for t in promoted}) == len(promoted) >= 5
    assert all((t.config, t.seed) == (probes[t.promoted_from].config, probes[t.promoted_from].seed) for t in promoted)


def test_a_probe_takes_an_epoch_and_a_promoted_one_all_of_them(runs):
    for one in sweep(runs, study(search={"epochs": 100})):
        n_epochs, state = (N_EPOCHS, State.COMPLETE) if one.trial.promoted_from is not None else (1, State.PRUNED)
        assert (one.course.n_epochs, one.state) == (n_epochs, state)


def test_the_defaults_of_every_group_are_its_first_probe(runs):
    the_study = study(confirmation={"group_by": "hidden_layers"})
    record = open_record(runs, the_study)
    first = {trial.config for trial in search(record, FreezeThaw(the_study, record), 2)}
    assert first == {default_config(space) for space in the_study.subspaces().values()}


@pytest.mark.parametrize("group_by", ["hidden_layers", "batch_size"])
def test_groups_get_as_many_epochs_as_one_another(runs, group_by):
    spent = defaultdict(int)
    for one in sweep(runs, study(search={"epochs": 100}, confirmation={"group_by": group_by})):
        spent[getattr(one.trial.config, group_by)] += one.course.n_epochs
    assert max(spent.values()) - min(spent.values()) <= N_EPOCHS


def test_free_coverage_leaves_the_groups_to_the_model(runs):
    spent = Counter()
    for one in sweep(runs, study(search={"epochs": 100, "coverage": "free"}, confirmation={})):
        spent[one.trial.config.hidden_layers] += one.course.n_epochs
    assert max(spent.values()) - min(spent.values()) > N_EPOCHS


def test_a_small_space_is_tried_whole_each_config_as_a_probe_and_to_its_end(runs):
    trials = sweep(runs, study(space=SMALL))
    assert Counter(one.state for one in trials) == {State.PRUNED: 6, State.COMPLETE: 6}
    assert len({one.trial.config for one in trials}) == 6


def test_the_better_configs_are_the_ones_that_are_trained_to_their_end(runs):
    trials = sweep(runs, study(search={"epochs": 90}))

    def mean(state):
        found = [plausible_logs(t.trial.config, 0, N_EPOCHS)["val_accuracy"] for t in trials if t.state == state]
        return sum(found) / len(found)

    assert mean(State.COMPLETE) > mean(State.PRUNED) + 0.005


def test_a_config_that_diverged_is_not_proposed_again_and_its_neighbours_are_avoided(runs):
    space = {"hidden_layers": 1, "units": 8, "learning_rate": {"float": [1e-4, 1.0], "log": True}}
    the_study = study(space=space)
    record = open_record(runs, the_study)
    suggester = FreezeThaw(the_study, record)
    for _ in range(60):
        trial = suggester.suggest()
        tell(record, suggester, trial, fails=trial.config.learning_rate > 0.05)
    rates = [one.trial.config.learning_rate for one in record.trials.values()]
    failed = [one.trial.config for one in record.trials.values() if one.state == State.FAILED]
    assert len(set(failed)) == len(failed)
    first, last = rates[:N_FIRST], rates[-25:]
    assert sum(rate > 0.05 for rate in last) / len(last) < sum(rate > 0.05 for rate in first) / len(first)


@pytest.mark.parametrize("n", [2, 16])
def test_trials_that_run_side_by_side_differ(runs, n):
    the_study = study()
    record = open_record(runs, the_study)
    suggester = FreezeThaw(the_study, record)
    search(record, suggester, 30)
    running = [suggester.suggest() for _ in range(n)]
    assert len({trial.config for trial in running}) == n


def test_a_baseline_of_the_space_teaches_the_model_and_is_not_probed(runs):
    by_hand = {"name": "by hand", "units": [16, 8], "dropout": 0.5, "batch_size": 64}
    trials = [one.trial for one in sweep(runs, study(search={"epochs": 60}, baselines=[by_hand]))]
    assert [t.phase for t in trials if t.config == trials[0].config] == [Phase.BASELINE]


def test_where_a_training_is_about_as_short_as_a_probe_trials_are_trained_whole(runs):
    the_study = parse_study(
        tiny_table(training={"max_epochs": 3}, search={"trials": 15}, baselines=None, confirmation=None), "tiny.toml"
    )
    trials = sweep(runs, the_study)
    assert {one.state for one in trials} == {State.COMPLETE}
    assert len({one.trial.config for one in trials}) == 15


def test_a_pruner_beside_it_is_refused():
    pruner = {"kind": "median", "rungs": [1]}
    with pytest.raises(InvalidStudyError, match="decides itself which trials go on"):
        study(search={"trials": 4, "sampler": "freeze_thaw", "pruner": pruner})
