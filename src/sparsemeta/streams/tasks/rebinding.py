"""Rebinding: cues whose labels change one at a time, and a table of the last label of each."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import override

from sparsemeta.config import AtLeast, Count, Within
from sparsemeta.streams.stream import Stream, Task, age


@dataclass(frozen=True)
class Rebinding(Task, section="rebinding"):
    """A stream of noisy cues to be named: many live bindings to hold, any of which may change.

    Before each step, with the hazard's probability, a random cue gets another label. Then a random
    cue is shown, drawn from a normal distribution once per stream, under fresh noise. Scored is
    the second half. A source is a cue, its version counts its re-bindings so far.
    """

    oracle_name = "last-label"

    cues: Count = 512  # live bindings (M)
    labels: Annotated[int, AtLeast(2)] = 8  # labels they are bound to
    width: Count = 64  # width of a cue
    noise: Annotated[float, AtLeast(0)] = 0.3  # its standard deviation; a cue's own is 1
    hazard: Annotated[float, Within(0, 1)] = 0.02  # probability of a re-binding, per step
    length: Annotated[int, AtLeast(2)] = 2048  # steps (T)

    @property
    @override
    def input_shape(self) -> tuple[int, ...]:
        return (self.width,)

    @property
    @override
    def outputs(self) -> int:
        return self.labels

    @override
    def sample(self, batch: int, generator: torch.Generator) -> Stream:
        chance = {"generator": generator, "device": generator.device}
        steps = (batch, self.length)
        codes = torch.randn(batch, self.cues, self.width, **chance)
        shown = torch.randint(self.cues, steps, **chance)
        target, version = self._bindings(shown, **chance)
        row = torch.arange(batch, device=generator.device)[:, None]
        noise = self.noise * torch.randn(*steps, self.width, **chance)
        taught = torch.ones_like(shown, dtype=torch.bool)
        scored = taught.clone()
        scored[:, : self.length // 2] = False
        return Stream(codes[row, shown] + noise, target, taught, target, scored, shown, version)

    @override
    def oracle(self, stream: Stream) -> Tensor:
        """The label that a cue had when it was last shown; 0 if it never was."""
        ago, label = age(stream), stream.feedback
        last = torch.arange(ago.shape[1], device=ago.device) - ago
        return torch.where(ago < 0, 0, label.gather(1, last.clamp(max=ago.shape[1] - 1)))

    def expected_accuracy(self) -> float:
        r"""The oracle's expected accuracy over the scored steps, exactly.

        With $r = h / M$ a cue's chance of a re-binding at a step, $n_t$ the probability that it was
        never shown before and $a_t$ that the table has its label right, of L:
        $$a'_t = (1 - r) a_t + \frac{r}{L - 1} (1 - n_t - a_t), \quad
        a_{t+1} = a'_t + (1 - a'_t) / M, \quad n_{t+1} = (1 - 1/M) n_t$$
        and the accuracy at t is $a'_t + n_t / L$.
        """
        rebound, right, never, total = self.hazard / self.cues, 0.0, 1.0, 0.0
        for step in range(self.length):
            stale = 1 - never - right
            right += rebound * (stale / (self.labels - 1) - right)
            if step >= self.length // 2:
                total += right + never / self.labels
            right += (1 - right) / self.cues
            never *= 1 - 1 / self.cues
        return total / (self.length - self.length // 2)

    def _bindings(self, shown: Tensor, **chance) -> tuple[Tensor, Tensor]:
        """The label (B, T) of each cue shown, and how often it had changed."""
        rebound = torch.rand(shown.shape, **chance) < self.hazard
        changed = torch.randint(self.cues, shown.shape, **chance)
        turn = torch.randint(1, self.labels, shown.shape, **chance) * rebound
        row = torch.arange(len(shown), device=shown.device)
        label = torch.randint(self.labels, (len(shown), self.cues), **chance)
        now = torch.stack([label, torch.zeros_like(label)], dim=-1)  # (B, M, label and version)
        change = torch.stack([turn, rebound.long()], dim=-1)
        found = []
        for cue, other, by in zip(shown.T, changed.T, change.unbind(1), strict=True):
            now[row, other] += by
            found.append(now[row, cue])
        label, version = torch.stack(found, dim=1).unbind(-1)
        return label % self.labels, version
