import io

from sparsemeta.run import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream, **options):
    progress = Progress(stream=stream, **options)
    with progress.track(10, 12):
        progress.update(11, 2.5, 1000)
        progress.update(12, 2.25, 1000)
    return stream.getvalue()


def test_progress_is_plain_lines_now_and_then_off_a_terminal():
    plain = shown(io.StringIO(), every=60.0)
    assert plain.count("\n") == 1
    assert plain.startswith("step 12/12  loss 2.250  ")
    assert plain.endswith(" tokens/s  0:00:00 left\n")
    assert shown(io.StringIO(), every=0.0).count("\n") == 2


def test_progress_is_a_bar_on_a_terminal_and_nothing_when_quiet(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert "━" in shown(Terminal())
    assert shown(Terminal(), quiet=True) == ""
    assert shown(io.StringIO(), quiet=True, every=0.0) == ""
