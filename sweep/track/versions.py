"""MLflow's model registry: the versions of a study's model, and the one that has the alias."""

import json
from dataclasses import dataclass

from sweep.track.mlflow_api import MLFLOW_MODEL_VERSIONS, MlflowClient, ModelVersion, send_once

ALIAS = "champion"


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    number: int | str  # as MLflow gives it: int from a database, str from a server
    run_id: str
    config: str  # the key of its config
    tags: dict[str, str]

    @classmethod
    def of(cls, found: ModelVersion) -> "Version":
        tags = dict(found.tags)
        return cls(found.version, str(found.run_id), tags.get("config", ""), tags)


class ModelVersions:
    """The versions of the registered model that is named like its study. Its calls raise MLflow's errors."""

    def __init__(self, client: MlflowClient, study: str) -> None:
        self._client = client
        self._study = study

    def create_model(self) -> None:
        """Create the registered model where there is none."""
        if not self._client.search_registered_models(f"name = '{self._study}'"):
            with send_once():
                self._client.create_registered_model(self._study, tags={"study": self._study})

    def list(self) -> list[Version]:
        """List all versions."""
        return [Version.of(found) for found in self._client.search_model_versions(f"name = '{self._study}'")]

    def create(self, run_id: str, model_id: str, config: str, description: str) -> Version:
        """Register the model that a run logged, where its files lie: they are not copied."""
        # Not `models:/<id>`: MLflow resolves that by a global of its own.
        source = self._client.get_logged_model(model_id).artifact_location
        tags = {"study": self._study, "config": config}
        with send_once():
            return Version.of(
                self._client.create_model_version(
                    self._study, source, run_id, tags, description=description, model_id=model_id
                )
            )

    def link(self, version: Version, model_id: str) -> None:
        """Have MLflow's UI show the version beside the logged model, as `mlflow.register_model` does."""
        link = json.dumps([{"name": self._study, "version": version.number}])
        if self._client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS) != link:
            self._client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: link})

    def set_tags(self, version: Version, tags: dict[str, str]) -> None:
        """Set those tags of a version that differ."""
        for name, value in tags.items():
            if version.tags.get(name) != value:
                self._client.set_model_version_tag(self._study, str(version.number), name, value)

    def find_champion(self) -> Version | None:
        """Find the version that has the alias."""
        number = self._client.get_registered_model(self._study).aliases.get(ALIAS)
        return None if number is None else Version.of(self._client.get_model_version(self._study, number))

    def set_champion(self, version: Version) -> None:
        """Give the alias to a version."""
        self._client.set_registered_model_alias(self._study, ALIAS, str(version.number))
