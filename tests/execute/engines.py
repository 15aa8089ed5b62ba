"""Fake engines that a child process starts by name: a light module, as each child imports it."""

import math

from sweep.execute.fake import FakeCohortEngine, FakeEngine, plausible_logs
from sweep.study.config import Config
from tests.faults.engine import FILES

MAX_EPOCHS = 4
DIVERGING = Config(units=(8,), dropout=0.2, batch_size=32, learning_rate=1.0)  # NaN in its second epoch


def make_logs(config, seed, epoch):
    logs = plausible_logs(config, seed, epoch)
    return {**logs, "loss": math.nan} if config == DIVERGING and epoch == 2 else logs


def start_engine(options):
    return FakeEngine(MAX_EPOCHS, make_logs, FILES)


def start_cohort_engine(options):
    return FakeCohortEngine(start_engine(options), options.provenance)
