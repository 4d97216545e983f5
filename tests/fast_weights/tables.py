"""Small tables, written by plain loops: head h knows what followed the last h tokens."""

from collections import defaultdict
from dataclasses import replace

import torch
from hypothesis import strategies as st

from sparsemeta.fast_weights import FastWeights, TableLayout, TableWeights
from sparsemeta.fast_weights.entries import AT, DISTINCT, LAST, LINK, TOKEN, Entries

VOCABULARY = 5
KEEP = (1.0, 0.5, 1.0)
LAYOUT = TableLayout(heads=3, sets=VOCABULARY, recent=3, capacity=500, classes=VOCABULARY)

text = st.lists(st.integers(0, VOCABULARY - 1), max_size=12)
texts = st.tuples(text, text)


def empty(batch: int = 2) -> TableWeights:
    return TableWeights.empty(LAYOUT, batch, KEEP)


def slot_of(context: list[int]) -> int:
    """Its number."""
    return hash(tuple(context)) % 2**61


def learn(streams, state: TableWeights | None = None) -> TableWeights:
    """What the tables hold after so many tokens more of each stream."""
    state = state or empty(len(streams))
    state = replace(state, **{name: x.clone() for name, x in state.tensors().items()}, bucket=None)
    for b, tokens in enumerate(streams):
        key, weight, rows, used = (x[b] for x in (state.key, state.weight, state.rows, state.used))
        many = range(1, int(used[0]) + 1)
        place = {(int(key[r]), int(rows[r, TOKEN])): r for r in many}

        def claim(number, token, *, key=key, rows=rows, used=used, place=place):
            if (number, token) not in place:
                used[0] += 1
                place[number, token] = row = int(used[0])
                key[row], rows[row, TOKEN] = number, token
            return place[number, token]

        for token in tokens:
            used[1] += 1
            for h, rho in enumerate(KEEP):
                context = state.recent[b, 3 - h :].tolist()
                if -1 in context:
                    continue
                s = claim(slot_of(context), -1 - h)
                known = (s, token) in place
                e = claim(s, token)
                if not known:
                    rows[e, AT], rows[e, LINK], rows[s, LINK] = rows[s, AT], rows[s, LINK], e
                    rows[s, DISTINCT] += 1
                rows[s, AT] += 1
                weight[s] = weight[s] * rho + 1
                weight[e] = weight[e] * rho ** int(rows[s, AT] - rows[e, AT]) + 1
                rows[e, AT], rows[e, LAST] = rows[s, AT], used[1]
                state.theta[b, h, token] += 0.25 * (1 + h)
                state.moved[b, h, token] += 1
            state.recent[b] = torch.cat([state.recent[b, 1:], torch.tensor([token])])
    return state


def truth(streams) -> dict[tuple[int, int, int, int], tuple[float, int]]:
    """(stream, head, slot, token) -> (weight, age), by the rule: C[s] *= rho, C[s, token] += 1."""
    found = {}
    for b, tokens in enumerate(streams):
        for h, rho in enumerate(KEEP):
            slots = defaultdict(dict)
            for i in range(h, len(tokens)):
                slot = slots[slot_of(tokens[i - h : i])]
                for token, (weight, last) in slot.items():
                    slot[token] = (weight * rho, last)
                slot[tokens[i]] = (slot.get(tokens[i], (0.0, 0))[0] + 1, i)
            for number, slot in slots.items():
                for token, (weight, last) in slot.items():
                    found[b, h, number, token] = (weight, len(tokens) - 1 - last)
    return found


def as_dict(listed: Entries) -> dict[tuple[int, int, int, int], tuple[float, int]]:
    """The same of a listing."""
    columns = [part.tolist() for part in listed]
    return {(*place,): (weight, age) for *place, weight, age in zip(*columns, strict=True)}


def same(a: TableWeights, b: TableWeights) -> bool:
    """Whether two hold the same entries, and all else; wherever their rows are."""
    beside = ("recent", "theta", "moved", "keep", "steps")
    return all(map(torch.equal, a.entries(), b.entries())) and all(
        torch.equal(getattr(a, name), getattr(b, name)) for name in beside
    )


def state_of(tables: TableWeights) -> FastWeights:
    return FastWeights({"memory": tables})
