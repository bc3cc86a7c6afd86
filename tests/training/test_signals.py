"""The first signal asks, the second ends."""
from __future__ import annotations

import os
import signal
import threading

import pytest

from polysemy.training.outcome import InterruptError
from polysemy.training.signals import Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_the_second_ends_the_run(number: int) -> None:
    before = signal.getsignal(number)
    if before == signal.SIG_IGN:
        pytest.skip("this signal is ignored here")
    with Signals() as signals:
        assert signals.caught is None
        os.kill(os.getpid(), number)
        assert signals.caught == number
        with pytest.raises(InterruptError) as found:
            os.kill(os.getpid(), number)
        assert found.value.exit_code == 128 + number
        assert not found.value.saved
    assert signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.caught is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with Signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
