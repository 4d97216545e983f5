import signal

import pytest

from sparsemeta.run import signals_deferred


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request_and_the_second_breaks_off(number):
    before = signal.getsignal(number)
    with signals_deferred() as request:
        assert not request.made
        signal.raise_signal(number)
        assert request.made
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before
