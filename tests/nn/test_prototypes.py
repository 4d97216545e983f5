"""A row for each label: against a plain loop, and what its rows are."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn.functional import normalize

from sparsemeta.config import RowsConfig
from sparsemeta.errors import StateError
from sparsemeta.nn import PrototypeMemory, memory_off, prototypes

WIDTH, LABELS = 6, 5


def make(rate=0.3, **changes):
    torch.manual_seed(0)
    config = RowsConfig(**{"half_lives": (5.0, 0.0), "key_width": 4, "rate": rate, **changes})
    made = PrototypeMemory(WIDTH, LABELS, config).double()
    torch.nn.init.normal_(made.rate.weight)
    torch.nn.init.normal_(made.query.weight)
    return made


def lessons(time=30, batch=2):
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(batch, time, WIDTH, generator=generator, dtype=torch.float64)
    label = torch.randint(LABELS, (batch, time), generator=generator)
    revealed = torch.rand(batch, time, generator=generator) < 0.6
    revealed[:, 0] = False  # nothing precedes
    return hidden, label, revealed


def loop(memory, hidden, label, revealed):
    """The equations of `PrototypeMemory`, stream by stream and step by step."""
    heads = len(memory.constant)
    kept = torch.exp(-math.log(2) / memory.log_half_life.exp() * memory.forgets)[:, None]
    found = []
    for stream, labels, told in zip(hidden, label, revealed, strict=True):
        rows = [stream.new_zeros(heads, memory.config.key_width)] * LABELS
        for t, now in enumerate(stream):
            if told[t]:
                before = stream[t - 1]
                key = _direction(memory.key, before, memory.constant)
                rate = torch.sigmoid(memory.rate(before))[:, None]
                rows = [kept * row for row in rows]
                rows[labels[t]] = rows[labels[t]] + rate * (key - rows[labels[t]])
            query = memory.log_scale.exp() * _direction(memory.query, now, memory.constant)
            found.append(torch.stack([(query * normalize(row, dim=-1)).sum() for row in rows]))
    return torch.stack(found).view(*label.shape, LABELS)


def _direction(way, hidden, constant):
    return normalize(torch.cat([way(hidden).view(len(constant), -1), constant], -1), dim=-1)


@pytest.mark.parametrize("part", [256, 7, 1])
def test_a_segment_at_once_is_the_loop_with_all_gradients(monkeypatch, part):
    monkeypatch.setattr(prototypes, "PART", part)
    memory, (hidden, label, revealed) = make(), lessons()
    hidden.requires_grad_()
    found, _ = memory(hidden, label, revealed=revealed)
    expected = loop(memory, hidden, label, revealed)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    weight, sources = torch.randn_like(found), [hidden, *memory.parameters()]
    ours, theirs = (torch.autograd.grad((y * weight).sum(), sources) for y in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 29), max_size=4))
def test_any_split_gives_the_same(cuts):
    memory, (hidden, label, revealed) = make(), lessons()
    whole, final = memory(hidden, label, revealed=revealed)
    state, found = None, []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 30], strict=True):
        now = slice(start, end)
        if start < end:
            part, state = memory(hidden[:, now], label[:, now], state, revealed=revealed[:, now])
            found.append(part)
    torch.testing.assert_close(torch.cat(found, 1), whole, rtol=1e-10, atol=1e-12)
    for name, tensor in final.tensors().items():
        torch.testing.assert_close(state.tensors()[name], tensor, rtol=1e-10, atol=1e-12)


def test_a_label_never_taught_has_no_logit_and_no_row():
    memory, (hidden, label, revealed) = make(), lessons()
    label = label.clamp(max=LABELS - 2)
    logits, state = memory(hidden, label, revealed=revealed)
    assert not logits[..., -1].any()
    assert not state.layers["memory"].table[:, 0, -1].any()
    assert logits[..., : LABELS - 1].any()


def test_rows_of_small_rates_that_forget_nothing_are_means():
    memory = PrototypeMemory(WIDTH, LABELS, RowsConfig(half_lives=(0.0,), key_width=7, rate=1e-6))
    hidden, label, revealed = lessons()
    hidden = hidden.float()
    _, state = memory(hidden, label, revealed=revealed)
    key = memory._lifted(memory.key, hidden)[:, :, 0]
    for stream, number in ((0, 1), (1, 3)):
        of_label = (revealed & (label == number))[stream].nonzero().squeeze(1) - 1
        row = state.layers["memory"].table[stream, 0, number, :-1]
        expected = normalize(key[stream, of_label].mean(0), dim=-1)
        torch.testing.assert_close(normalize(row, dim=-1), expected, rtol=1e-4, atol=1e-4)


def test_with_a_large_constant_the_nearest_mean_wins():
    memory = PrototypeMemory(
        WIDTH, LABELS, RowsConfig(half_lives=(0.0,), key_width=7, rate=1e-6)
    ).double()
    torch.nn.init.constant_(memory.constant, 1000)
    hidden, label, revealed = lessons(100)
    _, state = memory(hidden, label, revealed=revealed)
    asked = torch.randn(2, 50, WIDTH, dtype=torch.float64)
    never = torch.zeros(2, 50, dtype=torch.bool)
    logits, _ = memory(asked, never.long(), state, revealed=never)
    for stream in range(2):
        shown = [
            hidden[stream, (revealed & (label == y))[stream].nonzero().squeeze(1) - 1].mean(0)
            for y in range(LABELS)
        ]
        nearest = torch.cdist(asked[stream], torch.stack(shown)).argmin(-1)
        assert torch.equal(logits[stream].argmax(-1), nearest)


def test_a_row_is_read_by_its_direction_however_long_ago_it_was_written():
    memory = PrototypeMemory(WIDTH, LABELS, RowsConfig(half_lives=(2.0,), key_width=7))
    hidden = torch.randn(1, 2000, WIDTH)
    label = torch.full((1, 2000), 1)
    label[0, 1] = 0
    revealed = torch.arange(2000)[None] > 0
    logits, _ = memory(hidden, label, revealed=revealed)
    query = memory.log_scale.exp() * memory._lifted(memory.query, hidden)[0, -1]
    key = memory._lifted(memory.key, hidden)[0, 0]
    torch.testing.assert_close(logits[0, -1, 0], (query * key).sum())


@pytest.mark.parametrize("rate", [1e-6, 1.0])
def test_the_extreme_strengths_are_safe(rate):
    memory = PrototypeMemory(WIDTH, LABELS, RowsConfig(half_lives=(300.0,), key_width=7))
    memory.hold(rate)
    hidden, label, revealed = lessons(300)
    hidden = hidden.float().requires_grad_()
    logits, _ = memory(hidden, label, revealed=revealed)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert hidden.grad.isfinite().all()


def test_switched_off_it_adds_nothing_and_learns_nothing():
    memory, (hidden, label, revealed) = make(), lessons()
    with memory_off(memory, ["rows"]):
        logits, state = memory(hidden, label, revealed=revealed)
    assert not logits.any()
    assert not any(tensor.any() for tensor in state.tensors().values())


def test_a_state_of_another_shape_is_refused():
    memory, (hidden, label, revealed) = make(), lessons()
    other = PrototypeMemory(WIDTH, LABELS + 1, memory.config).initial_state(2)
    with pytest.raises(StateError, match="this layer reads"):
        memory(hidden, label, other, revealed=revealed)
