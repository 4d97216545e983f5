"""A sine wave that jumps, and a Bayesian change-point filter."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import override

from sparsemeta.config import Above, Count, Within
from sparsemeta.streams.stream import SQUARED_ERROR, Stream, Task

AMPLITUDE = (0.1, 5.0)
PHASE = math.pi  # from 0
REACH = 5.0  # inputs lie in -5 to 5


@dataclass(frozen=True)
class Sine(Task, section="sine"):
    r"""Predict $y = A \sin(x + \varphi)$ from noisy values of it, where $A$ and $\varphi$ may jump.

    A, the phase and every x are uniform; before each step, with the hazard's probability, A and the
    phase are drawn anew. What is revealed is noisy; what is scored is the wave itself. The one
    source is the wave, its version counts its jumps so far.
    """

    metric = SQUARED_ERROR
    oracle_name = "filter"

    length: Count = 200  # steps (T)
    hazard: Annotated[float, Within(0, 1)] = 0.02  # probability of a jump, per step
    noise: Annotated[float, Above(0)] = 0.1  # standard deviation of the noise on what is revealed

    @property
    @override
    def input_shape(self) -> tuple[int, ...]:
        return (1,)

    @property
    @override
    def outputs(self) -> int:
        return 1

    @override
    def sample(self, batch: int, generator: torch.Generator) -> Stream:
        steps, chance = (batch, self.length), {"generator": generator, "device": generator.device}

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(steps, **chance)

        jump = uniform(0, 1) < self.hazard
        jump[:, 0] = False  # the first wave is no change
        version = jump.cumsum(1)
        amplitude, phase = (t.gather(1, version) for t in (uniform(*AMPLITUDE), uniform(0, PHASE)))
        x = uniform(-REACH, REACH)
        target = amplitude * torch.sin(x + phase)
        feedback = target + self.noise * torch.randn(steps, **chance)
        x, feedback, target = (values[..., None] for values in (x, feedback, target))
        always, wave = torch.ones_like(jump), torch.zeros_like(version)
        return Stream(x, feedback, always, target, always, wave, version)

    @override
    def oracle(self, stream: Stream) -> Tensor:
        r"""The mean of the wave given all that was revealed before, whenever the last jump was.

        In $y = \theta^\top (\sin x, \cos x)$, with $\theta$ normal of the true mean and covariance,
        every time of the last jump is a Kalman filter of its own, weighted by how well it
        predicted (Adams and MacKay 2007). Only that the prior is normal is approximate.
        """
        x = stream.input[..., 0]
        basis = torch.stack([x.sin(), x.cos()], dim=-1)
        prior_mean, prior_spread = _prior(x)
        weight, mean, spread = x.new_zeros(len(x), 0), prior_mean[:, :0], prior_spread[:, :0]
        jump, stay = x.new_tensor([self.hazard, 1 - self.hazard]).log()
        predictions = []
        for step in range(x.shape[1]):
            begun = jump.expand(len(x), 1) if step else x.new_zeros(len(x), 1)
            weight = torch.cat([weight + stay, begun], dim=1)  # log, (B, times of jumps)
            mean = torch.cat([mean, prior_mean], dim=1)  # (B, times, 2)
            spread = torch.cat([spread, prior_spread], dim=1)  # (B, times, 2, 2)
            at = basis[:, step, None]
            expected = (mean * at).sum(-1)
            predictions.append((weight.exp() * expected).sum(1, keepdim=True))
            error = stream.feedback[:, step] - expected
            doubt = (spread * at[..., None, :]).sum(-1)
            variance = (doubt * at).sum(-1) + self.noise**2
            likelihood = -(variance.log() + error.square() / variance) / 2
            weight = (weight + likelihood).log_softmax(1)
            mean = mean + doubt * (error / variance)[..., None]
            spread = spread - doubt[..., None] * doubt[..., None, :] / variance[..., None, None]
        return torch.stack(predictions, dim=1)


def _prior(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, 1, 2) and covariance (B, 1, 2, 2) of A (cos phase, sin phase)."""
    low, high = AMPLITUDE
    power = (high**3 - low**3) / (3 * (high - low)) / 2  # half the mean of A^2
    height = (low + high) / math.pi  # the mean of A times the mean of the sine, 2 / pi
    mean = x.new_tensor([0.0, height])
    spread = x.new_tensor([[power, 0.0], [0.0, power - height**2]])
    return mean.expand(len(x), 1, 2), spread.expand(len(x), 1, 2, 2)
