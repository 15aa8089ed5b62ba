import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest

from sweep.errors import RecordError
from sweep.layout import RunsDir
from sweep.record.storage import is_recorded
from sweep.record.trials import Record, read_stored_search
from sweep.search.sampler import Suggester
from sweep.study.file import parse_study
from sweep.study.space import Choice
from sweep.trial import Phase, State, TrialResult
from tests.studies import FACTS, tiny_table

SMALL = {"hidden_layers": {"choice": [1, 2]}, "units": {"choice": [4, 8]}, "batch_size": 32}  # 2 + 4 configs


def study(sampler="tpe", **changes):
    return parse_study(tiny_table(search={"trials": 50, "sampler": sampler}, **changes), "tiny.toml")


def open_record(runs, the_study):
    return Record.open(runs.optuna_db, the_study, Phase.SEARCH, FACTS)


def read_frozen(runs):
    """Return the trials of the search as Optuna has them, by number."""
    return optuna.load_study(storage=f"sqlite:///{runs.optuna_db}", study_name="tiny").trials


def result(trial, state=State.COMPLETE):
    value = 1 - abs(trial.config.units[0] - 20) / 100 - trial.config.dropout / 10
    return TrialResult(key=trial.key, state=state, metrics={"val_accuracy": value}, started_at=1.0, ended_at=2.0)


def tell(record, suggester, trial, state=State.COMPLETE):
    if state == State.PRUNED:
        value = result(trial).metrics["val_accuracy"]
        record.report(trial.key, 1, value)
        suggester.report(trial.key, 1, value)
    record.tell(result(trial, state))
    suggester.tell(result(trial, state))


def search(record, suggester, n):
    trials = []
    for _ in range(n):
        trials.append(suggester.suggest())
        state = (State.COMPLETE, State.COMPLETE, State.PRUNED, State.FAILED)[trials[-1].number % 4]
        tell(record, suggester, trials[-1], state)
    return trials


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_that_was_cut_suggests_what_an_uncut_one_does(runs, tmp_path, sampler):
    whole = study(sampler)
    record = open_record(runs, whole)
    uncut = [trial.config for trial in search(record, Suggester(whole, record), 24)]

    again = study(sampler, name="again")
    cut = []
    for n in (5, 1, 10, 8):
        record = open_record(runs, again)
        cut += [trial.config for trial in search(record, Suggester(again, record), n)]
    assert cut == uncut


def test_tpe_learns_from_what_it_is_told(runs):
    the_study = study()
    record = open_record(runs, the_study)
    values = [result(trial).metrics["val_accuracy"] for trial in search(record, Suggester(the_study, record), 40)]
    assert sum(values[-15:]) / 15 > sum(values[:10]) / 10 + 0.01


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_small_space_is_covered_once_and_then_exhausted(runs, sampler):
    the_study = study(sampler, space=SMALL, baselines=None)
    record = open_record(runs, the_study)
    suggester = Suggester(the_study, record)
    configs = [trial.config for trial in search(record, suggester, 6)]
    assert len(set(configs)) == 6
    assert suggester.suggest() is None


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_range_whose_step_does_not_divide_it_is_searched_up_to_its_last_step_and_then_over(runs, sampler):
    space = {"hidden_layers": 1, "units": 8, "dropout": {"float": [0.0, 0.5], "step": 0.15}}
    the_study = study(sampler, space=space, baselines=None)
    record = open_record(runs, the_study)
    suggester = Suggester(the_study, record)
    assert sorted(trial.config.dropout for trial in search(record, suggester, 4)) == [0.0, 0.15, 0.3, 0.45]
    assert suggester.suggest() is None


def test_a_baseline_on_the_last_step_of_a_range_lies_in_the_space(runs):
    space = {"hidden_layers": 1, "units": 8, "dropout": {"float": [0.0, 0.5], "step": 0.15}}
    the_study = study(space=space, baselines=[{"name": "last", "units": [8], "dropout": 0.45}])
    suggester = Suggester(the_study, open_record(runs, the_study))
    assert suggester.claim(the_study.baselines[0].config, Phase.BASELINE).config.dropout == 0.45


