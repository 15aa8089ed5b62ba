"""Where things lie below the runs directory (`mlruns/` unless `--runs-dir` says otherwise)."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunsDir:
    """Paths below one runs directory. Nothing is created here."""

    root: Path

    @property
    def mlflow_db(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def mlflow_uri(self) -> str:
        return f"sqlite:///{self.mlflow_db.absolute()}"

    @property
    def optuna_db(self) -> Path:
        return self.root / "optuna.db"  # a file of its own: Optuna and MLflow share the name of a schema table

    @property
    def data_cache(self) -> Path:
        return self.root / "cache"

    @property
    def all_artifacts(self) -> Path:
        return self.root / "artifacts"

    def artifacts(self, study: str) -> Path:
        return self.all_artifacts / study

    def results(self, study: str) -> Path:
        return self.root / "results" / study

    def logs(self, study: str) -> Path:
        return self.root / "logs" / study

    def reports(self, study: str) -> Path:
        return self.root / "reports" / study

    def exports(self, study: str) -> Path:
        return self.root / "exports" / study
