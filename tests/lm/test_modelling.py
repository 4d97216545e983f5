"""The language model: what it starts as, what it may not see, and how it goes on."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import ConfigError
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.modelling import LanguageModel, LMState
from sparsemeta.nn import memory_off
from tests.tiny import OUTPUT, ROWS, TABLES, assert_same_state, draw_zeros

VOCABULARY = 50
MEMORY = MemoryConfig(slots=32, active=4, heads=2, key_width=8, value_width=8)
CONFIG = ModelConfig(
    layers=3,
    width=32,
    heads=2,
    window=8,
    mlp_width=64,
    memory_layers=(0, 2),
    memory=MEMORY,
    rows=ROWS,
    tables=TABLES,
)
every_kind = pytest.mark.parametrize("output", [(), OUTPUT], ids=["hidden", "every"])


def make(*, trained=True, **changes) -> LanguageModel:
    """A model in float64; if `trained`, every weight that starts at zero is drawn at random."""
    torch.manual_seed(3)
    model = LanguageModel(ModelConfig(**vars(CONFIG) | changes), VOCABULARY).double()
    return draw_zeros(model) if trained else model


def tokens(batch, time):
    g = torch.Generator().manual_seed(0)
    return torch.randint(0, VOCABULARY, (batch, time), generator=g)


def test_a_new_model_is_its_base():
    """Invariant 3: the memory changes nothing before it is trained, and nothing when off."""
    model, base = make(trained=False), make(trained=False, memory_layers=())
    base.load_state_dict({k: v for k, v in model.state_dict().items() if k in base.state_dict()})
    x = tokens(2, 40)
    assert torch.equal(model(x)[0], base(x)[0])

    model, x = make(), tokens(2, 40)
    base.load_state_dict({k: v for k, v in model.state_dict().items() if k in base.state_dict()})
    assert not torch.allclose(model(x)[0], base(x)[0])
    with memory_off(model):
        assert torch.equal(model(x)[0], base(x)[0])


@pytest.mark.parametrize("t", [0, 7, 8, 20])
@every_kind
def test_causality(output, t):
    """Invariant 2: logits at and before t do not know the tokens after t."""
    model, x = make(output=output), tokens(1, 30)
    changed = x.clone()
    changed[:, t + 1 :] = (changed[:, t + 1 :] + 1) % VOCABULARY
    before, after = model(x)[0], model(changed)[0]
    torch.testing.assert_close(before[:, : t + 1], after[:, : t + 1], rtol=0, atol=0)
    assert not torch.allclose(before[:, t + 1 :], after[:, t + 1 :])


@every_kind
@given(st.lists(st.integers(1, 39), max_size=6, unique=True), st.sampled_from([1, 2, 8, 100]))
@settings(max_examples=15, deadline=None)
def test_any_split_of_a_stream_is_one_pass(output, cuts, window):
    model, x = make(output=output, window=window), tokens(2, 40)
    reset = torch.rand(2, 40, generator=torch.Generator().manual_seed(1)) < 0.1
    whole, final = model(x, reset=reset)
    state, parts = None, []
    for a, b in pairwise([0, *sorted(cuts), 40]):
        logits, state = model(x[:, a:b], state, reset=reset[:, a:b])
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    assert_same_state(state, final)


def test_a_token_sees_a_window_and_no_further():
    model = make(memory_layers=(), layers=1)
    x = tokens(1, 30)
    changed = x.clone()
    changed[:, 10] = (changed[:, 10] + 1) % VOCABULARY
    moved = (model(x)[0] != model(changed)[0]).any(-1)[0].nonzero().squeeze(-1).tolist()
    assert moved == list(range(10, 10 + CONFIG.window))


def test_the_memory_reaches_beyond_the_window():
    model = make(memory_layers=(0,), layers=1)
    x = tokens(1, 30)
    changed = x.clone()
    changed[:, 2] = (changed[:, 2] + 1) % VOCABULARY
    assert (model(x)[0][:, 20:] != model(changed)[0][:, 20:]).any()


@every_kind
def test_streams_do_not_touch(output):
    model, x, order = make(output=output), tokens(4, 20), torch.tensor([2, 3, 1, 0])
    torch.testing.assert_close(model(x[order])[0], model(x)[0][order])


@every_kind
def test_a_reset_empties_the_memory_but_not_the_window(output):
    model, x = make(output=output), tokens(1, 20)
    _, state = model(x[:, :10])
    reset = torch.zeros(1, 10, dtype=torch.bool)
    reset[:, 0] = True
    emptied = LMState(state.memory.reset(), state.window)
    found, _ = model(x[:, 10:], state, reset=reset)
    torch.testing.assert_close(found, model(x[:, 10:], emptied)[0])


@every_kind
def test_the_state_survives_as_tensors(output):
    model, x = make(output=output), tokens(2, 20)
    _, state = model(x[:, :10])
    assert (state.pending is None) == (not output)
    rebuilt = LMState.from_tensors(state.tensors())
    assert torch.equal(model(x[:, 10:], state)[0], model(x[:, 10:], rebuilt)[0])
    assert rebuilt.nbytes == state.nbytes > state.memory.nbytes


@every_kind
def test_gradients_reach_every_weight_through_the_memory(output):
    model = make(output=output)
    logits, _ = model(tokens(2, 40))
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def places(kind):
    """Which of 3 x 40 steps are real: the first row has no padding, the others their own."""
    mask = torch.ones(3, 40, dtype=torch.bool)
    mask[1:] = torch.rand(2, 40, generator=torch.Generator().manual_seed(5)) < 0.6
    if kind != "scattered":
        mask[1:] = mask[1:].sort(1, descending=kind == "right").values
    if kind == "empty":
        mask[2] = False
    return mask


@pytest.mark.parametrize("kind", ["left", "right", "scattered", "empty"])
@pytest.mark.parametrize(
    ("output", "window"), [((), 1), ((), 2), ((), 8), ((), 100), (OUTPUT, 8)], ids=str
)
@pytest.mark.parametrize("cuts", [(0, 40), (0, 3, 4, 20, 40)])
def test_padding_is_as_if_it_were_not_there(kind, output, window, cuts):
    """Invariant 4: outputs, state and gradients are those of each stream read alone."""
    model, x, mask = make(output=output, window=window), tokens(3, 40), places(kind)
    state, parts = None, []
    for a, b in pairwise(cuts):
        logits, state = model(x[:, a:b], state, mask=mask[:, a:b])
        parts.append(logits)
    found = torch.cat(parts, dim=1)
    assert found.isfinite().all()
    found[mask].square().sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    after = model(x[:, :5], state)[0]
    for i, row in enumerate(mask):
        alone = x[i : i + 1, row]
        if not alone.numel():
            torch.testing.assert_close(after[i : i + 1], model(x[i : i + 1, :5])[0])
            continue
        logits, final = model(alone)
        torch.testing.assert_close(found[i, row], logits[0])
        logits.square().sum().backward()
        torch.testing.assert_close(after[i : i + 1], model(x[i : i + 1, :5], final)[0])
        assert_same_state(state.memory.select([i]), final.memory)
    for gradient, parameter in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_padding_is_forgotten_once_the_window_is_full():
    model, x = make(), tokens(2, 20)
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[0, :5] = False
    _, state = model(x[:, :8], mask=mask[:, :8])
    assert state.real.tolist() == [3, 7]
    rebuilt = LMState.from_tensors(state.tensors())
    assert torch.equal(model(x[:, 8:], state)[0], model(x[:, 8:], rebuilt)[0])
    _, state = model(x[:, 8:], state)
    assert state.real is None
    assert model(x, mask=torch.ones_like(mask))[1].real is None


@every_kind
def test_streams_of_a_state_can_be_selected(output):
    model, x, mask = make(output=output), tokens(3, 14), places("left")[:, -6:]
    _, state = model(x[:, :6], mask=mask)
    rows = torch.tensor([2, 0, 0])
    found = model(x[:, 6:], state.select(rows))[0]
    for i, row in enumerate(rows.tolist()):
        alone = state.select([row])
        torch.testing.assert_close(found[i], model(x[i : i + 1, 6:], alone)[0][0])


@every_kind
def test_a_memory_may_come_without_a_window(output):
    model, x = make(output=output), tokens(2, 12)
    _, state = model(x)
    empty = tuple((k[:, :, :0], v[:, :, :0]) for k, v in state.window)
    found = model(x, LMState(state.memory))[0]
    assert torch.equal(found, model(x, LMState(state.memory, empty))[0])
    assert not torch.allclose(found, model(x, state)[0])


@pytest.mark.parametrize("mask", [None, places("left")[:2, 20:]], ids=["whole", "padded"])
@every_kind
def test_recomputed_activations_change_no_gradient(output, mask):
    """And the state comes back the same, though it may not be overwritten meanwhile."""
    model, x = make(output=output), tokens(2, 40)
    results = []
    for recompute in (False, True):
        model.zero_grad()
        model.recompute = recompute
        before = model(x[:, :20])[1]
        logits, state = model(x[:, 20:], before, mask=mask, donate=recompute)
        loss = (logits if mask is None else logits[mask]).square()
        (loss.sum() + state.memory.layers["2.memory"].table.square().sum()).backward()
        results.append((logits, *state.tensors().values(), *(p.grad for p in model.parameters())))
    for kept, recomputed in zip(*results, strict=True):
        # A row memory that may overwrite its table adds up in another order.
        torch.testing.assert_close(recomputed, kept, **({} if output else {"rtol": 0, "atol": 0}))


def kept_bytes(model, x):
    """How much autograd keeps for the backward pass."""
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: sizes.append(tensor.nbytes), lambda _: None
    ):
        model(x)
    return sum(sizes)


def test_recomputing_keeps_less():
    model, x = make(), tokens(2, 40)
    every = kept_bytes(model, x)
    model.recompute = True
    assert kept_bytes(model, x) < every / 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 30, "heads": 4}, "multiple of 2"),
        ({"memory_layers": (3,)}, "blocks are 0 to 2"),
        ({"window": 0}, "at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**vars(CONFIG) | changes)
