"""MLflow's model registry: each exported champion as a version under its study's name, and who bears the alias `champion`."""

import json
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from sweep.champion.export import Exported
from sweep.durable.failpoint import failpoint
from sweep.durable.lock import hold_in_turn
from sweep.layout import RunsDir
from sweep.record.results import LOCK
from sweep.report.compare import LEVEL, Comparison, verdict
from sweep.report.conclusion import Conclusion, against
from sweep.report.text import champion_line
from sweep.track.client import follow_move, open_client, sent_once, translate_errors

ALIAS = "champion"
VERDICT = (
    "verdict"  # the tag that says why a version bears the alias, or why not; its figures are in verdict.p and so on
)


@dataclass(frozen=True)
class Ruling:
    """Whether a challenger takes the alias over, and why."""

    takes_over: bool
    why: str
    comparison: Comparison | None = None

    @property
    def tags(self) -> dict[str, str]:
        figures = {} if self.comparison is None else {
            "p": f"{self.comparison.p:.6g}",
            "difference": f"{self.comparison.difference:+.6f}",
            "n": str(self.comparison.n),
        }  # fmt: skip
        return {VERDICT: self.why, **{f"{VERDICT}.{name}": value for name, value in figures.items()}}


def register(conclusion: Conclusion, exported: Exported, runs: RunsDir) -> str:
    """Have the exported champion registered, once, and the alias where the paired test says; what holds then, in a line.

    Again for the same run, it writes nothing. Raises TrackingError; the export is not touched.
    """
    with hold_in_turn(runs.all_exports / LOCK):
        client = open_client(runs)
        if runs.mlflow_server is None:
            follow_move(runs)
        with translate_errors(runs):
            version = _registered(client, conclusion, exported)
            bearer = _bearer(client, conclusion.runs.study.name)
            if bearer is not None and bearer.version == version.version:
                return _line(version, True, version.tags.get(VERDICT, ""))
            return _settled(client, version, rule(conclusion, bearer))


def registered_runs(runs: RunsDir, study: str) -> set[str]:
    """Ids of the runs whose models are versions under a study's name."""
    client = open_client(runs)
    with translate_errors(runs):
        return {str(version.run_id) for version in client.search_model_versions(f"name = '{study}'")}


def rule(conclusion: Conclusion, bearer: ModelVersion | None) -> Ruling:
    """Whether the champion takes the alias over from the version that bears it.

    A champion is the best by validation; the alias is what others deploy, and moves only for a difference that the test
    rows tell from chance. A bearer of the same config is succeeded without a test: it is the same net with other seeds, the
    question has been answered, and alias and bundle go on naming one model.
    """
    champion = conclusion.champion
    if bearer is None:
        return Ruling(True, "the first of its study")
    if champion is not None and bearer.tags.get("config") == champion.finalist.config.key:
        return Ruling(True, f"the config of version {bearer.version}, confirmed again")
    comparison = against(conclusion, bearer.tags.get("config", ""))
    if comparison is None:
        return Ruling(False, f"cannot be compared with version {bearer.version}: test predictions of both are needed")
    said = verdict(comparison, comparison.p, conclusion.runs.facts["n_test"])
    why = f"against version {bearer.version}: {comparison.difference:+.4f}, {said}"
    return Ruling(bool(comparison.p < LEVEL and comparison.difference > 0), why, comparison)


def _registered(client: MlflowClient, conclusion: Conclusion, exported: Exported) -> ModelVersion:
    """The version of what was exported, created where there is none."""
    study = conclusion.runs.study.name
    if not client.search_registered_models(f"name = '{study}'"):
        with sent_once():
            client.create_registered_model(study, tags={"study": study})
    failpoint("register.model")
    version = _find(client, study, exported.run_id) or _create(client, conclusion, exported)
    failpoint("register.version")
    _link(client, version, exported.model_id)
    failpoint("register.linked")
    return version


def _settled(client: MlflowClient, version: ModelVersion, ruling: Ruling) -> str:
    """Write a ruling down: the tags first, so that an alias is never without its reason."""
    for name, value in ruling.tags.items():
        if version.tags.get(name) != value:
            client.set_model_version_tag(version.name, version.version, name, value)
    failpoint("register.tags")
    if ruling.takes_over:
        client.set_registered_model_alias(version.name, ALIAS, version.version)
    failpoint("register.alias")
    return _line(version, ruling.takes_over, ruling.why)


def _find(client: MlflowClient, study: str, run_id: str) -> ModelVersion | None:
    versions = client.search_model_versions(f"name = '{study}'")
    return next((version for version in versions if version.run_id == run_id), None)


def _create(client: MlflowClient, conclusion: Conclusion, exported: Exported) -> ModelVersion:
    """A version of the model that the run logged, where its files lie: they are not copied."""
    champion = conclusion.champion
    assert champion is not None, "it was exported"
    # Not `models:/<id>`: MLflow resolves that by a global of its own.
    source = client.get_logged_model(exported.model_id).artifact_location
    tags = {"study": conclusion.runs.study.name, "config": champion.finalist.config.key}
    with sent_once():
        return client.create_model_version(
            conclusion.runs.study.name,
            source,
            exported.run_id,
            tags,
            description=champion_line(conclusion),
            model_id=exported.model_id,
        )


def _link(client: MlflowClient, version: ModelVersion, model_id: str) -> None:
    """Have MLflow's UI show the version beside the logged model, as `mlflow.register_model` does."""
    link = json.dumps([{"name": version.name, "version": version.version}])
    if client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS) != link:
        client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: link})


def _bearer(client: MlflowClient, study: str) -> ModelVersion | None:
    version = client.get_registered_model(study).aliases.get(ALIAS)
    return None if version is None else client.get_model_version(study, version)


def _line(version: ModelVersion, bears_alias: bool, why: str) -> str:
    what = f"models:/{version.name}/{version.version}"
    return f"{what}, {ALIAS}: {why}" if bears_alias else f"{what}, not {ALIAS}: {why}"
