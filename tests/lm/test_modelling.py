"""The language model: what it starts as, what it may not see, and how it goes on."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import ConfigError
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.modelling import LanguageModel, LMState
from sparsemeta.nn import memory_off

VOCABULARY = 50
MEMORY = MemoryConfig(slots=32, active=4, heads=2, key_width=8, value_width=8)
CONFIG = ModelConfig(
    layers=3, width=32, heads=2, window=8, mlp_width=64, memory_layers=(0, 2), memory=MEMORY
)


def make(*, trained=True, **changes) -> LanguageModel:
    """A model in float64; if `trained`, every weight that starts at zero is drawn at random."""
    torch.manual_seed(3)
    model = LanguageModel(ModelConfig(**vars(CONFIG) | changes), VOCABULARY).double()
    for parameter in model.parameters():
        if trained and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return model


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
def test_causality(t):
    """Invariant 2: logits at and before t do not know the tokens after t."""
    model, x = make(), tokens(1, 30)
    changed = x.clone()
    changed[:, t + 1 :] = (changed[:, t + 1 :] + 1) % VOCABULARY
    before, after = model(x)[0], model(changed)[0]
    torch.testing.assert_close(before[:, : t + 1], after[:, : t + 1], rtol=0, atol=0)
    assert not torch.allclose(before[:, t + 1 :], after[:, t + 1 :])


@given(st.lists(st.integers(1, 39), max_size=6, unique=True), st.sampled_from([1, 2, 8, 100]))
@settings(max_examples=15, deadline=None)
def test_any_split_of_a_stream_is_one_pass(cuts, window):
    model, x = make(window=window), tokens(2, 40)
    reset = torch.rand(2, 40, generator=torch.Generator().manual_seed(1)) < 0.1
    whole, final = model(x, reset=reset)
    state, parts = None, []
    for a, b in pairwise([0, *sorted(cuts), 40]):
        logits, state = model(x[:, a:b], state, reset=reset[:, a:b])
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    for name, tensor in final.tensors().items():
        torch.testing.assert_close(state.tensors()[name], tensor)


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


def test_streams_do_not_touch():
    model, x, order = make(), tokens(4, 20), torch.tensor([2, 3, 1, 0])
    torch.testing.assert_close(model(x[order])[0], model(x)[0][order])


def test_a_reset_empties_the_memory_but_not_the_window():
    model, x = make(), tokens(1, 20)
    _, state = model(x[:, :10])
    reset = torch.zeros(1, 10, dtype=torch.bool)
    reset[:, 0] = True
    emptied = LMState(state.memory.reset(), state.window)
    found, _ = model(x[:, 10:], state, reset=reset)
    torch.testing.assert_close(found, model(x[:, 10:], emptied)[0])


def test_the_state_survives_as_tensors():
    model, x = make(), tokens(2, 20)
    _, state = model(x[:, :10])
    rebuilt = LMState.from_tensors(state.tensors())
    assert torch.equal(model(x[:, 10:], state)[0], model(x[:, 10:], rebuilt)[0])
    assert rebuilt.nbytes == state.nbytes > state.memory.nbytes


def test_gradients_reach_every_weight_through_the_memory():
    model = make()
    logits, _ = model(tokens(2, 40))
    logits.logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


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
