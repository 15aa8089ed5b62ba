"""Sweeps from Python: what `import sweep` offers, each loaded when it is first used."""
