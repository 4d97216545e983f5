"""Segments for the tests of the table memory, and its reference over them."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from sparsemeta.config import TablesConfig
from sparsemeta.nn import TableMemory
from sparsemeta.ops import Address
from sparsemeta.ops.output.tables_reference import ReferenceMemory

VOCABULARY, WIDTH = 6, 3
SPELLING = ((97,), (98,), (97, 98), (), (99, 97), (98, 98))
SMALL = TablesConfig(
    orders=(0, 1, 2, 4, 5), fading_orders=(0, 2), fading=(0.5, 0.8), bytes=(1, 2), rate=1.0
)
LEARNED = replace(SMALL, learned=(0.9, 0.7), slots=9, active=3, key_width=4)
PRODUCT = replace(LEARNED, addressing="product")
CACHED = replace(SMALL, cache=9, cache_width=2)
EVERY = replace(LEARNED, cache=64)
CASES = [{}, {"masked": 0.3}, {"resets": 0.1}, {"masked": 0.3, "resets": 0.1, "time": 60}]
CASES += [{"masked": 0.2, "resets": 0.1, "hidden": 0.4}]
CONFIGS = pytest.mark.parametrize(
    "config",
    [SMALL, LEARNED, PRODUCT, CACHED, EVERY],
    ids=["exact", "learned", "product", "cached", "every"],
)


@dataclass(frozen=True)
class Case:
    """A segment (B, T) and the tokens after each step."""

    hidden: Tensor
    came: Tensor
    logits: Tensor
    targets: Tensor
    mask: Tensor | None = None
    reset: Tensor | None = None
    revealed: Tensor | None = None

    def part(self, start: int, stop: int) -> "Case":
        """Its steps from start to stop."""
        steps = {name: x if x is None else x[:, start:stop] for name, x in vars(self).items()}
        return replace(self, **steps)


def case(
    batch=2, time=40, *, seed=0, masked=0.0, resets=0.0, hidden=0.0, vocabulary=VOCABULARY
) -> Case:
    """A stream that says the same again and again, now and then something else."""
    g = torch.Generator().manual_seed(seed)
    phrase = torch.randint(vocabulary, (batch, 7), generator=g)
    text = phrase.repeat(1, time // 7 + 2)[:, : time + 1]
    other = torch.randint(vocabulary, text.shape, generator=g)
    text = text.where(torch.rand(text.shape, generator=g) < 0.8, other)
    mask = torch.rand(batch, time, generator=g) >= masked if masked else None
    reset = torch.rand(batch, time, generator=g) < resets if resets else None
    states = torch.randn(batch, time, WIDTH, generator=g, dtype=torch.float64)
    logits = torch.randn(batch, time, vocabulary, generator=g, dtype=torch.float64)
    revealed = torch.rand(batch, time, generator=g) >= hidden if hidden else None
    return Case(states, text[:, :-1], logits, text[:, 1:], mask, reset, revealed)


def module(config=SMALL, seed=0) -> TableMemory:
    """A memory in float64, as if it had been trained."""
    made = TableMemory(WIDTH, VOCABULARY, config).double()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += torch.randn(parameter.shape, generator=g, dtype=torch.float64)
    width = made.spelling.shape[1]
    ends = [row[max(0, len(row) - width) :] for row in SPELLING]
    rows = [[-1] * (width - len(end)) + [*end] for end in ends]
    made.spell(torch.tensor(rows).view(VOCABULARY, width))
    return made


def run(memory: TableMemory, given: Case, state=None, pending=None, **options):
    """Read a segment; with its targets, unless `whole` steps are asked for."""
    whole = options.pop("whole", None)
    wanted = {"targets": given.targets} if whole is None else {"steps": whole}
    marks = {"mask": given.mask, "reset": given.reset, "revealed": given.revealed}
    return memory(
        given.hidden, given.came, given.logits, state, pending, **wanted, **marks, **options
    )


def reference(memory: TableMemory, given: Case) -> tuple[Tensor, Tensor, list[ReferenceMemory]]:
    """log q (B, T, V), the weights (B, T, 1 + H), and what each stream knows at the end."""
    rules, streams, log_q, weights = memory.rules, [], [], []
    slow, log_p = memory.slow(given.hidden), given.logits.log_softmax(-1)
    found = memory.addressing and memory.addressing(given.hidden)
    states = memory.cache and memory.cache.states(given.hidden)
    for b in range(len(given.came)):
        rates = rules.first, rules.least
        truth = ReferenceMemory(memory.heads, SPELLING, rules.capacity, rates, memory.start)
        for t, token in enumerate(given.came[b].tolist()):
            if given.reset is not None and given.reset[b, t]:
                truth.empty()
            if given.mask is not None and not given.mask[b, t]:
                log_q.append(torch.zeros_like(log_p[b, t]))
                weights.append(torch.zeros(1 + len(memory.start), dtype=torch.float64))
                continue
            if given.revealed is None or given.revealed[b, t]:
                truth.read(token)
            else:
                truth.came.append(token)
            address = found and Address(found.index[b, t], found.weight[b, t])
            like = (
                None
                if states is None
                else (states[b, t], memory.cache.sharpness.exp() * states[b, t])
            )
            said = truth.predict(log_p[b, t], slow[b, t], address, like)
            log_q.append(said[0])
            weights.append(said[1])
        streams.append(truth)
    shape = *given.came.shape, -1
    return torch.stack(log_q).view(shape), torch.stack(weights).view(shape), streams


def real(given, values):
    """Values (B, T, ...) at real steps."""
    return values if given.mask is None else values[given.mask]


def picked(given, log_q):
    """Of a whole distribution, what it gives the targets."""
    return log_q.gather(-1, given.targets[..., None])[..., 0]


def learned(state):
    """What a state holds, without rows that are not used."""
    parts = state.layers["memory"].tensors()
    used = int(parts["used"][:, 0].max()) + 1
    rows = {name: parts[name][:, :used] for name in ("key", "weight", "rows")}
    return rows | {name: parts[name] for name in ("used", "recent", "theta", "moved")}


def same(one, other, config=SMALL):
    """Bit for bit; but a product of matrices, which finds learned contexts, is rounded anyhow."""
    tolerance = 1e-12 if config.learned or config.cache else 0.0
    for name, tensor in learned(one).items():
        expected = learned(other)[name]
        torch.testing.assert_close(tensor, expected, rtol=tolerance, atol=tolerance, msg=name)
