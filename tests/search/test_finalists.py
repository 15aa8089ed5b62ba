from sweep.search.finalists import Finalist, plan_replicates, select_finalists
from sweep.study.config import Config
from sweep.study.file import parse_study
from tests.studies import tiny_table


def config(*units, batch_size=64):
    return Config(units=units, dropout=0.5, batch_size=batch_size, learning_rate=0.001)


def study(**changes):
    return parse_study(tiny_table(**changes), "tiny.toml")


BY_HAND = config(16, 8)  # the tiny study's baseline


def test_the_best_of_each_depth_goes_first_and_then_the_baselines():
    candidates = [(config(8), 0.7), (config(9), 0.9), (config(8, 8), 0.8), (BY_HAND, 0.6)]
    chosen = select_finalists(study(), candidates)
    assert chosen == [
        Finalist("best with one hidden layer", config(9), is_selected=True, baseline=None),
        Finalist("best with two hidden layers", config(8, 8), is_selected=True, baseline=None),
        Finalist("by hand", BY_HAND, is_selected=False, baseline="by hand"),
    ]


def test_a_baseline_that_wins_its_group_is_confirmed_once():
    chosen = select_finalists(study(), [(BY_HAND, 0.9), (config(8, 8), 0.8)])
    assert chosen == [Finalist("best with two hidden layers", BY_HAND, is_selected=True, baseline="by hand")]


def test_lower_is_better_for_a_loss():
    chosen = select_finalists(study(objective="val_loss"), [(config(8), 0.7), (config(9), 0.9)])
    assert chosen[0].config == config(8)


def test_a_tie_goes_to_the_earlier_trial():
    assert select_finalists(study(), [(config(8), 0.7), (config(9), 0.7)])[0].config == config(8)


def test_groups_can_be_batch_sizes():
    chosen = select_finalists(
        study(confirmation={"group_by": "batch_size"}), [(config(8), 0.7), (config(8, batch_size=32), 0.6)]
    )
    assert [f.name for f in chosen][:2] == ["best with batch size 32", "best with batch size 64"]


def test_without_candidates_the_baselines_alone_are_finalists():
    assert [f.name for f in select_finalists(study(), [])] == ["by hand"]


def test_without_confirmation_there_are_no_finalists():
    assert select_finalists(study(confirmation=None), [(config(8), 0.7)]) == []


def test_large_nets_are_replicated_first():
    chosen = select_finalists(study(), [(config(8), 0.7), (config(300, 300), 0.8)])
    order = [(finalist.config.units, replicate) for finalist, replicate in plan_replicates(study(), chosen)]
    assert order == [((300, 300), 1), ((300, 300), 2), ((16, 8), 1), ((16, 8), 2), ((8,), 1), ((8,), 2)]
