"""Descriptions of a study in Markdown, for readers who open MLflow without having read anything else."""

from sweep.data.facts import DataFacts
from sweep.plain_text import to_code
from sweep.search.finalists import NUMBER_WORDS
from sweep.study.config import WHOLE_NET, leave_out_defaults
from sweep.study.schema import Study
from sweep.study.space import Axis, Choice, Float, Int, Space
from sweep.track.names import REPORT_FOLDER, REPORT_PAGE
from sweep.track.views import models_address, run_address, view_address

HOW_TO_READ = """\
Every trial is a run below the parent run: `12 · 400-100 · drop 0.31 · bs 128` is trial 12, its hidden units, dropout and batch \
size. `tags.phase` is `baseline`, `search` or `confirm` (a finalist trained again with a fresh seed, and scored on test); \
`tags.state` is `complete`, `pruned` or `failed`. A filter: `metrics.val_accuracy > 0.98 and tags.phase = 'search'`. Metrics \
without a prefix are the finished model's, `epoch/...` are curves."""


def experiment_text(study: Study, facts: DataFacts, experiment: str, parent: str, champion: str | None = None) -> str:
    """Write the description of a study's experiment. MLflow's UI shows as much of its first line as fits.

    experiment, parent: ids, which links need. champion: who won, once that is reported.
    """
    seen = f"**Champion.** {champion}" if champion else "Not reported yet."
    links = {
        "conclusion": run_address(experiment, parent),
        **({"report": run_address(experiment, parent, f"{REPORT_FOLDER}/{REPORT_PAGE}")} if champion else {}),
        "trials, best first": view_address(experiment, "trials"),
        "their curves": view_address(experiment, "trials", with_curves=True),
        "replicates": view_address(experiment, "replicates"),
        "models": models_address(experiment),
    }
    listed = " · ".join(f"[{name}]({address})" for name, address in links.items())
    return "\n\n".join([seen, listed, study_text(study, facts), HOW_TO_READ])


def study_text(study: Study, facts: DataFacts) -> str:
    """Write space, budget and data of a study as a Markdown table."""
    rows = {"Selected by": _selection(study, facts), "Data": _data(facts)}
    if study.space is not None:
        rows["Space"] = "; ".join(_space(study.space))
    rows |= {"Training": _training(study), "Search": _search(study), "Confirmation": _confirmation(study)}
    if study.baselines:
        rows["Baselines"] = "; ".join(f"{b.name}: {b.config.label}" for b in study.baselines)
    lines = [f"| {name} | {text} |" for name, text in rows.items()]
    return "\n".join([f"| Study | {study.name}, seed {study.seed} |", "|---|---|", *lines])


def _selection(study: Study, facts: DataFacts) -> str:
    if not facts.n_validation:
        return "nothing: there are no validation rows"
    return f"{study.objective} on {facts.n_validation:,} validation rows"


def _data(facts: DataFacts) -> str:
    parts = [f"{facts.n_train:,} train", f"{facts.n_validation:,} validation", f"{facts.n_test:,} test"]
    target = f"{facts.n_classes} classes" if facts.task == "classification" else "a number to predict"
    columns = f"{len(facts.columns)} columns as " if facts.columns else ""
    what = f"{columns}{facts.n_features} features, {target}"
    name = to_code(facts.name).replace("|", r"\|")  # in a table
    return f"{name}: {_join(parts, 'and')} rows, {what} (sha256 {facts.sha256[:12]}...)"


def _space(space: Space) -> list[str]:
    """Write each axis in a few words, fixed ones too, unless they are what is usual. The optimizer is always named."""
    units = space.units if isinstance(space.units, tuple) else (space.units,)
    axes = {"hidden_layers": (space.hidden_layers,), "units": units}
    named = leave_out_defaults({name: getattr(space, name) for name in WHOLE_NET}).keys() | {"optimizer"}
    axes |= {name: (getattr(space, name),) for name in WHOLE_NET if name in named}
    return [f"{name.replace('_', ' ')} {' - '.join(map(_axis, of_it))}" for name, of_it in axes.items()]


def _axis(axis: Axis) -> str:
    match axis:
        case Int(low, high, step, log):
            return f"{low} to {high}" + (f" by {step}" if step != 1 else "") + (" (log)" if log else "")
        case Float(low, high, step, log):
            return f"{low:g} to {high:g}" + (f" by {step:g}" if step is not None else "") + (" (log)" if log else "")
        case Choice(options):
            return _join([_axis(option) for option in options], "or")
        case bool():
            return "yes" if axis else "no"
        case str():
            return axis
        case _:
            return f"{axis:g}"


def _join(words: list[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _training(study: Study) -> str:
    stopping = study.training.early_stopping
    text = f"up to {study.training.max_epochs} epochs"
    if stopping is None:
        return text
    return f"{text}, stopped where {stopping.monitor} has not improved for {stopping.patience}"


def _search(study: Study) -> str:
    search = study.search
    if not search.is_asked_for:
        return "none, baselines alone"
    budgets = {"trials": search.trials, "epochs": search.epochs, "minutes": search.minutes}
    text = _join([f"{n:g} {unit}" for unit, n in budgets.items() if n is not None], "or")
    text += f" proposed by {search.proposer}"
    if study.shares_by is not None:
        what = " epochs" if search.proposer == "freeze_thaw" else ""
        text += f", as many{what} for each value of {study.shares_by.replace('_', ' ')}"
    pruner = study.search.pruner
    if pruner is None:
        return text
    kept = f"best 1/{pruner.reduction_factor}" if pruner.kind == "halving" else "better half"
    return f"{text}; at epoch {_join([str(rung) for rung in pruner.rungs], 'and')} the {kept} of them goes on"


def _confirmation(study: Study) -> str:
    if study.confirmation is None:
        return "none: nothing is scored on test"
    n = study.confirmation.replicates
    number = NUMBER_WORDS[n] if n < len(NUMBER_WORDS) else str(n)
    best = f"the best for each value of {study.confirmation.group_by.replace('_', ' ')}"
    who = _join(([best] if study.search.is_asked_for else []) + (["every baseline"] if study.baselines else []), "and")
    return f"{who}, trained again with {number} fresh seed{'' if n == 1 else 's'}, then scored once on test"
