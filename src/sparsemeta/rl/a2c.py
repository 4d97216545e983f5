"""Advantage actor-critic (Mnih et al. 2016): one update for each segment."""

from __future__ import annotations

from collections.abc import Callable
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
    """Learn from a segment.

    Args:
        forward: the agent's forward pass.
        descend: takes a step down the gradient of a loss, and returns the gradient's norm.
        rollout: the segment.
        config: how.
        entropy_weight: of this update.

    Returns:
        For the log: means over the segment.
    """
    judged, _ = forward(rollout.seen, rollout.state, fresh=rollout.fresh, donate=True)
    log_policy = judged.logits.log_softmax(-1)
    taken = log_policy.gather(-1, rollout.action[..., None]).squeeze(-1)

    policy_loss = -(taken * rollout.advantage).mean()
    value_loss = (judged.value - rollout.target).square().mean()
    entropy = -(log_policy.exp() * log_policy).sum(-1).mean()

    loss = policy_loss + config.value * value_loss - entropy_weight * entropy
    norm = descend(loss)
    return {
        "policy_loss": policy_loss.item(),
        "value_loss": value_loss.item(),
        "entropy": entropy.item(),
        "grad_norm": norm,
    }
