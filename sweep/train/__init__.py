"""Engines: how models train. Keras and its back ends enter the program here and in `sweep/model.py` only."""
