"""The tables that the bench prints."""

from statistics import fmean

from rich.console import Console
from rich.table import Table

from tests.bench.run import Outcome
from tests.bench.summary import Figures, SearchFigures, Spread, ratios, same_accuracy, spread

Runs = dict[str, list[Outcome[Figures]]]  # contender -> its runs, one for each repeat


def print_figures(console: Console, title: str, runs: Runs) -> None:
    """Each contender's figures, mean and range over repeats."""
    headings = (
        "contender",
        "trials/h, whole command",
        "trials/h, once started",
        "s/epoch (over workers)",
        "s/trial outside training",
        "s before first trial",
        "peak MB, all processes",
        "val accuracy",
    )
    table = Table(*headings, title=title, title_justify="left")
    for contender, outcomes in runs.items():
        rows = [outcome.figures for outcome in outcomes]
        table.add_row(
            contender,
            spread(f.trials_per_hour for f in rows).show(0),
            spread(f.trials_per_hour_started for f in rows).show(0),
            spread(f.epoch_s for f in rows).show(2),
            spread(f.outside_s for f in rows).show(2),
            spread(f.startup_s for f in rows).show(1),
            spread(f.peak_mb for f in rows).show(0),
            spread(f.val_accuracy for f in rows).show(4),
        )
    console.print(table)


def print_ratios(console: Console, title: str, runs: Runs) -> None:
    """Ours over each contender, within each repeat; above 1 ours is better. Says where the comparison is void."""
    if "ours" not in runs or len(runs) == 1:
        return
    headings = ("ours over", "trials/h, whole", "trials/h, started", "epoch speed", "memory saved", "val accuracy")
    table = Table(*headings, title=title, title_justify="left")
    void = []
    ours = runs["ours"]
    for contender, theirs in runs.items():
        if contender == "ours":
            continue
        verdict = same_accuracy([o.trials for o in ours], [o.trials for o in theirs])
        within = f"{verdict.difference:+.4f} (noise {verdict.noise:.4f})"
        if verdict.is_void:
            void.append(f"{contender}: val accuracy differs by {within}")
        table.add_row(
            contender,
            _times(ratios(ours, theirs, lambda a, b: a.figures.trials_per_hour / b.figures.trials_per_hour)),
            _times(
                ratios(ours, theirs, lambda a, b: a.figures.trials_per_hour_started / b.figures.trials_per_hour_started)
            ),
            _times(ratios(ours, theirs, lambda a, b: b.figures.epoch_s / a.figures.epoch_s)),
            _times(ratios(ours, theirs, lambda a, b: b.figures.peak_mb / a.figures.peak_mb)),
            f"[bold red]VOID[/] {within}" if verdict.is_void else within,
        )
    console.print(table)
    for line in void:
        console.print(f"[bold red]VOID COMPARISON[/] {title}: {line}")


def print_searches(console: Console, title: str, runs: dict[str, list[Outcome[SearchFigures]]]) -> None:
    """Each contender's searches, mean and range over repeats, and ours over it within each repeat."""
    headings = (
        "contender",
        "configs",
        "epochs",
        "wall s",
        "configs/h",
        "epochs/h",
        "best val accuracy",
        "peak MB, all processes",
        "ours over it, configs/h",
    )
    table = Table(*headings, title=title, title_justify="left")
    for contender, outcomes in runs.items():
        rows = [outcome.figures for outcome in outcomes]
        speed_up = ratios(
            runs.get("ours", outcomes), outcomes, lambda a, b: a.figures.configs_per_hour / b.figures.configs_per_hour
        )
        table.add_row(
            contender,
            spread(f.n_configs for f in rows).show(0),
            spread(f.n_epochs for f in rows).show(0),
            spread(f.wall_s for f in rows).show(0),
            spread(f.configs_per_hour for f in rows).show(0),
            spread(f.epochs_per_hour for f in rows).show(0),
            spread(f.best_val_accuracy for f in rows).show(4),
            spread(f.peak_mb for f in rows).show(0),
            "" if contender == "ours" else _times(speed_up),
        )
    console.print(table)


def print_limits(
    console: Console, peaks: list[float], floors: dict[str, list[tuple[float, float]]], runs: Runs
) -> None:
    """Ours against the machine. `floors`: for each net, (seconds per epoch over workers, floor in seconds) by repeat."""
    console.print(f"sgemm peak of all cores: {spread(p / 1e9 for p in peaks).show(0)} GFLOP/s")
    if "ours" in runs:
        share = spread(100 * o.figures.flops / fmean(peaks) for o in runs["ours"])
        console.print(f"ours, all configs: {share.show(0)} % of it inside training, building and validation included")
    table = Table("net, both cores busy", "s/epoch (over workers)", "GEMM floor, s", "times the floor")
    for net, pairs in floors.items():
        table.add_row(
            net,
            spread(epoch_s for epoch_s, _ in pairs).show(2),
            spread(floor_s for _, floor_s in pairs).show(2),
            _times(spread(epoch_s / floor_s for epoch_s, floor_s in pairs)),
        )
    console.print(table)


def _times(ratio: Spread) -> str:
    return f"{ratio.show(2)}x"
