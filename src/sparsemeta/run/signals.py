"""Ctrl-C and SIGTERM as a request, so that work in progress can be saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(KeyboardInterrupt):
    """A signal stopped the work after what was done had been saved; the message says where."""


class StopRequest:
    """Whether somebody asked to stop."""

    made = False


@contextmanager
def signals_deferred() -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM into a request, so that a step can be finished and saved.

    A second signal breaks off at once. Outside the main thread signals are left as they are.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(*_: object) -> None:
        if request.made:
            raise KeyboardInterrupt
        request.made = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
