"""Streams that are decoded side by side, a token each at a time.

Their states stay joined while they are together. Joining copies them, so it is done only when
somebody comes or goes, once for all who do.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from sparsemeta.lm import LanguageModel, LMState
from sparsemeta.serve.engine.jobs import Job
from sparsemeta.serve.engine.joining import chosen, joined, parted


class Cohort:
    """Jobs whose next tokens are read together.

    Args:
        model: that all share.
    """

    def __init__(self, model: LanguageModel):
        self._model = model
        self.jobs: list[Job] = []
        self._state: LMState | None = None

    def change(self, leaving: Collection[Job], joining: Sequence[Job]) -> None:
        """Let some go, and let others, which have a state, come."""
        if not leaving and not joining:
            return
        staying = [i for i, job in enumerate(self.jobs) if job not in leaving]
        states = [job.state for job in joining if job.state is not None]
        if self._state is not None and staying:
            whole = len(staying) == len(self.jobs)
            states.insert(0, self._state if whole else chosen(self._state, staying))
        self.jobs = [self.jobs[i] for i in staying] + list(joining)
        self._state = joined(states) if states else None
        for job in joining:
            job.state = None

    def step(self) -> Tensor:
        """Read the next token of each: log p (B, V) float32 of what comes after it."""
        tokens = torch.tensor([[job.next] for job in self.jobs])
        predicted, _, self._state = self._model.predict(tokens, self._state, steps=1, donate=True)
        return predicted[:, -1].float().log_softmax(-1)

    def part(self, job: Job) -> LMState:
        """A copy of the state of one of them."""
        assert self._state is not None
        return parted(self._state, self.jobs.index(job))
