"""Proximal policy optimisation (Schulman et al. 2017): several clipped updates for each segment.

With one epoch of one minibatch it is `a2c`, as the ratio is 1 (Huang et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import torch

from sparsemeta.rl.config import TrainingConfig
from sparsemeta.rl.rollout import Rollout


def update(
    forward: Callable[..., Any],
    descend: Callable[[torch.Tensor], float],
    rollout: Rollout,
    config: TrainingConfig,
    entropy_weight: float,
) -> dict[str, float]:
    """Learn from a segment; arguments and result as those of `a2c.update`."""
    records = []
    lives = len(rollout.action)
    for _ in range(config.epochs):
        for rows in torch.randperm(lives).split(lives // config.minibatches):
            part = rollout.select(rows.to(rollout.action.device))
            judged, _ = forward(part.seen, part.state, fresh=part.fresh, donate=True)
            log_policy = judged.logits.log_softmax(-1)
            taken = log_policy.gather(-1, part.action[..., None]).squeeze(-1)

            ratio = (taken - part.log_probability).exp()
            clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
            policy_loss = -torch.min(ratio * part.advantage, clipped * part.advantage).mean()
            value_loss = (judged.value - part.target).square().mean()
            entropy = -(log_policy.exp() * log_policy).sum(-1).mean()

            loss = policy_loss + config.value * value_loss - entropy_weight * entropy
            norm = descend(loss)
            records.append(
                {
                    "policy_loss": policy_loss.item(),
                    "value_loss": value_loss.item(),
                    "entropy": entropy.item(),
                    "grad_norm": norm,
                    "clipped": (ratio != clipped).float().mean().item(),
                }
            )
    return {name: fmean(record[name] for record in records) for name in records[0]}
