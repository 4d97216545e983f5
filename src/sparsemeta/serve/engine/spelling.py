"""The text of a reply as it is made: nothing is told that may be part of a stop string."""

from collections.abc import Sequence

from sparsemeta.lm import Spelling


class Reply:
    """Collects the pieces of a text, and looks out for the strings that end it.

    Args:
        spelling: turns tokens into text.
        stop: strings that end the text, and are no part of it.

    Attributes:
        stopped: whether one of them came: the text ends before it.
    """

    def __init__(self, spelling: Spelling, stop: Sequence[str] = ()):
        self._spelling, self._stop = spelling, stop
        self._held, self.stopped = "", False

    def push(self, token: int) -> str:
        """What is certain of the text after one more token."""
        self._held += self._spelling.push(token)
        return self._take(certain=False)

    def rest(self) -> str:
        """What was held back, at the end of the text."""
        if not self.stopped:
            self._held += self._spelling.rest()
        return self._take(certain=True)

    def _take(self, *, certain: bool) -> str:
        found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped, sure, self._held = True, self._held[: min(found)], ""
            return sure
        cut = len(self._held) - (0 if certain else self._uncertain())
        sure, self._held = self._held[:cut], self._held[cut:]
        return sure

    def _uncertain(self) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for many in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-many:]) for stop in self._stop):
                return many
        return 0
