from sweep.report.conclusion import conclude
from sweep.report.spending import build_spending_table, list_spent
from sweep.report.text import to_dict, to_markdown
from sweep.track.runs import read_study
from tests.studies import fake_sweep, tiny_table


def spent(runs, **search):
    fake_sweep(runs, tiny_table(search=search), n_slots=1)
    return read_study(runs, "tiny")


def test_probes_and_promotions_are_counted_apart_and_in_all(runs):
    tracked = spent(runs, epochs=40)
    probes, promoted, in_all = list_spent(tracked)
    assert (probes.name, probes.n_epochs) == ("Probes", probes.n_trials)
    assert promoted.n_epochs == 5 * promoted.n_trials
    assert (in_all.n_trials, in_all.n_epochs) == (
        probes.n_trials + promoted.n_trials,
        probes.n_epochs + promoted.n_epochs,
    )
    assert 35 < in_all.n_epochs <= 40


def test_the_table_shows_what_is_left_of_each_budget(runs):
    tracked = spent(runs, trials=10, epochs=90, sampler="random")
    *_, in_all, budget, left = build_spending_table(tracked)
    assert in_all[:3] == ["In all", "10", "50"]
    assert budget == ["Budget", "10", "90", "-"]
    assert left == ["Left", "0", "40", "-"]


def test_minutes_in_which_trials_ran_side_by_side_are_counted_once(runs):
    tracked = spent(runs, trials=6, minutes=9.0, sampler="random")
    in_all = list_spent(tracked)[-1]
    assert in_all.minutes == 6 * 5 / 60  # the fake engine starts a trial every 100 s, and takes 5 s for it
    assert build_spending_table(tracked)[-1][3] == "8.5"


def test_pruned_trials_are_no_probes(runs):
    tracked = spent(runs, trials=10, sampler="random", pruner={"kind": "median", "rungs": [1]})
    assert {one.name for one in list_spent(tracked)} == {"Pruned", "Trained to the end", "In all"}


def test_baselines_alone_have_spent_nothing_of_a_search(runs):
    tracked = spent(runs, trials=0)
    assert (list_spent(tracked), build_spending_table(tracked)) == ([], [])


def test_it_stands_in_the_report_and_in_its_json(runs):
    conclusion = conclude(spent(runs, epochs=30))
    assert "## What the search has spent\n\n|  | Trials | Epochs | Minutes |" in to_markdown(conclusion)
    assert to_dict(conclusion)["spent"][0]["name"] == "Probes"
