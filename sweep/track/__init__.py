"""MLflow, both ways."""
