"""Jobs that write side by side, a token each at a time."""

from collections.abc import Collection

import torch
from torch import Tensor

from sparsemeta.lm import Decoder, LanguageModel, LMState
from sparsemeta.serve.engine.jobs import Job

SHARE, PATIENCE = 8, 4
"""Coming and going copies the memories of all: who comes waits until as many come as an eighth of
those that are there, or for so many tokens."""


class Cohort:
    """Jobs whose next tokens are read together.

    Args:
        model: that all share.

    Attributes:
        jobs: by the stream of each; None where somebody has gone.
    """

    def __init__(self, model: LanguageModel):
        self._decoder, self._waited = Decoder(model), 0
        self.jobs: list[Job | None] = []
        self._coming: list[Job] = []

    def __len__(self) -> int:
        """How many are there or come."""
        return len(self.members)

    @property
    def members(self) -> list[Job]:
        """All who are there or come."""
        return [*filter(None, self.jobs), *self._coming]

    def join(self, job: Job) -> None:
        """Let a job come, which has a state."""
        self._coming.append(job)

    def leave(self, jobs: Collection[Job]) -> None:
        """Let jobs go."""
        self._coming = [job for job in self._coming if job not in jobs]
        self.jobs = [None if job in jobs else job for job in self.jobs]

    def step(self) -> list[tuple[Job, int, Tensor]]:
        """Read the next token of each: the job, its stream, and log p (V,) of what comes next."""
        self._settle()
        tokens = torch.tensor([job.next if job else 0 for job in self.jobs])
        log_p = self._decoder.step(tokens).float().log_softmax(-1)
        return [(job, i, log_p[i]) for i, job in enumerate(self.jobs) if job]

    def state(self, stream: int) -> LMState:
        """A copy of the state of one of them."""
        return self._decoder.state(stream)

    def _settle(self) -> None:
        """Take in who comes, and forget who has gone, if it is worth it."""
        gone = [i for i, job in enumerate(self.jobs) if job is None]
        present = len(self.jobs) - len(gone)
        self._waited += bool(self._coming)
        comes = len(self._coming) * SHARE > present or self._waited >= PATIENCE
        if gone and (comes or len(gone) * 4 > len(self.jobs)):
            self.jobs = [self.jobs[i] for i in self._decoder.drop(gone)]
        if comes and self._coming:
            self._decoder.add([job.state for job in self._coming if job.state is not None])
            self.jobs += self._coming
            for job in self._coming:
                job.state = None
            self._coming, self._waited = [], 0
