"""The champion as a folder that one can hand on: model, summary, model card, curves."""

import json
import shutil
from pathlib import Path
from typing import Any

from sweep.conclusion import Column, Conclusion
from sweep.errors import MissingRunsError
from sweep.layout import RunsDir
from sweep.report import champion_line
from sweep.results import sha256_of, write_durably
from sweep.runs import artifact, model_file
from sweep.study import cost


def export(conclusion: Conclusion, runs: RunsDir) -> Path:
    """Write the champion to `exports/<study>/`; that folder. Raises MissingRunsError where there is no champion.

    The model is that of the replicate with the best objective on validation; the figures of all replicates stand beside.
    """
    champion = conclusion.champion
    if champion is None:
        raise MissingRunsError(f"nothing to export. {champion_line(conclusion)}")
    study = conclusion.runs.study
    row = _best_replicate(conclusion, champion)
    model_id, model = model_file(runs, study.name, row["run_id"])
    folder = runs.exports(study.name)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model, folder / "model.keras")
    shutil.copyfile(artifact(runs, study.name, row["run_id"], "curves.png"), folder / "curves.png")
    summary = _summary(conclusion, champion, row, model_id, sha256_of(folder / "model.keras"))
    write_durably(folder / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
    write_durably(folder / "README.md", _card(conclusion, champion, summary).encode())
    return folder


def _best_replicate(conclusion: Conclusion, champion: Column) -> dict[str, Any]:
    objective = conclusion.runs.study.objective
    frame = conclusion.runs.replicates
    mine = frame[frame["run_id"].isin(champion.replicate_runs)]
    best = min(mine.to_dict("records"), key=lambda row: cost(objective, row[objective]))
    return {str(name): value for name, value in best.items()}


def _summary(
    conclusion: Conclusion, champion: Column, row: dict[str, Any], model_id: str, sha256: str
) -> dict[str, Any]:
    study, facts = conclusion.runs.study, conclusion.runs.facts
    return {
        "study": study.name,
        "champion": champion.finalist.name,
        "config": champion.finalist.config.to_dict(),
        "params_count": champion.params_count,
        "input": {"features": facts["n_features"], "shape": facts["feature_shape"], "scaling": facts["scaling"]},
        "classes": facts["classes"],
        "metrics_of_this_model": {m: row[m] for m in champion.summaries},
        "metrics_over_replicates": {m: {"n": s.n, "mean": s.mean, "sd": s.sd if s.n > 1 else None} for m, s in champion.summaries.items()},
        "selected_by": {"objective": study.objective, "value": champion.selected_value, "run": champion.selected_run},
        "run": row["run_id"],
        "replicate_runs": list(champion.replicate_runs),
        "mlflow_model": f"models:/{model_id}",
        "model_sha256": sha256,
        "data": {"name": facts["name"], "sha256": facts["sha256"]},
        "seed": int(row["seed"]),
        "git_commit": row["git_commit"],
        "versions": {name.removeprefix("version_"): value for name, value in sorted(row.items()) if name.startswith("version_")},
    }  # fmt: skip


def _card(conclusion: Conclusion, champion: Column, summary: dict[str, Any]) -> str:
    study, facts, config = conclusion.runs.study, conclusion.runs.facts, champion.finalist.config
    kind = "uint8" if facts["scaling"] == "pixels" else "float32"
    norm = "batch norm, " if config.batch_norm else ""
    metrics = "\n".join(
        f"| {metric} | {summary['metrics_of_this_model'][metric]:.4f} | {s.text} | {s.n} |"
        for metric, s in champion.summaries.items()
    )
    return f"""# Champion of study {study.name}

An MLP for {facts["name"]}: {facts["n_features"]} features, hidden layers of {config.units_label} units (relu, {norm}dropout
{config.dropout:.3g}), softmax over {len(facts["classes"])} classes; {champion.params_count} parameters. Trained by Adam, learning rate
{config.learning_rate:.3g}, batch size {config.batch_size}.

{champion_line(conclusion)}

```python
import keras
model = keras.saving.load_model("model.keras")
probabilities = model.predict(rows)  # rows: {kind}, shape (n, {facts["n_features"]}), as in the data; scaling is inside
```

| metric | this model | over replicates | n |
|---|---|---|---|
{metrics}

`running_` rows are means over the epoch as `fit` reports them; `train_`, `val_` and `test_` rows evaluate the finished
model. This model is the replicate with the best {study.objective}; the test split was opened after selection.

![loss and accuracy by epoch](curves.png)

Made from MLflow run `{summary["run"]}` (replicates: {", ".join(f"`{run}`" for run in champion.replicate_runs)}), data sha256
`{facts["sha256"]}`, code at commit `{summary["git_commit"]}`. `summary.json` holds all of this for programs.
"""
