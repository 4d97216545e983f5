"""An embedding of images: a small convolutional network, trained as a prototype network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparsemeta import run as engine
from sparsemeta.errors import CheckpointError, require
from sparsemeta.files import write_file


@dataclass(frozen=True)
class EmbeddingConfig:
    """How an embedding is trained."""

    width: int = 64
    """Channels of every layer."""
    steps: int = 2000
    """Episodes."""
    ways: int = 20
    """Classes in an episode."""
    shots: int = 5
    """Images of each that make its prototype."""
    queries: int = 3
    """Images of each that are to find theirs."""
    learning_rate: float = 2e-3
    """Of AdamW, at first; it falls as a straight line."""
    seed: int = 0
    """Of the weights and the episodes."""

    def __post_init__(self) -> None:
        for name in ("width", "steps", "ways", "shots", "queries"):
            require(getattr(self, name) >= 1, f"embedding.{name} must be at least 1")


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
    file: str | Path,
    *,
    progress: engine.Progress | None = None,
) -> nn.Sequential:
    """Train as a prototype network (Snell et al. 2017), or read what was trained before.

    Args:
        images: (classes, drawings, 28, 28) uint8.
        config: how.
        file: of its weights.
        progress: where to show how it goes; nothing is shown without it.

    Returns:
        A network (n, 1, 28, 28) to (n, width), in evaluation mode.

    Raises:
        CheckpointError: the file is not of such a network.
    """
    file, progress = Path(file), progress or engine.Progress(quiet=True)
    torch.manual_seed(config.seed)
    network = conv4(config.width)
    if file.exists():
        try:
            safetensors.torch.load_model(network, file)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise CheckpointError(
                f"{file}: damaged, or of another network ({error}). Delete it to train anew."
            ) from None
        return network.eval()
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, config.steps)
    with progress.track(0, config.steps):
        for step in range(1, config.steps + 1):
            loss = _episode_loss(network, images, config)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay.step()
            progress.show(step, f"embedding, step {step}/{config.steps}  loss {loss.item():.3f}")
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_file(file) as aside:
        safetensors.torch.save_model(network, str(aside))
    return network.eval()


@torch.no_grad()
def embed(network: nn.Module, images: Tensor) -> Tensor:
    """Images (classes, drawings, 28, 28) uint8 in an embedding, (classes, drawings, width)."""
    parts = images.flatten(0, 1).split(500)
    return torch.cat([_forward(network, part) for part in parts]).unflatten(0, images.shape[:2])


def as_bytes(embedded: Tensor, largest: float) -> Tensor:
    """An embedding of values from 0 on as a task takes images: uint8, 255 for `largest`."""
    return (255 * embedded / largest).round().clamp(0, 255).to(torch.uint8)


def _forward(network: nn.Module, images: Tensor) -> Tensor:
    """Images (n, 28, 28) uint8 as vectors (n, width) float32, computed in bfloat16."""
    x = (images[:, None].float() / 255).contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16):
        return network(x).float()


def _episode_loss(network: nn.Module, images: Tensor, config: EmbeddingConfig) -> Tensor:
    """Cross-entropy of the queries of one episode, by squared distance to prototypes."""
    classes = torch.randperm(len(images))[: config.ways, None]
    each = config.shots + config.queries
    drawing = torch.rand(len(classes), images.shape[1]).argsort(1)[:, :each]
    picked = images[classes, drawing]
    embedded = _forward(network, picked.flatten(0, 1)).unflatten(0, picked.shape[:2])
    prototype = embedded[:, : config.shots].mean(1)
    query = embedded[:, config.shots :].flatten(0, 1)
    distance = (query[:, None] - prototype).square().sum(-1)
    truth = torch.arange(len(classes)).repeat_interleave(config.queries)
    return cross_entropy(-distance, truth)
