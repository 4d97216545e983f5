"""Streams for the tests of the table memory, and what its compiled form is compared with."""

import torch
from hypothesis import strategies as st
from output_memory.contexts import token_contexts
from output_memory.tables import Heads
from output_memory.tables_reference import ReferenceTables

VOCABULARY = 6
ORDERS = (0, 0, 1, 2, 3)
HEADS = Heads.of((1.0, 0.5, 1.0, 1.0, 0.5), (2, -1, 3, 4, -1), (-1, -1, -1, 2, 3))
"""A chain of contexts 0, 1, 2, 3 with a forgetting head of no context beside it."""

tokens = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=60).map(torch.tensor)


def contexts(came, history=None):
    """The addresses (T, H, 1) of exact contexts, and their weights."""
    history = torch.zeros(0, dtype=torch.int64) if history is None else history
    slots = token_contexts(came, history, ORDERS)[..., None]
    return slots.clamp(min=0), (slots >= 0).double()


def given(time, heads=2, active=3, slots=7, seed=0):
    """Addresses (T, H, A) with weights, as learned ones are; some slots twice, some not used."""
    g = torch.Generator().manual_seed(seed)
    weights = torch.rand(time, heads, active, generator=g, dtype=torch.float64)
    weights[torch.rand(time, heads, active, generator=g) < 0.2] = 0
    return torch.randint(slots, (time, heads, active), generator=g), weights


def reference(heads, capacity=10_000):
    """Empty dictionaries."""
    settings = {name: x.tolist() for name, x in vars(heads).items()}
    return ReferenceTables(**settings, capacity=capacity)


def addresses(slots, weights):
    """One step's address (H, A) as the reference takes it."""
    pairs = zip(slots.tolist(), weights.tolist(), strict=True)
    return [[(s, w) for s, w in zip(*pair, strict=True) if w] for pair in pairs]


def read(truth, slots, weights, came):
    """What the reference says of each token: p, mass, distinct (T, H)."""
    rows = []
    for s, w, token in zip(slots, weights, came.tolist(), strict=True):
        step = addresses(s, w)
        said = [truth.distribution(h, a).get(token, 0.0) for h, a in enumerate(step)]
        mass, distinct = zip(*(truth.features(h, a) for h, a in enumerate(step)), strict=True)
        rows.append((said, mass, distinct))
        truth.write(step, token)
    return (torch.tensor(part, dtype=torch.float64) for part in zip(*rows, strict=True))
