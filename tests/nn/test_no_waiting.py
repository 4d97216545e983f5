"""A step on a GPU never waits for it: no number is looked at, and no shape follows from one.

The meta device has no numbers to look at, so whoever looks is found out. Kernels do nothing there.
"""

from contextlib import nullcontext

import pytest
import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.modelling import LanguageModel


@pytest.fixture
def launched(monkeypatch):
    """What kernels are launched."""
    form, names = pytest.importorskip("sparsemeta.ops.update.triton.form"), []
    monkeypatch.setattr(form, "_launch", lambda kernel, *_, **__: names.append(kernel.__name__))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta device
    return names


def model(slots: int, output: tuple[str, ...]) -> LanguageModel:
    memory = MemoryConfig(
        slots=slots, active=4, heads=2, addressing="product", retention=True, backend="triton"
    )
    sizes = {"layers": 2, "width": 32, "heads": 2, "window": 16, "mlp_width": 64}
    config = ModelConfig(**sizes, memory_layers=(1,), memory=memory, output=output)
    return LanguageModel(config, 50).to("meta")


@pytest.mark.parametrize("output", [(), ("rows",)])
@pytest.mark.parametrize("slots", [64, 2**16])
@pytest.mark.parametrize("marks", [(), ("reset",), ("mask", "reset")])
def test_training_does_not_wait(launched, output, slots, marks):
    reader, state = model(slots, output), None
    tokens = torch.zeros(2, 12, dtype=torch.int64, device="meta")
    given = {name: tokens.bool() for name in marks}
    for _ in range(2):
        log_p, state = reader(tokens, state, targets=tokens, donate=True, **given)
        (-log_p.mean()).backward()
        state = state.detach()
    assert launched == ["forward", "backward"] * 2


@torch.no_grad()
@pytest.mark.parametrize("output", [(), ("rows",)])
@pytest.mark.parametrize("slots", [64, 2**16])
def test_reading_one_token_after_the_other_does_not_wait(launched, output, slots):
    reader, state = model(slots, output), None
    token = torch.zeros(2, 1, dtype=torch.int64, device="meta")
    for _ in range(3):
        _, state = reader(token, state, donate=True)
    assert launched == ["forward"] * 3


def test_whoever_looks_is_found_out(launched):
    """What these tests rest on: a table of bounded capacity asks whether it is full."""
    memory = MemoryConfig(slots=64, capacity=32, heads=2, backend="triton")
    sizes = {"layers": 1, "width": 32, "heads": 2, "window": 16, "mlp_width": 64}
    config = ModelConfig(**sizes, memory_layers=(0,), memory=memory)
    tokens = torch.zeros(2, 12, dtype=torch.int64, device="meta")
    with pytest.raises(RuntimeError, match="meta tensors"):
        LanguageModel(config, 50).to("meta")(tokens)
