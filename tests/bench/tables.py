"""`python -m tests.bench.tables`: the study that `init` writes, run unchanged, beside scikit-learn, on public tables.

Each table is written as its package ships it, and a study of it by `init`, whose seed is changed alone. scikit-learn is given
the same columns by the same kinds, and the rows to train and to validate on together; all are scored on the same test rows:
by accuracy, by ROC AUC where the study selects by that, or by RMSE. Its MLP is searched for as long as our command took.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly
import sklearn.datasets
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import loguniform
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import accuracy_score, roc_auc_score, root_mean_squared_error
from sklearn.model_selection import RandomizedSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sweep.data.files import DataSet, read
from sweep.study.file import load_study
from sweep.study.schema import Study
from tests.bench.run import RESULTS

SITE = Path(__file__).parent / ".site"
SEEDS = (1, 2, 3)
N_AT_ONCE = 4  # configs of the searched MLP between two looks at the clock
CONTENDERS = ("ours", "gradient boosting", "searched MLP", "linear", "dummy")
Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """A public table: what writes it, and its label."""

    label: str
    write: Callable[[Path], None]
    suffix: str = ".csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "tables", help="folder of the results; what is there is not run again"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        for name in given.tables:
            result = given.out / f"{name}-{seed}.json"
            if not result.exists():
                result.write_text(json.dumps(run_table(name, seed, given.out / f"{name}-{seed}")))
                print(result.read_text(), flush=True)
    show(Console(width=160), given.tables, given.out)


def run_table(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Run all contenders on one table; return their scores on its test rows, and our seconds."""
    source = TABLES[name]
    folder.mkdir(parents=True)
    path = folder / f"{name}{source.suffix}"
    source.write(path)
    sweep("init", str(path), "--label", source.label)
    study_file = folder / f"{name}.toml"
    study_file.write_text(study_file.read_text().replace("seed = 1\n", f"seed = {seed}\n"))
    start = time.monotonic()
    sweep("run", str(study_file), "--runs-dir", str(folder / "mlruns"))
    seconds = time.monotonic() - start
    study, _ = load_study(study_file)
    conclusion = json.loads((folder / "mlruns" / "reports" / name / "conclusion.json").read_text())
    [champion] = [column for column in conclusion["finalists"] if column["name"] == conclusion["champion"]]
    metric = study.objective.replace("val_", "test_")
    others = run_others(study, read(study.data, folder), folder / "mlruns", seconds, seed)
    return {
        "table": name,
        "seed": seed,
        "metric": metric,
        "seconds": seconds,
        "scores": {"ours": champion["metrics"][metric]["mean"], **others},
    }


