import signal

import pytest
import torch

from sparsemeta.errors import CheckpointError, ConfigError
from sparsemeta.run import Interrupted, Progress
from sparsemeta.streams.embedding import EmbeddingConfig, as_bytes, conv4, embed, train_embedding

CONFIG = EmbeddingConfig(width=8, steps=10, ways=4, shots=2, queries=2, learning_rate=1e-2)


def drawings(classes=6, each=8):
    """A blot of its own place for each class, under noise."""
    images = torch.zeros(classes, each, 28, 28)
    for c in range(classes):
        images[c, :, 4 * c : 4 * c + 6, 8:20] = 0.7
    return (255 * (images + 0.3 * torch.rand_like(images))).to(torch.uint8)


def separation(embedded):
    """How much further classes lie apart than their own images, on average."""
    means = embedded.mean(1)
    return torch.cdist(means, means).mean() / (embedded - means[:, None]).norm(dim=-1).mean()


def test_training_separates_classes_and_is_kept(tmp_path):
    images, run = drawings(), tmp_path / "deep" / "embedding"
    torch.manual_seed(CONFIG.seed)
    before = separation(embed(conv4(8).eval(), images))
    network = train_embedding(images, CONFIG, run)
    found = embed(network, images)
    assert found.shape == (6, 8, 8)
    assert separation(found) > 1.5 * before
    again = train_embedding(images[:1], CONFIG, run)  # read, not trained
    assert torch.equal(embed(again, images), found)


def test_as_bytes():
    values = torch.tensor([0.0, 1.0, 2.0, 5.0])
    assert as_bytes(values, 2.0).tolist() == [0, 128, 255, 255]


class Stop(Progress):
    """Ctrl-C after a step."""

    def advance(self, step, status):
        if step == 4:
            signal.raise_signal(signal.SIGINT)


def test_stopped_and_resumed_is_never_stopped(tmp_path):
    images = drawings()
    whole = train_embedding(images, CONFIG, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train_embedding(images, CONFIG, tmp_path / "run", progress=Stop(quiet=True))
    torch.manual_seed(5)
    resumed = train_embedding(images, CONFIG, tmp_path / "run")
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_damaged_checkpoint(tmp_path):
    train_embedding(drawings(), CONFIG, tmp_path)
    (tmp_path / "checkpoints/step-000010/model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is not what was saved"):
        train_embedding(drawings(), CONFIG, tmp_path)


def test_a_config_that_cannot_be():
    with pytest.raises(ConfigError, match=r"embedding\.shots = 0 must be at least 1"):
        EmbeddingConfig(shots=0)
