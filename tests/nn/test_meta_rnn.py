"""A step at a time or many: the same; what is forgotten when; whose gradients reach what."""

import pytest
import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.nn import Percept, SparseMetaRNN

B, T, W, A = 3, 9, 4, 2
MEMORY = MemoryConfig(slots=16, active=3, heads=2, key_width=4, value_width=4, retention=True)
KINDS = [(core, memory) for core in ("gru", "lstm") for memory in (None, MEMORY)]
kinds = pytest.mark.parametrize(
    ("core", "memory"), KINDS, ids=[f"{c}-{'memory' if m else 'plain'}" for c, m in KINDS]
)


def network(core="gru", memory=MEMORY, layers=2):
    """One in which nothing is zero, so that everything has an effect."""
    torch.manual_seed(1)
    made = SparseMetaRNN(W, A, width=8, layers=layers, core=core, memory=memory).double()
    for parameter in made.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def life(seed=0, ends=()):
    """B random lives of T steps, of which some (row, step) follow the end of an episode."""
    chance = torch.Generator().manual_seed(seed)
    done = torch.zeros(B, T, dtype=torch.bool)
    for row, step in ((0, 0), (1, 0), (2, 0), *ends):
        done[row, step] = True
    return Percept(
        torch.rand(B, T, W, generator=chance, dtype=torch.float64),
        torch.randint(A, (B, T), generator=chance),
        torch.rand(B, T, generator=chance, dtype=torch.float64),
        done,
    )


def part(seen, start, end):
    return Percept(*(tensor[:, start:end] for tensor in seen))


def in_parts(net, seen, cuts, fresh=None):
    state, found = None, []
    for start, end in zip((0, *cuts), (*cuts, T), strict=True):
        some = None if fresh is None else fresh[:, start:end]
        y, state = net(part(seen, start, end), state, fresh=some)
        found.append(y)
    return torch.cat(found, 1), state


@kinds
@pytest.mark.parametrize("cuts", [range(1, T), (4,), (3, 5)], ids=["steps", "one cut", "two"])
def test_a_segment_is_its_parts(core, memory, cuts):
    net, seen = network(core, memory), life(ends=[(0, 3), (2, 3), (1, 7)])
    fresh = seen.done.clone()
    fresh[0, 3] = False  # an episode of the same task
    whole, after = net(seen, fresh=fresh)
    parts, state = in_parts(net, seen, cuts, fresh)
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(state.hidden, after.hidden, rtol=1e-9, atol=1e-9)
    then = life(seed=5)
    then = then._replace(done=torch.zeros_like(then.done))
    torch.testing.assert_close(net(then, state)[0], net(then, after)[0], rtol=1e-9, atol=1e-9)


@kinds
def test_a_new_task_forgets_everything(core, memory):
    net = network(core, memory)
    seen = life(ends=[(row, 4) for row in range(B)])
    y, _ = net(seen)
    alone, _ = net(part(seen, 4, T))
    torch.testing.assert_close(y[:, 4:], alone, rtol=1e-9, atol=1e-9)


@kinds
def test_an_episode_of_the_same_task_keeps_the_memory_alone(core, memory):
    net, seen = network(core, memory), life(ends=[(row, 4) for row in range(B)])
    fresh = seen.done.clone()
    fresh[:, 4] = False
    y, _ = net(seen, fresh=fresh)
    alone, _ = net(part(seen, 4, T))
    # The cores alone know nothing of what was before; the memory does.
    assert torch.allclose(y[:, 4:], alone, rtol=1e-9, atol=1e-9) == (memory is None)

    other = part(life(seed=7), 0, 4)
    before = Percept(*(torch.cat(pair, 1) for pair in zip(other, part(seen, 4, T), strict=True)))
    changed, _ = net(before, fresh=fresh)
    assert torch.allclose(y[:, 4:], changed[:, 4:], rtol=1e-9, atol=1e-9) == (memory is None)


@kinds
def test_lives_do_not_touch(core, memory):
    net, seen, other = network(core, memory), life(ends=[(1, 4)]), life(seed=3)
    mixed = Percept(*(torch.cat([a[:1], b[1:]]) for a, b in zip(seen, other, strict=True)))
    one, state = net(seen)
    two, changed = net(mixed)
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[1:], two[1:])
    assert torch.equal(state.hidden[:, :, 0], changed.hidden[:, :, 0])


@kinds
def test_what_comes_later_changes_nothing_before(core, memory):
    net, seen, other = network(core, memory), life(), life(seed=3)
    mixed = Percept(*(torch.cat([a[:, :5], b[:, 5:]], 1) for a, b in zip(seen, other, strict=True)))
    assert torch.equal(net(seen)[0][:, :5], net(mixed)[0][:, :5])


@kinds
def test_gradients_reach_every_parameter(core, memory):
    net = network(core, memory)
    y, _ = net(life())
    y.square().sum().backward()
    missed = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert missed == []


@pytest.mark.parametrize("field", ["action", "reward"])
def test_it_is_told_what_came_of_its_action(field):
    net, seen = network(), life()
    value = getattr(seen, field).clone()
    value[0, 4] = 1 - value[0, 4]
    changed, _ = net(seen._replace(**{field: value}))
    y, _ = net(seen)
    assert torch.equal(y[0, :4], changed[0, :4])
    assert not torch.equal(y[0, 4:], changed[0, 4:])


def test_a_copy_of_a_state_is_left_as_it_is():
    net, seen = network(), life()
    with torch.no_grad():
        _, state = net(part(seen, 0, 4))
        kept = state.clone()
        first, _ = net(part(seen, 4, T), state, donate=True)
        again, _ = net(part(seen, 4, T), kept)
    assert torch.equal(first, again)


@kinds
def test_some_of_the_lives(core, memory):
    net, seen = network(core, memory), life()
    _, state = net(part(seen, 0, 4))
    rows = torch.tensor([2, 0])
    y, _ = net(part(seen, 4, T), state)
    some, _ = net(Percept(*(tensor[rows] for tensor in part(seen, 4, T))), state.select(rows))
    torch.testing.assert_close(some, y[rows], rtol=1e-9, atol=1e-9)
