"""What every command of the battery finds loaded: hundreds of them are forked off one process, and cost their own work only."""

import gc
from importlib import import_module

from sqlalchemy.orm import configure_mappers

for room in ("cli.conclusion", "cli.doctor", "cli.run", "conduct.outcome", "track.projection"):
    import_module(f"sweep.{room}")
for name in ("alembic.command", "matplotlib.backends.backend_agg", "sklearn.utils", "tests.faults.sweep_process"):
    import_module(name)  # what those load when they first need it
configure_mappers()  # of MLflow and Optuna
gc.collect()
gc.freeze()  # none of this is garbage: no command looks through it, and its pages stay shared
