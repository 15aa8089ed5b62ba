"""The TensorFlow engine: one trial, an epoch in one graph call."""
