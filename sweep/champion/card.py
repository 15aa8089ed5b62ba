"""The model card of a bundle."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sweep.champion import bundle
from sweep.champion.confusion import list_labels
from sweep.data.facts import DataFacts
from sweep.data.files import is_table, is_text
from sweep.plain_text import to_code, to_line
from sweep.report.columns import build_columns_table, to_cell
from sweep.report.conclusion import Column, Conclusion
from sweep.report.text import champion_line
from sweep.study.config import Config

# Markdown, not HTML. Names from a study file hold no markup (`study/schema.py`); names from the data pass `to_code`.
_templates = Environment(
    loader=PackageLoader(__package__, "."), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
)
_templates.filters["code"] = to_code
_templates.filters["literal"] = repr  # Python's, to stand in code
MAX_LISTED = 20  # classes, columns
_OPTIMIZERS = {"adam": "Adam", "sgd": "SGD with Nesterov momentum of 0.9", "rmsprop": "RMSprop"}
_RECIPE = {
    "weight_decay": "weight decay",
    "label_smoothing": "label smoothing",
    "input_dropout": "dropout of rows",
    "max_norm": "norms of weights up to",
    "ema": "average of weights with momentum",
    "augment_shift": "images moved by up to (pixels)",
    "augment_rotation": "turned by up to (degrees)",
    "augment_scale": "scaled by up to",
    "augment_elastic": "deformed elastically by (pixels)",
}
_DATA_NOTES = {
    "mnist": "DATA.npz is `sweep/datasets/mnist.npz` of the code, or any mnist.npz with arrays `x_test` and `y_test`.",
    "test": "DATA.npz is the study's own data file, {name}, or any with its arrays `x_test` and `y_test`.",
    "train": "DATA.npz is the study's own data file, {name}, with arrays `x_train` and `y_train`, of which it finds the sealed rows by number.",
    "text": "DATA is the study's own data file, {name}, of which it finds the sealed rows by number.",
    "parquet": "DATA is the study's own data file, {name}, as text, of which it finds the sealed rows by number:",
    "arrays": "DATA.npz holds the features of {name} as `x_train` and its labels as `y_train`, of which it finds the sealed rows by number.",
    "lost": "Here it cannot do the second half: which rows of {name} were drawn as the test split was not at hand when this was exported. Export it again where the data is.",
}


def to_card(conclusion: Conclusion, champion: Column, summary: dict[str, Any]) -> str:
    """Render the card of `champion`, whose bundle has this summary."""
    study, facts, test = conclusion.tracked.study, conclusion.tracked.facts, summary["test"]
    note = _data_note(study.data.source, facts, test) if test else ""
    labels = list_labels(facts.classes) if facts.classes else []
    return _templates.get_template("card.md.jinja").render(
        study=study,
        facts=facts,
        config=champion.finalist.config,
        training=describe_training(champion.finalist.config),
        params_count=champion.params_count,
        champion_line=champion_line(conclusion),
        summaries=champion.summaries,
        summary=summary,
        test=test,
        columns=facts.columns,
        columns_table=build_columns_table(facts, to_cell, MAX_LISTED)[1:],
        answer=_describe_answer(facts, study.data.label),
        onnx_input=summary["input"],
        labels=labels,
        renamed={label: name for label, name in zip(labels, facts.classes, strict=False) if label != to_line(name)},
        data_note=_DATA_NOTES[note].format(name=to_code(facts.name)) if note else "",
        is_text=is_text(study.data.source),
        files=bundle,
    )


def _describe_answer(facts: DataFacts, label: str | None) -> dict[str, str]:
    """Write what a model gives: its last layer, its output, and what the program prints of it."""
    if facts.task == "classification":
        return {
            "layer": f"softmax over {len(facts.classes)} classes",
            "output": f"the probability of each class: {_join(facts.classes)}",
            "name": "probabilities",
            "unit": "no probability of the two differs by more than",
            "said": "the class of each row, and how certain it is",
        }
    named = f" {to_code(label)}" if label else ""
    return {
        "layer": "one unit for the number to predict",
        "output": f"the number to predict{named}, shape (n, 1), float64, in its own unit",
        "name": "values",
        "unit": "the two differ, in standard deviations of the label or in distances from its mean where these are larger, by at most",
        "said": "the number that it predicts for each row",
    }


def describe_training(config: Config) -> str:
    """Write by what a config trains: optimizer, learning rate, batch size, and the rest as far as it is in use."""
    schedule = " (cosine, with warm-up)" if config.schedule == "cosine" else ""
    said = [_OPTIMIZERS[config.optimizer], f"learning rate {config.learning_rate:.3g}{schedule}"]
    said += [f"batch size {config.batch_size}"]
    return ", ".join(said + [f"{words} {getattr(config, k):.6g}" for k, words in _RECIPE.items() if getattr(config, k)])


def _data_note(source: str, facts: DataFacts, test: dict[str, Any]) -> str:
    if source == "mnist":
        return "mnist"
    if test["part"] == "test":
        return "test"
    if not test["rows_are_known"]:
        return "lost"
    if facts.columns:
        return "text" if is_text(source) else "parquet"
    return "arrays" if is_table(source) else "train"  # a table that an earlier version read


def _join(classes: tuple[str, ...]) -> str:
    if len(classes) <= MAX_LISTED:
        return ", ".join(map(to_code, classes))
    return f"{', '.join(map(to_code, classes[:10]))}, ... ({len(classes)} in all, `{bundle.SUMMARY}` has them)"
