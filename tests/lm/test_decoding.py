import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta.lm import Decoder
from sparsemeta.lm.reading import read_on
from tests.tiny import OUTPUT, assert_same_state, tiny_model

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
MODELS = {
    "hidden": tiny_model(),
    "both": tiny_model(memory_layers=(0, 1), output=OUTPUT),
    "growing": tiny_model(capacity=32, output=OUTPUT),
    "none": tiny_model(memory_layers=()),
}


def tokens(*shape):
    return torch.randint(256, shape)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("read", [1, 9, 15, 40])  # the window is 16
def test_a_step_is_that_of_the_model(kind, read):
    model = MODELS[kind].eval()
    _, state = read_on(model, tokens(read))
    decoder = Decoder(model)
    decoder.add([state])
    with torch.inference_mode():
        for token in tokens(20, 1):
            found = decoder.step(token)
            expected, _, state = model.predict(token[None], state, steps=1)
            torch.testing.assert_close(found, expected[:, 0], **CLOSE)
    assert_same_state(decoder.state(0), state, **CLOSE)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(list(MODELS)), st.lists(st.integers(-4, 30).filter(bool), max_size=12))
def test_whoever_comes_and_goes(kind, moves):
    """Positive: somebody comes who has read so much; negative: one goes, and all read a token."""
    model, alone = MODELS[kind].eval(), []
    decoder = Decoder(model)
    with torch.inference_mode():
        for move in moves:
            if move > 0:
                _, state = read_on(model, tokens(move))
                decoder.add([state])
                alone.append(state)
            elif alone:
                order = decoder.drop([-move % len(alone)])
                alone = [alone[i] for i in order]
            assert len(decoder) == len(alone)
            if not alone:
                continue
            came = tokens(len(alone))
            found = decoder.step(came)
            for i, token in enumerate(came):
                expected, _, alone[i] = model.predict(token[None, None], alone[i], steps=1)
                torch.testing.assert_close(found[i : i + 1], expected[:, 0], **CLOSE)
        for i, state in enumerate(alone):
            assert_same_state(decoder.state(i), state, **CLOSE)


def test_what_comes_stays_as_it_was():
    model = MODELS["both"].eval()
    _, state = read_on(model, tokens(20))
    kept, decoder = state.clone(), Decoder(model)
    decoder.add([state, state])
    with torch.inference_mode():
        decoder.step(tokens(2))
    assert_same_state(state, kept, rtol=0, atol=0)
