import pytest
import torch

from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.loss import own_losses
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.nn import memory_off

TOKENS = torch.arange(40).view(2, 20) * 7 % 13


def model(*output):
    torch.manual_seed(0)
    config = ModelConfig(layers=1, width=16, heads=2, mlp_width=16, output=output)
    made = LanguageModel(config, 13)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return made


@pytest.mark.parametrize("output", [("rows",), ("tables",), ("rows", "tables")])
def test_the_model_by_itself_is_the_one_with_its_memories_off(output):
    made = model(*output)
    x, y = TOKENS[:, :-1], TOKENS[:, 1:]
    with own_losses(made.head, y) as losses:
        mixed, _ = made(x, targets=y)
    with memory_off(made):
        alone, _ = made(x, targets=y)
    assert len(losses) == 1
    torch.testing.assert_close(losses[0], -alone.mean())
    assert not torch.allclose(mixed, alone)
    losses[0].backward()
    memories = {name for name, _ in made.named_parameters() if name.split(".")[0] in output}
    learned = {name for name, weight in made.named_parameters() if weight.grad is not None}
    assert memories
    assert learned == {name for name, _ in made.named_parameters()} - memories


def test_no_loss_but_where_there_is_something_to_train():
    x, y = TOKENS[:, :-1], TOKENS[:, 1:]
    frozen = model("tables")
    frozen.embedding.requires_grad_(False)
    frozen.blocks.requires_grad_(False)
    with own_losses(frozen.head, y) as losses:
        frozen(x, targets=y)
    assert losses == []
    with own_losses(frozen.requires_grad_(True).head, y) as losses:
        pass
    frozen(x, targets=y)
    assert losses == []  # outside the block, nothing is collected
