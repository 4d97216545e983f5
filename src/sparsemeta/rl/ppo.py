r"""Proximal policy optimisation (Schulman et al. 2017): several clipped updates for each segment.

$$L = -\min(\rho \hat A,\; \mathrm{clip}(\rho, 1 - \epsilon, 1 + \epsilon) \hat A), \qquad
  \rho = \pi(a | s) / \pi_\mathrm{old}(a | s)$$

With one epoch of one minibatch $\rho$ is 1 and its gradient that of $\log \pi$: advantage
actor-critic (Mnih et al. 2016; Huang et al. 2022).
"""

from collections.abc import Callable
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from sparsemeta.rl.config import TrainingConfig
from sparsemeta.rl.rollout import Rollout


def update(
    forward: Callable[..., Any],
    descend: Callable[[Tensor], float],
    rollout: Rollout,
    config: TrainingConfig,
    entropy_weight: float,
) -> dict[str, float]:
    """Learn from a segment; returns, for the log, means over the updates.

    `descend` takes a step down the gradient of a loss, and returns the gradient's norm.
    """
    records, rows = [], len(rollout.action)
    epochs, minibatches = config.passes
    for _ in range(epochs):
        for drawn in torch.randperm(rows).split(rows // minibatches):
            part = rollout.select(drawn.to(rollout.action.device))
            judged, _ = forward(part.seen, part.state, fresh=part.fresh, donate=True)
            log_policy = judged.logits.log_softmax(-1)
            taken = log_policy.gather(-1, part.action[..., None]).squeeze(-1)
            ratio = (taken - part.log_probability).exp()
            clipped = ratio.clamp(1 - config.ratio_clip, 1 + config.ratio_clip)
            policy_loss = -torch.min(ratio * part.advantage, clipped * part.advantage).mean()
            value_loss = (judged.value - part.target).square().mean()
            entropy = -(log_policy.exp() * log_policy).sum(-1).mean()
            norm = descend(policy_loss + config.value * value_loss - entropy_weight * entropy)
            means = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
            record = {name: mean.item() for name, mean in means.items()}
            moved = (ratio != clipped).float().mean().item()
            records.append(record | {"grad_norm": norm, "clipped": moved})
    return {name: fmean(record[name] for record in records) for name in records[0]}
