"""The study as asked for: configs, the space, the study file."""
