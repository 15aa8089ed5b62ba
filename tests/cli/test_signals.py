"""Signals are a request to stop, then an order."""

import signal

import pytest

from sweep.cli.signals import collect_signals


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
