"""The registry: each exported champion as a version under its study's name, and the rule for the alias `champion`."""

from dataclasses import dataclass

from sweep.champion.export import Exported
from sweep.durable.failpoint import failpoint
from sweep.durable.lock import hold_in_turn
from sweep.layout import RunsDir
from sweep.record.results import LOCK
from sweep.report.compare import Comparison, word_verdict
from sweep.report.conclusion import Conclusion, compare_with_config
from sweep.report.interval import LEVEL
from sweep.report.text import champion_line
from sweep.track.client import open_client
from sweep.track.errors import translate_errors
from sweep.track.tables import settle_locations
from sweep.track.versions import ALIAS, ModelVersions, Version

VERDICT = "verdict"  # the tag that says why a version has the alias, or why not; its figures are in verdict.p and so on


@dataclass(frozen=True)
class Ruling:
    """The decision whether a challenger takes the alias over, with its reason."""

    takes_over: bool
    why: str
    comparison: Comparison | None = None

    @property
    def tags(self) -> dict[str, str]:
        """The ruling as tags of the challenger's version."""
        figures = {} if self.comparison is None else {
            "p": f"{self.comparison.p:.6g}",
            "difference": f"{self.comparison.difference:+.6f}",
            "n": str(self.comparison.n),
        }  # fmt: skip
        return {VERDICT: self.why, **{f"{VERDICT}.{name}": value for name, value in figures.items()}}


def register(conclusion: Conclusion, exported: Exported) -> str:
    """Register the exported champion, once, and move the alias where the paired test says so; return the outcome as a line.

    Writes nothing where it was done before. Raises TrackingError; the export is not touched.
    """
    runs, study = conclusion.tracked.runs, conclusion.tracked.study.name
    with hold_in_turn(runs.all_exports / LOCK), translate_errors(runs):
        settle_locations(runs, study)  # versions keep paths
        versions = ModelVersions(open_client(runs), study)
        version = _find_or_create(versions, conclusion, exported)
        holder = versions.find_champion()
        if holder is not None and holder.number == version.number:
            return _line(study, version, True, version.tags.get(VERDICT, ""))
        ruling = decide(conclusion, holder)
        _settle(versions, version, ruling)
        return _line(study, version, ruling.takes_over, ruling.why)


def list_registered_runs(runs: RunsDir, study: str) -> set[str]:
    """List the ids of the runs whose models are versions under a study's name. Raises TrackingError."""
    with translate_errors(runs):
        return {version.run_id for version in ModelVersions(open_client(runs), study).list()}


def decide(conclusion: Conclusion, holder: Version | None) -> Ruling:
    """Decide whether the champion takes the alias over from the version that holds it.

    A champion is the best by validation; the alias is what others deploy, and moves only for a difference that the test
    rows tell from chance. A holder of the same config is succeeded without a test: it is the same net with other seeds, the
    question has been answered, and alias and bundle go on naming one model.
    """
    champion = conclusion.champion
    if holder is None:
        return Ruling(True, "the first of its study")
    if champion is not None and holder.config == champion.finalist.config.key:
        return Ruling(True, f"the config of version {holder.number}, confirmed again")
    comparison = compare_with_config(conclusion, holder.config)
    if comparison is None:
        return Ruling(False, f"cannot be compared with version {holder.number}: test predictions of both are needed")
    words = word_verdict(comparison, comparison.p, conclusion.tracked.facts.n_test)
    why = f"against version {holder.number}: {comparison.difference:+.4f}, {words}"
    return Ruling(bool(comparison.p < LEVEL and comparison.difference > 0), why, comparison)


def _find_or_create(versions: ModelVersions, conclusion: Conclusion, exported: Exported) -> Version:
    """Return the version of what was exported, created where there is none."""
    versions.create_model()
    failpoint("register.model")
    found = next((version for version in versions.list() if version.run_id == exported.run_id), None)
    version = found or _create(versions, conclusion, exported)
    failpoint("register.version")
    versions.link(version, exported.model_id)
    failpoint("register.linked")
    return version


def _create(versions: ModelVersions, conclusion: Conclusion, exported: Exported) -> Version:
    champion = conclusion.champion
    assert champion is not None, "it was exported"
    config = champion.finalist.config.key
    return versions.create(exported.run_id, exported.model_id, config, champion_line(conclusion))


def _settle(versions: ModelVersions, version: Version, ruling: Ruling) -> None:
    """Write a ruling down: the tags first, so that an alias is never without its reason."""
    versions.set_tags(version, ruling.tags)
    failpoint("register.tags")
    if ruling.takes_over:
        versions.set_champion(version)
    failpoint("register.alias")


def _line(study: str, version: Version, has_alias: bool, why: str) -> str:
    what = f"models:/{study}/{version.number}"
    return f"{what}, {ALIAS}: {why}" if has_alias else f"{what}, not {ALIAS}: {why}"