def test_where_chance_finds_no_new_config_the_first_that_was_not_tried_is_taken(runs, monkeypatch):
    monkeypatch.setattr("sweep.search.sampler.MAX_REDRAWS", 1)
    the_study = study("random", space={"hidden_layers": 1, "units": {"choice": [8, 16, 32]}})
    record = open_record(runs, the_study)
    suggester = Suggester(the_study, record)
    assert sorted(trial.config.units for trial in search(record, suggester, 3)) == [(8,), (16,), (32,)]
    assert suggester.suggest() is None


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
@pytest.mark.parametrize("group_by", ["hidden_layers", "batch_size", "batch_norm"])
def test_every_group_gets_as_many_trials_as_another(runs, sampler, group_by):
    space = {"hidden_layers": {"choice": [1, 2]}, "units": {"int": [4, 32]}, "batch_size": {"choice": [32, 64, 96]}, "batch_norm": {"choice": [True, False]}}  # fmt: skip
    the_study = study(sampler, space=space, confirmation={"group_by": group_by})
    record = open_record(runs, the_study)
    suggester = Suggester(the_study, record)
    suggester.claim(
        the_study.space.config(lambda name, axis: axis.options[0] if isinstance(axis, Choice) else axis.low),
        Phase.BASELINE,
    )
    trials = search(record, suggester, 11)
    groups = Counter(getattr(recorded.trial.config, group_by) for recorded in record.trials.values())
    assert set(groups.values()) == {12 // len(groups)}
    assert len(groups) == (3 if group_by == "batch_size" else 2)
    recorded = [frozen.params[group_by] for frozen in read_frozen(runs)[1:]]
    assert recorded == [getattr(trial.config, group_by) for trial in trials]


def test_a_group_that_is_exhausted_leaves_its_budget_to_the_others(runs):
    the_study = study(space={**SMALL, "units": {"choice": [4, 8, 12]}}, baselines=None)  # 3 of one layer, 9 of two
    record = open_record(runs, the_study)
    depths = [trial.config.hidden_layers for trial in search(record, Suggester(the_study, record), 12)]
    assert sorted(depths[:6]) == [1, 1, 1, 2, 2, 2]
    assert depths[6:] == [2] * 6


def test_a_study_may_leave_the_shares_of_groups_to_the_sampler(runs):
    the_study = parse_study(tiny_table(search={"trials": 50, "sampler": "random", "coverage": "free"}), "tiny.toml")
    record = open_record(runs, the_study)
    depths = [trial.config.hidden_layers for trial in search(record, Suggester(the_study, record), 12)]
    assert depths != [1, 2] * 6


def test_widths_are_recorded_for_the_layers_a_config_has(runs):
    the_study = study()
    record = open_record(runs, the_study)
    search(record, Suggester(the_study, record), 12)
    for frozen, recorded in zip(read_frozen(runs), record.trials.values(), strict=True):
        layers = [name for name in frozen.params if name.startswith("units_")]
        assert len(layers) == recorded.trial.config.hidden_layers


def test_a_baseline_in_the_space_teaches_the_sampler_and_another_does_not(runs):
    the_study = study()
    record = open_record(runs, the_study)
    suggester = Suggester(the_study, record)
    inside = the_study.baselines[0].config
    suggester.claim(inside, Phase.BASELINE, "inside")
    outside = inside.from_dict({**inside.to_dict(), "units": [999]})
    suggester.claim(outside, Phase.BASELINE, "outside")
    assert [bool(frozen.params) for frozen in read_frozen(runs)] == [True, False]
    search(record, suggester, 3)


def test_what_was_claimed_and_not_told_is_unfinished_after_a_restart(runs):
    the_study = study()
    record = open_record(runs, the_study)
    suggester = Suggester(the_study, record)
    told, claimed = suggester.suggest(), suggester.suggest()
    tell(record, suggester, told)
    again = open_record(runs, the_study)
    assert again.list_unfinished() == [claimed]
    assert again.restart(claimed).attempt == 2
    assert open_record(runs, the_study).list_unfinished()[0].attempt == 2


def test_rung_values_survive_a_restart(runs):
    the_study = study()
    record = open_record(runs, the_study)
    trial = Suggester(the_study, record).suggest()
    record.report(trial.key, 1, 0.5)
    record.report(trial.key, 1, 0.5)  # a restarted trial comes by again
    assert dict(open_record(runs, the_study).rungs.values_at(1)) == {"trial-00000": 0.5}


def test_a_damaged_record_is_one_named_error(runs):
    runs.optuna_db.write_bytes(b"not a database" * 1000)
    with pytest.raises(RecordError, match=r"cannot open the record of trials .*optuna\.db"):
        open_record(runs, study())
    for read in (is_recorded, read_stored_search):
        with pytest.raises(RecordError, match=r"cannot read the record of trials .*optuna\.db"):
            read(runs.optuna_db, "tiny")


def test_studies_that_start_together_in_a_new_folder_share_its_record(tmp_path):
    runs, names = RunsDir(tmp_path / "mlruns"), ["one", "two", "three", "four"]
    together = threading.Barrier(len(names))

    def start(name):
        together.wait()
        open_record(runs, study(name=name))

    with ThreadPoolExecutor() as threads:
        list(threads.map(start, names))
    assert all(is_recorded(runs.optuna_db, name) for name in names)