def sweep(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "sweep", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def run_others(study: Study, data: DataSet, runs: Path, seconds: float, seed: int) -> dict[str, float]:
    """Train scikit-learn's models on all rows but our test rows, and score them on these."""
    [test] = [np.load(path) for path in runs.glob("cache/*/test/row_numbers.npy")]
    train = np.setdiff1d(np.arange(len(data.x_train)), test)
    x, y = data.x_train, data.y_train
    scores = {}
    for name, model in make_models(data, seconds, seed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = model(x[train], y[train])
        scores[name] = score(study.objective, fitted, x[test], y[test])
    return scores


def score(objective: str, model: Any, x: Rows, y: NDArray[Any]) -> float:
    match objective:
        case "val_rmse":
            return float(root_mean_squared_error(y, model.predict(x)))
        case "val_roc_auc":
            return float(roc_auc_score(y, model.predict_proba(x)[:, 1]))
        case "val_accuracy":
            return float(accuracy_score(y, model.predict(x)))
    raise ValueError(f"no score for {objective}")


def make_models(data: DataSet, seconds: float, seed: int) -> Iterator[tuple[str, Callable[[Rows, NDArray[Any]], Any]]]:
    """Yield each contender's name, and what fits it to rows as they were read."""
    is_regression = data.task == "regression"
    are_categories = [column.kind == "category" for column in data.columns]
    boosting = HistGradientBoostingRegressor if is_regression else HistGradientBoostingClassifier
    # It takes up to 255 values of a category; more are numbers to it.
    native = [is_it and len(column.levels) <= 255 for is_it, column in zip(are_categories, data.columns, strict=True)]
    yield "gradient boosting", boosting(categorical_features=native, random_state=seed).fit
    mlp = MLPRegressor if is_regression else MLPClassifier
    yield (
        "searched MLP",
        lambda x, y: search_mlp(make_pipe(are_categories, mlp(early_stopping=True)), x, y, seconds, seed),
    )
    linear = (
        RidgeCV(np.logspace(-3, 3, 13))
        if is_regression
        else LogisticRegressionCV(max_iter=2000, l1_ratios=(0,), use_legacy_attributes=False)
    )
    yield "linear", make_pipe(are_categories, linear).fit
    yield "dummy", (DummyRegressor() if is_regression else DummyClassifier(strategy="prior")).fit


def make_pipe(are_categories: list[bool], model: Any) -> Pipeline:
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_hot = OneHotEncoder(min_frequency=5, handle_unknown="infrequent_if_exist", sparse_output=False)
    parts = [
        ("numbers", numbers, [i for i, is_it in enumerate(are_categories) if not is_it]),
        ("categories", one_hot, [i for i, is_it in enumerate(are_categories) if is_it]),
    ]
    return Pipeline([("columns", ColumnTransformer(parts)), ("dense", FunctionTransformer()), ("model", model)])


def search_mlp(pipe: Pipeline, x: Rows, y: NDArray[Any], seconds: float, seed: int) -> Any:
    """Search scikit-learn's MLP at random, by 3-fold cross-validation, until the time is over; return the best, fitted to all."""
    sizes = [(n,) * depth for n in (16, 32, 64, 128, 256) for depth in (1, 2, 3)]
    space = {
        "model__hidden_layer_sizes": sizes,
        "model__alpha": loguniform(1e-6, 1e-1),
        "model__learning_rate_init": loguniform(1e-4, 2e-2),
        "model__batch_size": [16, 32, 64, 128],
        "model__activation": ["relu", "tanh"],
    }
    best, least, start = None, -np.inf, time.monotonic()
    pipe.set_params(model__max_iter=300)
    while best is None or time.monotonic() - start < seconds:
        found = RandomizedSearchCV(
            pipe, space, n_iter=N_AT_ONCE, cv=3, n_jobs=len(os.sched_getaffinity(0)), refit=False, random_state=seed
        )
        found.fit(x, y)
        if found.best_score_ > least:
            best, least = found.best_params_, found.best_score_
        seed += 1000
    return pipe.set_params(**best, model__random_state=seed).fit(x, y)


def show(console: Console, names: list[str], folder: Path) -> None:
    """Print the scores, mean and standard deviation over seeds, and how often ours is better."""
    table = Table("table", "metric", "s", *CONTENDERS, title="scores on test rows, mean ± sd over seeds")
    wins: dict[str, list[str]] = {contender: [] for contender in CONTENDERS[1:]}
    for name in names:
        found = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}-*.json"))]
        if not found:
            continue
        scores = {c: np.array([one["scores"][c] for one in found]) for c in CONTENDERS}
        cells = [f"{s.mean():.4g} ± {s.std(ddof=min(1, len(s) - 1)):.2g}" for s in scores.values()]
        table.add_row(name, found[0]["metric"], f"{np.mean([one['seconds'] for one in found]):.0f}", *cells)
        sign = -1 if found[0]["metric"] == "test_rmse" else 1
        for contender in wins:
            difference = sign * (scores["ours"] - scores[contender])
            noise = difference.std(ddof=1) / np.sqrt(len(found)) if len(found) > 1 else 0.0
            wins[contender].append(
                "within noise"
                if abs(difference.mean()) <= 2 * noise
                else "better"
                if difference.mean() > 0
                else "worse"
            )
    console.print(table)
    for contender, verdicts in wins.items():
        said = ", ".join(f"{word} on {verdicts.count(word)}" for word in ("better", "within noise", "worse"))
        console.print(f"ours beside {contender}: {said}")


def copy_of(package: str, inside: str) -> Callable[[Path], None]:
    return lambda path: path.write_bytes((SITE / package / inside).read_bytes()) and None


def shipped_with_plotly(name: str) -> Callable[[Path], None]:
    folder = Path(plotly.__file__).parent / "package_data" / "datasets"
    return lambda path: path.write_bytes(gzip.decompress((folder / f"{name}.csv.gz").read_bytes())) and None


def of_scikit_learn(load: Callable[..., Any]) -> Callable[[Path], None]:
    return lambda path: load(as_frame=True).frame.to_csv(path, index=False)


TABLES = {
    "penguins": Source("species", copy_of("palmerpenguins", "data/penguins.csv")),
    "seattle-weather": Source("weather", copy_of("vega_datasets", "_data/seattle-weather.csv")),
    "breast-cancer": Source("target", of_scikit_learn(sklearn.datasets.load_breast_cancer)),
    "actg175": Source("cens", copy_of("lifelines", "datasets/ACTG175.csv")),
    "gbsg2": Source("cens", copy_of("lifelines", "datasets/gbsg2.csv")),
    "rossi": Source("arrest", copy_of("lifelines", "datasets/rossi.csv")),
    "gapminder": Source("lifeExp", shipped_with_plotly("gapminder")),
    "tips": Source("tip", shipped_with_plotly("tips")),
    "diabetes": Source("target", of_scikit_learn(sklearn.datasets.load_diabetes)),
}

if __name__ == "__main__":
    main()
