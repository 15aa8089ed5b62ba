"""Hyperparameter sweeps of Keras MLPs, tracked so that the result can be trusted."""
