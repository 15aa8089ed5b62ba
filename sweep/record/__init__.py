"""Keep what happened, durably: trials in Optuna's storage, results in folders."""
