import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.train.cohort.members import use_jax


@pytest.fixture(scope="package")
def on_jax():
    """Call a function in a process whose Keras runs on JAX."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, use_jax) as process:
        yield lambda function, *arguments: process.submit(function, *arguments).result()
