"""What the machine could do at best: matrix products of numpy on every core, and what a training costs in them."""

import json
import os
import subprocess
import sys
import time
from itertools import pairwise

from tests.bench.configs import ConfigTable

SIZE = 2048  # rows and columns of the matrices
SECONDS = 3.0


def sgemm_peak(cores: list[int]) -> float:
    """FLOP/s of single-threaded float32 products, one process pinned to each core, all at once."""
    command = [sys.executable, "-m", "tests.bench.limits"]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    start_at = str(time.time() + 2)  # all are loaded by then
    processes = [
        subprocess.Popen([*command, str(core), start_at], env=environment, stdout=subprocess.PIPE) for core in cores
    ]
    return float(sum(json.loads(process.communicate()[0]) for process in processes))


def flops_per_row(config: ConfigTable, n_features: int, n_classes: int) -> int:
    """FLOPs of one row's forward and backward pass, products of weights alone, 2 for each multiply-add.

    Three products for each layer (forward, gradient of weights, gradient of inputs), but no gradient of the rows.
    """
    layers = list(pairwise([n_features, *config["units"], n_classes]))
    products = [n_in * n_out for n_in, n_out in layers]
    return 2 * (3 * sum(products) - products[0])


def _measure_core(core: int, start_at: float) -> float:
    """FLOP/s of this process, pinned to `core`."""
    os.sched_setaffinity(0, {core})
    import numpy as np

    left, right = np.random.default_rng(core).random((2, SIZE, SIZE), dtype=np.float32)
    product = left @ right
    time.sleep(max(0.0, start_at - time.time()))
    n_products, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        np.matmul(left, right, out=product)
        n_products += 1
    return 2 * SIZE**3 * n_products / elapsed


if __name__ == "__main__":
    print(json.dumps(_measure_core(int(sys.argv[1]), float(sys.argv[2]))))
