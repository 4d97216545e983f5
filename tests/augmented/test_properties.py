"""What holds of every network, whatever its weights, its memories, and how its text is cut."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta import MemoryCache, MemoryConfig, augment, memories, memory_off, session, strip
from tests.tiny import assert_same_state as same, draw_zeros

from .zoo import FAMILIES, PLAIN, ROWS, TABLES, VOCABULARY, base_lm, block, call, plain, stream

EXAMPLES = settings(max_examples=12, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**16)
OUTPUTS = st.sampled_from([(), (ROWS,), (TABLES,), (ROWS, TABLES)])


@st.composite
def memory(draw):
    """Settings of a hidden memory."""
    slots = draw(st.sampled_from([4, 16, 25]))
    kind = draw(st.sampled_from(["topk", "product", "signed"]))
    kind = "topk" if kind == "product" and slots == 25 else kind
    return MemoryConfig(
        slots=slots,
        active=draw(st.integers(1, 3)),
        heads=draw(st.integers(1, 2)),
        key_width=4,
        value_width=draw(st.sampled_from([2, 4])),
        addressing=kind,
    )


class Text(NamedTuple):
    """Streams of tokens (B, T), padded at the left, and where they are cut."""

    tokens: torch.Tensor
    mask: torch.Tensor
    reset: torch.Tensor
    write: torch.Tensor
    cuts: list[int]


@st.composite
def texts(draw):
    """Streams of 2 to 9 tokens, of which some are padded, emptied, or not written."""
    batch, time = draw(st.integers(1, 3)), draw(st.integers(2, 9))
    generator = torch.Generator().manual_seed(draw(SEEDS))
    tokens = torch.randint(0, VOCABULARY, (batch, time), generator=generator)
    padding = torch.tensor(draw(st.lists(st.integers(0, 3), min_size=batch, max_size=batch)))
    padding = padding.clamp(max=time - 1)
    mask = torch.arange(time) >= padding[:, None]
    reset = (torch.rand(batch, time, generator=generator) < 0.1) & mask
    write = torch.tensor(draw(st.lists(st.booleans(), min_size=batch, max_size=batch)))
    first = int(padding.max()) + 1
    cuts = draw(st.lists(st.integers(first, time), max_size=3).map(lambda x: sorted(set(x))))
    return Text(tokens, mask, reset, write, [0, *cuts, time])


def read(model, text):
    """All logits of a text, read in its parts, and the memory after."""
    cache, found = MemoryCache(model, write=text.write), []
    position = (text.mask.cumsum(1) - 1).clamp(min=0)
    for begin, end in zip(text.cuts, text.cuts[1:], strict=False):
        if begin == end:
            continue
        cache.emptied = text.reset[:, begin:end]
        out = model(
            text.tokens[:, begin:end],
            attention_mask=text.mask[:, :end].long(),
            position_ids=position[:, begin:end],
            past_key_values=cache,
        )
        found.append(out.logits)
    return torch.cat(found, 1), cache.memory


def row(text, i):
    """One stream by itself, without its padding."""
    real = text.mask[i]
    tokens, mask, reset = (x[i : i + 1, real] for x in (text.tokens, text.mask, text.reset))
    return Text(tokens, mask, reset, text.write[i : i + 1], [0, int(real.sum())])


@pytest.mark.parametrize("family", FAMILIES)
@EXAMPLES
@given(seed=SEEDS, config=memory(), output=OUTPUTS, text=texts())
@torch.no_grad()
def test_causal(family, seed, config, output, text):
    """Cut, padded, side by side or alone: one text; and at the start and stripped, the base."""
    base = base_lm(family, seed=seed)
    plainly = base(text.tokens).logits
    model = augment(base, config, targets=block(family), output=output)
    if TABLES not in output:
        with session(model):
            assert torch.equal(model(text.tokens).logits, plainly)
    draw_zeros(memories(model), 0.8)
    whole, after = read(model, text._replace(cuts=[0, text.tokens.shape[1]]))
    parts, memory = read(model, text)
    torch.testing.assert_close(parts[text.mask], whole[text.mask])
    same(memory, after)
    for i in range(len(text.tokens)):
        lone, memory = read(model, row(text, i))
        torch.testing.assert_close(lone[0], whole[i, text.mask[i]])
        same(memory, after.select([i]))
    with memory_off(model):
        assert torch.equal(model(text.tokens).logits, plainly)
    assert torch.equal(strip(model)(text.tokens).logits, plainly)


@pytest.mark.parametrize("name", PLAIN)
@EXAMPLES
@given(data=st.data(), seed=SEEDS, batch=st.integers(1, 3), time=st.integers(2, 8))
@torch.no_grad()
def test_plain(name, data, seed, batch, time):
    """The same of networks that are told their feedback; those that see the past, uncut."""
    model, drawn = plain(name, drawn=False, seed=seed), torch.Generator().manual_seed(seed)
    x, feedback = stream(name, batch, time, seed)
    told = {
        "feedback": feedback,
        "mask": torch.rand(batch, time, generator=drawn) < 0.8,
        "reset": torch.rand(batch, time, generator=drawn) < 0.2,
    }
    write = torch.rand(batch, generator=drawn) < 0.7

    def run(rows, before=0, end=time, memory=None):
        given = {name: value[rows, before:end] for name, value in told.items()}
        with session(model, memory, write=write[rows], streams=len(x[rows]), **given) as s:
            return call(model, name, x[rows, before:end]), s.memory

    every = slice(None)
    with memory_off(model):
        expected = call(model, name, x)
    assert torch.equal(run(every)[0], expected)
    draw_zeros(memories(model), 0.5)
    whole, after = run(every)
    for i in range(batch):
        lone, memory = run(slice(i, i + 1))
        torch.testing.assert_close(lone[0], whole[i])
        same(memory, after.select([i]))
    if name in ("mlp", "conv"):
        cut = data.draw(st.integers(1, time - 1))
        first, memory = run(every, 0, cut)
        second, memory = run(every, cut, time, memory)
        real = told["mask"]
        torch.testing.assert_close(torch.cat([first, second], 1)[real], whole[real])
        same(memory, after)
    torch.manual_seed(seed)
    base = PLAIN[name][0]().double().eval()
    # Not `expected`: an LSTM rounds otherwise where its weights need no gradient.
    assert torch.equal(call(strip(model), name, x), call(base, name, x))
