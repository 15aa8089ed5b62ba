"""Signals are a request to stop, then an order."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sweep.conduct.signals import collect_signals
from tests.faults.driver import Sweep
from tests.faults.engine import EPOCH_S


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_collected_and_the_second_stops_at_once(number):
    before = signal.getsignal(number)
    with collect_signals() as arrived:
        signal.raise_signal(number)
        assert arrived == [number]
        with pytest.raises(KeyboardInterrupt) as stop:
            signal.raise_signal(number)
        assert stop.value.args == (number,)
    assert signal.getsignal(number) is before


def test_in_another_thread_than_the_main_one_no_signal_is_taken():
    before = signal.getsignal(signal.SIGINT)

    def look():
        with collect_signals() as arrived:
            return arrived, signal.getsignal(signal.SIGINT)

    with ThreadPoolExecutor() as threads:
        assert threads.submit(look).result() == ([], before)


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["tpe", "grid", "baseline"])
def test_a_search_whose_steps_do_not_divide_its_range_ends_at_a_signal_and_finds_every_config(
    tmp_path, migrated, asked
):
    sweep = Sweep.new(tmp_path / "sweep", migrated)
    sampler = "random" if asked == "baseline" else asked
    text = (sweep.folder / "tiny.toml").read_text()
    head, tail = text.split("[space]")[0], text.split("[training]")[1]
    space = "[space]\nhidden_layers = 1\nunits = 8\ndropout = {float = [0.0, 0.5], step = 0.15}\n\n"
    tail = tail.replace('sampler = "random"', f'sampler = "{sampler}"').replace("[16, 8]", "[8]")
    dropout = "0.45" if asked == "baseline" else "0.5"  # the last step, and beyond it
    (sweep.folder / "tiny.toml").write_text(
        f"{head}{space}[training]{tail}".replace("dropout = 0.5\n", f"dropout = {dropout}\n").replace(
            "batch_size = 64\n", ""
        )
    )
    process = sweep.start(**{EPOCH_S: "0.1"})
    while ": complete" not in sweep.said and process.is_alive():
        time.sleep(0.02)
    sent_at = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    assert sweep.finish(process) == 128 + signal.SIGTERM, sweep.said
    assert time.monotonic() - sent_at < 10
    assert sweep.run() == 0, sweep.said
    assert "Traceback" not in sweep.said
    assert sweep.run("doctor") == 0, sweep.printed  # all that the space holds was tried
