"""The JAX engine: many trials in one program."""
