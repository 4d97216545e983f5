"""An embedding of images: a small convolutional network, trained as a prototype network."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from sparsemeta import run as engine
from sparsemeta.config import Count


@dataclass(frozen=True)
class EmbeddingConfig(engine.TrainingConfig, section="embedding"):
    """How an embedding is trained; of the learning rate's course it has neither rise nor floor."""

    steps: Count = 2000  # how many episodes are learned from
    clip: engine.Positive = math.inf  # the largest norm of a step's gradient
    width: Count = 64  # how many channels every layer has
    ways: Count = 20  # how many classes are in an episode
    shots: Count = 5  # how many images of each class make its prototype
    queries: Count = 3  # how many images of each class are to find their prototype

    def rate(self, step: int) -> float:
        """The learning rate of AdamW: it falls as a straight line."""
        return self.learning_rate * (1 - step / self.steps)


@dataclass(frozen=True)
class Recipe:
    """All that decides a run."""

    training: EmbeddingConfig


def conv4(width: int) -> nn.Sequential:
    """Four convolutions that each halve the picture: (n, 1, 28, 28) to (n, width)."""
    layers: list[nn.Module] = []
    for channels in (1, width, width, width):
        convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*layers, nn.Flatten())
    # Twice as fast on a CPU.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def train_embedding(
    images: Tensor,
    config: EmbeddingConfig,
    run: str | Path,
    *,
    progress: engine.Progress | None = None,
) -> nn.Sequential:
    """Train as a prototype network (Snell et al. 2017), go on, or read what was trained before.

    Images are (classes, drawings, 28, 28) uint8; `run` and `progress` are as of `run.fit`. The
    network (n, 1, 28, 28) to (n, width) comes in evaluation mode.
    """
    learner = partial(_Learner, images, config)
    return engine.fit(learner, Recipe(config), run, progress=progress).model.cpu().eval()


class _Learner(engine.Learner[nn.Sequential, EmbeddingConfig]):
    """An embedding that learns from an episode in a step."""

    def __init__(self, images: Tensor, config: EmbeddingConfig, saved: engine.Checkpoint | None):
        runner = engine.Engine(seed=config.seed)
        self._images = images.to(runner.device)
        network = conv4(config.width)
        super().__init__(network, lambda m: AdamW(m.parameters()), config, runner, saved)

    def take_step(self) -> dict[str, Any]:
        self.set_rate()
        loss = self._episode_loss()
        loss.backward()
        norm = self.descend(loss.item())
        self.step += 1
        return {"step": self.step, "loss": loss.item(), "grad_norm": norm}

    def _episode_loss(self) -> Tensor:
        """Cross-entropy of the queries of one episode, by squared distance to prototypes."""
        config, images = self.config, self._images
        classes = torch.randperm(len(images))[: config.ways, None]
        each = config.shots + config.queries
        drawing = torch.rand(len(classes), images.shape[1]).argsort(1)[:, :each]
        picked = images[classes, drawing]
        embedded = _forward(self.forward, picked.flatten(0, 1)).unflatten(0, picked.shape[:2])
        prototype, query = embedded[:, : config.shots].mean(1), embedded[:, config.shots :]
        distance = (query.flatten(0, 1)[:, None] - prototype).square().sum(-1)
        truth = torch.arange(len(classes), device=images.device).repeat_interleave(config.queries)
        return cross_entropy(-distance, truth)

    def status(self, record: dict[str, Any]) -> str:
        return f"embedding, loss {record['loss']:.3f}"


@torch.no_grad()
def embed(network: nn.Module, images: Tensor) -> Tensor:
    """Images (classes, drawings, 28, 28) uint8 in an embedding, (classes, drawings, width)."""
    found = [_forward(network, part) for part in images.flatten(0, 1).split(500)]
    return torch.cat(found).unflatten(0, images.shape[:2])


def as_bytes(embedded: Tensor, largest: float) -> Tensor:
    """An embedding of values from 0 on as a task takes images: uint8, 255 for `largest`."""
    return (255 * embedded / largest).round().clamp(0, 255).to(torch.uint8)


def _forward(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Images (n, 28, 28) uint8 as vectors (n, width) float32, computed in bfloat16."""
    x = (images[:, None].float() / 255).contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16):
        return network(x).float()
