"""A task while it is being done, and what is told of it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sparsemeta.lm import LMState, Spelling, Tokenizer, choose
from sparsemeta.serve.engine.spelling import Reply
from sparsemeta.serve.engine.tasks import Choice, Event, Finished, Reason, Snapshot, Task, Wrote

SHORT = 64
"""Tokens of texts that are read together: of longer ones that brings little."""


@dataclass(eq=False)
class Job:
    """A task, and how far it has come.

    Attributes:
        task: what is to be done.
        tokenizer: of the model.
        state: where its stream stands, while it is by itself; None before the first token of an
            empty memory, and in a cohort.
        own: whether the state belongs to it alone, and may be overwritten.
        position: how many of the task's tokens were read.
    """

    task: Task
    tokenizer: Tokenizer
    state: LMState | None = None
    own: bool = False
    position: int = 0
    wrote: list[int] = field(default_factory=list)
    _closing: bool = False  # the last token is chosen, and still to be read

    def __post_init__(self) -> None:
        if self.task.begin is not None:
            self.state = self.task.begin.state
        sampling, self._random = self.task.sampling, torch.Generator()
        self._random.manual_seed(self._random.seed() if sampling.seed is None else sampling.seed)
        spelling = Spelling(self.tokenizer, self.task.tokens[-1:].tolist())
        self._reply = Reply(spelling, self.task.stop)
        separator = self.tokenizer.separator
        # A word model opens a text with the end of a line, which has a spelling and ends no text.
        self._end = None if self.tokenizer.decode([separator]) else separator

    @property
    def left(self) -> int:
        """How many tokens are to be read before the last, after which one may be chosen."""
        return len(self.task.tokens) - 1 - self.position

    @property
    def together(self) -> tuple[int, ...]:
        """Jobs of the same may read together; empty where it has to read alone."""
        if self.state is None or self.task.top or not 0 < self.left <= SHORT:
            return ()
        size, predicted = self.state.nbytes.bit_length() // 2, self.state.pending is not None
        return self.left.bit_length(), size, predicted

    def opening(self) -> list[Choice]:
        """The first token, if nothing was read yet, and how likely it was where it began."""
        task = self.task
        if self.position or not len(task.tokens):
            return []
        first, begin = int(task.tokens[0]), task.begin
        if begin is None or begin.log_p is None:
            return [Choice(first, None)]
        return [choice(first, begin.log_p, task.top)]

    @property
    def next(self) -> int:
        """The token that is to be read next."""
        return self.wrote[-1] if self.wrote else int(self.task.tokens[-1])

    def hear(self, log_p: Tensor) -> tuple[list[Event], Reason | None]:
        """Go on after `next` was read: what is told, and why the task is done, if it is.

        Args:
            log_p: (V,) float32, of what comes after it.
        """
        sampling = self.task.sampling
        if self._closing or not sampling.tokens:
            return [], "length"
        token = choose(log_p, sampling, self._random)
        if token == self._end:
            return [], "stop"
        piece = self._reply.push(token)
        told: list[Event] = [Wrote(choice(token, log_p, self.task.top), piece)]
        if self._reply.stopped:
            return told, "stop"
        self.wrote.append(token)
        self._closing = len(self.wrote) == sampling.tokens
        return told, None

    def finish(self, state: LMState, log_p: Tensor, reason: Reason) -> Finished:
        """What is told at the end; the state and log p (V,) are kept, and must be its own."""
        rest = self._reply.rest()
        return Finished(Snapshot(state, log_p), tuple(self.wrote), rest, reason)


def choice(token: int, log_p: Tensor, top: int) -> Choice:
    """How likely a token was by log p (V,), and the `top` likeliest."""
    best = log_p.topk(min(top, len(log_p))) if top else None
    likely = zip(best.indices.tolist(), best.values.tolist(), strict=True) if best else ()
    return Choice(token, float(log_p[token]), tuple(likely))
