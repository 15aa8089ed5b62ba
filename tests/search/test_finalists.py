import math

from sweep.search.finalists import Candidate, Finalist, plan_replicates, select_finalists
from sweep.study.config import Config
from sweep.study.file import parse_study
from tests.studies import tiny_table


def config(*units, batch_size=64):
    return Config(units=units, dropout=0.5, batch_size=batch_size, learning_rate=0.001)


def study(**changes):
    return parse_study(tiny_table(**changes), "tiny.toml")


def candidates(*tried):
    return [Candidate(*one) for one in tried]


BY_HAND = config(16, 8)  # the tiny study's baseline


def test_the_best_of_each_depth_goes_first_and_then_the_baselines():
    chosen = select_finalists(
        study(), candidates((config(8), 0.7), (config(9), 0.9), (config(8, 8), 0.8), (BY_HAND, 0.6))
    )
    assert chosen == [
        Finalist("best with one hidden layer", config(9), is_selected=True, baseline=None),
        Finalist("best with two hidden layers", config(8, 8), is_selected=True, baseline=None),
        Finalist("by hand", BY_HAND, is_selected=False, baseline="by hand"),
    ]


def test_a_baseline_that_wins_its_group_is_confirmed_once():
    chosen = select_finalists(study(), candidates((BY_HAND, 0.9), (config(8, 8), 0.8)))
    assert chosen == [Finalist("best with two hidden layers", BY_HAND, is_selected=True, baseline="by hand")]


def test_lower_is_better_for_a_loss():
    chosen = select_finalists(study(objective="val_loss"), candidates((config(8), 0.7), (config(9), 0.9)))
    assert chosen[0].config == config(8)


def test_a_tie_goes_to_the_lower_validation_loss_and_then_to_the_earlier_trial():
    tied = candidates((config(8), 0.7, 0.3), (config(9), 0.7, 0.2), (config(10), 0.7, 0.2), (config(11), 0.6, 0.1))
    assert select_finalists(study(), tied)[0].config == config(9)
    unknown = candidates((config(8), 0.7, math.nan), (config(9), 0.7))
    assert select_finalists(study(), unknown)[0].config == config(8)


def test_a_tie_goes_to_what_was_confirmed_as_the_best_of_its_group_and_a_better_trial_does_not():
    tied = candidates((config(8), 0.7, 0.3), (config(9), 0.7, 0.2))
    name = "best with one hidden layer"
    assert select_finalists(study(), tied, {(name, config(8))})[0].config == config(8)
    assert select_finalists(study(), tied, {("by hand", config(8))})[0].config == config(9), "confirmed as a baseline"
    better = [*tied, Candidate(config(10), 0.8)]
    assert select_finalists(study(), better, {(name, config(8))})[0].config == config(10)


def test_groups_can_be_batch_sizes():
    chosen = select_finalists(
        study(confirmation={"group_by": "batch_size"}), candidates((config(8), 0.7), (config(8, batch_size=32), 0.6))
    )
    assert [f.name for f in chosen][:2] == ["best with batch size 32", "best with batch size 64"]


def test_without_candidates_the_baselines_alone_are_finalists():
    assert [f.name for f in select_finalists(study(), [])] == ["by hand"]


def test_without_confirmation_there_are_no_finalists():
    assert select_finalists(study(confirmation=None), candidates((config(8), 0.7))) == []


def test_large_nets_are_replicated_first():
    chosen = select_finalists(study(), candidates((config(8), 0.7), (config(300, 300), 0.8)))
    order = [(finalist.config.units, replicate) for finalist, replicate in plan_replicates(study(), chosen)]
    assert order == [((300, 300), 1), ((300, 300), 2), ((16, 8), 1), ((16, 8), 2), ((8,), 1), ((8,), 2)]
