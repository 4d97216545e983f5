"""A game played by a seed."""

import torch

from sparsemeta.rl.environments import TensorVectorEnv, play


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def played(rules, agent, batch: int = 2000, seed: int = 0):
    return play(TensorVectorEnv(rules, batch), agent, seeded(seed))


def near(values: torch.Tensor, published: float, error: float = 0.0) -> bool:
    """Whether a mean is what was published, within 3 standard errors of both together."""
    own = values.std() / len(values) ** 0.5
    return bool((values.mean() - published).abs() < 3 * (own**2 + error**2) ** 0.5)
