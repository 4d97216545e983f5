"""How what is revealed becomes a vector, and what is recalled a prediction."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class LabelHead(nn.Module):
    """Labels by fixed random codes, so that one which training never met is as good as any.

    Args:
        width: D.
        labels: how many there may be.
    """

    codes: Tensor

    def __init__(self, width: int, labels: int):
        super().__init__()
        codes = nn.init.orthogonal_(torch.empty(labels, width))
        self.register_buffer("codes", normalize(codes, dim=-1) * width**0.5)

    def nothing(self, batch: int) -> tuple[Tensor, Tensor]:
        """Feedback that B streams never got, and that they did not."""
        taught = torch.zeros(batch, dtype=torch.bool, device=self.codes.device)
        return taught.long(), taught

    def embed(self, feedback: Tensor) -> Tensor:
        """Labels (..) as vectors (.., D)."""
        return self.codes[feedback]

    def forward(self, x: Tensor, recalled: Tensor) -> Tensor:
        """The logits (.., labels) of what was recalled (.., D)."""
        return recalled @ self.codes.mT


class ValueHead(nn.Module):
    """Values, embedded and predicted by learned maps.

    Args:
        width: D.
        outputs: W, of a value.
    """

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.embed = nn.Linear(outputs, width)
        self.predict = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, outputs)
        )

    def nothing(self, batch: int) -> tuple[Tensor, Tensor]:
        """Feedback that B streams never got, and that they did not."""
        blank = self.embed.weight.new_zeros(batch, self.embed.in_features)
        return blank, blank.new_zeros(batch, dtype=torch.bool)

    def forward(self, x: Tensor, recalled: Tensor) -> Tensor:
        """The value (.., W) at x (.., D), given what was recalled (.., D)."""
        return self.predict(torch.cat([x, recalled], dim=-1))
