"""Which modules can have a memory: how they are named, what they return, and refusals."""

import re
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from sparsemeta import augment, memory_off, session, strip
from sparsemeta.errors import ConfigError

from .zoo import MEMORY, PLAIN, call, plain, stream

Pair = namedtuple("Pair", "y rest")


@dataclass
class Record:
    y: torch.Tensor
    rest: int

    def __iter__(self):
        return iter((self.y, self.rest))


class Returns(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.linear = kind, nn.Linear(4, 4)

    def forward(self, x):
        return self.kind(self.linear(x))


class Around(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.inner = Returns(kind)

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize(
    ("kind", "take"),
    [
        (lambda y: (y, 1), lambda out: out[0]),
        (lambda y: [y, 1], lambda out: out[0]),
        (lambda y: Pair(y, 1), lambda out: out.y),
        (lambda y: {"y": y, "rest": 1}, lambda out: out["y"]),
        (lambda y: Record(y, 1), lambda out: out.y),
    ],
)
def test_what_is_returned_beside_a_tensor_stays(kind, take):
    model = augment(Around(kind), MEMORY, targets="inner")
    nn.init.normal_(model.inner.fast_memory.memory.output.weight)
    x = torch.randn(3, 4)
    with memory_off(model):
        base = model(x)
    with session(model) as s:
        model(x)
        s.feedback = torch.randn(3, 1, 4)
        found = model(x)
    assert type(found) is type(base)
    assert not torch.equal(take(found), take(base))
    assert list(found.values() if isinstance(found, dict) else found)[1] == 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (lambda y: ("no tensor", y), "inner returns a tuple that does not begin with a tensor"),
        (lambda y: None, "inner returns a NoneType"),
        (lambda y: y[None, None], "a memory needs"),
        (lambda y: y[:, :3], "hands out a width of 3, where 4"),
    ],
)
def test_other_outputs_are_refused(kind, message):
    model = augment(Around(kind), MEMORY, targets="inner")
    with pytest.raises(ConfigError, match=message), session(model):
        model(torch.randn(3, 4))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            "layers.1.self_atn",
            "no module is called 'layers.1.self_atn'. Near it: layers.1.self_attn",
        ),
        ("atention", "no module is called"),
        (re.compile("x"), "Some names: layers, layers.0"),
        (nn.Conv2d, "no module is a Conv2d. There are: Dropout"),
        ("layers", "a ModuleList, which is never called"),
        ((), "nothing to add"),
        ("dropout", "does not say how wide"),
    ],
)
def test_targets_that_cannot_be(targets, message):
    base = PLAIN["encoder"][0]()
    before = [n for n, _ in base.named_modules()]
    with pytest.raises(ConfigError, match=re.escape(message)):
        augment(base, MEMORY, targets=targets)
    assert [n for n, _ in base.named_modules()] == before


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        ("linear1", {"layers.0.linear1", "layers.1.linear1", "layers.2.linear1"}),
        (r"layers\.[02]", {"layers.0", "layers.2"}),
        (re.compile(r".*2\.norm."), {"layers.2.norm1", "layers.2.norm2"}),
        (nn.TransformerEncoderLayer, {"layers.0", "layers.1", "layers.2"}),
        (["layers.0", "layers.2.linear2"], {"layers.0", "layers.2.linear2"}),
        (None, {"layers.1"}),
    ],
)
def test_targets(targets, found):
    model = augment(PLAIN["encoder"][0](), MEMORY, targets=targets)
    assert {
        n.removesuffix(".fast_memory")
        for n, _ in model.named_modules()
        if n.endswith(".fast_memory")
    } == found


class Quantised(nn.Module):
    """As libraries of them are: integers, a scale, and `out_features`."""

    def __init__(self, width, out_features):
        super().__init__()
        self.out_features = out_features
        whole = torch.randint(-9, 9, (out_features, width), dtype=torch.int8)
        self.weight = nn.Parameter(whole, requires_grad=False)

    def forward(self, x):
        return x @ self.weight.to(x.dtype).T / 9


def test_a_quantised_layer():
    base, x = nn.Sequential(Quantised(4, 6), nn.Tanh()), torch.randn(3, 4)
    expected = base(x)
    model = augment(base, MEMORY, targets="0")
    with session(model):
        assert torch.equal(model(x), expected)
        model(x).sum().backward()
    assert model.get_parameter("0.fast_memory.memory.output.weight").grad.any()
    assert strip(model)[0].weight.dtype == torch.int8


def test_networks_that_cannot_be_augmented():
    shared = nn.Linear(3, 3)
    with pytest.raises(ConfigError, match="0, 2 are one module, shared"):
        augment(nn.Sequential(shared, nn.ReLU(), shared), MEMORY, targets="2")
    with pytest.raises(ConfigError, match="has no list of blocks"):
        augment(nn.Sequential(nn.Linear(3, 3)), MEMORY)
    with pytest.raises(ConfigError, match="output memories are for causal"):
        augment(nn.Linear(3, 3), MEMORY, targets="", output=["rows"])
    with pytest.raises(ConfigError, match="has a memory already, at 0"):
        augment(plain("mlp"), MEMORY, targets="2")


def test_wrong_calls():
    model, (x, feedback) = plain("mlp"), stream("mlp")
    with (
        pytest.raises(ConfigError, match="feedback is of shape"),
        session(model, feedback=feedback),
    ):
        call(model, "mlp", x)  # whose streams are not told
    three = torch.tensor([True] * 3)
    with pytest.raises(ConfigError, match="write is of"), session(model, streams=2, write=three):
        call(model, "mlp", x)
    with pytest.raises(ConfigError, match="12 rows, which are no whole number of steps of 5"):
        _with_streams(model, x)
    with pytest.raises(ConfigError, match="0 was called by itself"), session(model):
        model[0](x.flatten(0, 1))
    twice = augment(Around(lambda y: y), MEMORY, targets="inner.linear")
    twice.inner.forward = lambda x: twice.inner.linear(twice.inner.linear(x))
    with pytest.raises(ConfigError, match="called twice in one pass"), session(twice):
        twice(torch.zeros(2, 4))


def _with_streams(model, x):
    with session(model, streams=5):
        call(model, "mlp", x)
