"""What a memory has learned where tokens are predicted: its model is needed to say it.

Tables keep no text, and a context is a number there. But an entry says when it was last written, so
that all of them together spell what was read, and the context of each. Its number then proves that
it is the right one.
"""

import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from sparsemeta.fast_weights import Entries, FastWeights, TableWeights
from sparsemeta.lm.modelling import ROWS, TABLES
from sparsemeta.lm.text import Tokenizer
from sparsemeta.nn import RowMemory, TableMemory, memory_off
from sparsemeta.ops import BYTES, belief, by_evidence, number_all, trust

TOKENS = 6
"""So many are named of each head of a row memory."""
CONTEXTS = 3
"""So many are named of each head of a table memory."""
SEARCHED = 10_000
"""A context is looked for before so many of its entries, and among so many of the last tokens."""
LATEST = 256
"""How far the gate trusts whom is a mean over so many of the last tokens."""
MUCH = 0.5
"""A row has much left if its norm is above this; it is 1 where a row was written altogether."""


@torch.inference_mode()
def insight(memory: FastWeights, model: Any, tokenizer: Tokenizer) -> dict[str, Any]:
    """What a memory has learned, ready for JSON; `told` puts it in words.

    Args:
        memory: of this model; if it is of several streams, the first is looked at.
        model: on the CPU: a `LanguageModel`, or one of transformers with an adapter.
        tokenizer: the model's.
    """
    memory, found = memory.select([0]), {}
    for name, held in model.memories():
        if isinstance(held, RowMemory):
            found[ROWS] = _rows(held, memory.child(name), tokenizer)
        elif isinstance(held, TableMemory):
            layers = memory.child(name).layers.values()
            (layer,) = (layer for layer in layers if isinstance(layer, TableWeights))
            found[TABLES] = _tables(model, held, layer, tokenizer)
    return found


def told(found: dict[str, Any]) -> Iterator[str]:
    """What `insight` found, line by line."""
    if ROWS in found:
        yield f"row memory: rows of {found[ROWS]['tokens']:,} tokens; what is left of them now"
        for head in found[ROWS]["heads"]:
            life = head["half_life"]
            name = "never forgets" if life is None else f"half-life {life:,.0f} tokens"
            yield f"  {name}: more than half of {head['much']:,}; most of"
            most = (f"{_quoted(row['text'])} {row['norm']:.2f}" for row in head["most"])
            yield f"    {', '.join(most) or 'none'}"
    if TABLES in found:
        model, heads = found[TABLES]["model"], found[TABLES]["heads"]
        yield (
            f"table memory: the gate now gives about {model:.0%} of a prediction to the model, "
            f"{1 - model:.0%} to what followed the same context before;"
        )
        yield (
            "of each context, what it is surest of: its share of what followed, where no longer "
            "context knew it"
        )
        for head in heads:
            if head["known"]:
                yield (
                    f"  {head['context']}: {head['weight']:.1%}; known at {head['known']:.1%} of "
                    f"tokens, and then believed {head['believed']:.0%}"
                    + ("; surest of" if head["surest"] else "")
                )
                yield from (f"    {_claim(claim)}" for claim in head["surest"])
        never = [head["context"] for head in heads if not head["known"]]
        if never:
            yield f"  never known so far: {', '.join(never)}"


def _claim(claim: dict[str, Any]) -> str:
    """That a token follows a context, in words."""
    times, follows = claim["of"], _quoted(claim["text"])
    if "context" in claim:
        context = claim["context"]
        follows = f"{'(not kept)' if context is None else _quoted(context)} -> {follows}"
    whole = times >= 10 or times.is_integer()
    return f"{follows}  {claim['share']:.0%} of {times:,.{0 if whole else 1}f}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if text else "(start of a text)"


def _rows(rows: RowMemory, memory: FastWeights, tokenizer: Tokenizer) -> dict[str, Any]:
    """Of each half-life, the tokens whose rows have most left."""
    classes, left = rows.left(memory)
    heads = []
    lives = zip(rows.config.half_lives, rows.log_half_life.exp().tolist(), strict=True)
    for (begun, life), norm in zip(lives, left.norm(dim=-1).unbind(1), strict=True):
        most = norm.argsort(descending=True, stable=True)[:TOKENS]
        named = [
            _named(token, tokenizer) | {"norm": size}
            for token, size in zip(classes[most].tolist(), norm[most].tolist(), strict=True)
        ]
        about = {"half_life": life if begun else None, "much": int((norm > MUCH).sum())}
        heads.append(about | {"most": named})
    return {"tokens": len(classes), "heads": heads}


def _tables(
    model: Any, tables: TableMemory, layer: TableWeights, tokenizer: Tokenizer
) -> dict[str, Any]:
    """How far the gate trusts each head, and the contexts that it would trust most."""
    heads, listed, steps = tables.heads, layer.entries(), int(layer.steps)
    past = _Past(listed, steps, tables, tokenizer)
    logit = by_evidence(tables.start, layer.theta[0], layer.moved[0])
    slow = _slow(model, tables, past.read[:LATEST])
    seen = trust(logit, slow, layer.moved[0], steps)

    _, owner, distinct = torch.unique_consecutive(
        torch.stack([listed.head, listed.slot], -1), dim=0, return_inverse=True, return_counts=True
    )
    mass = torch.zeros(len(distinct), dtype=torch.float64)
    mass = mass.index_add_(0, owner, listed.weight.double())[owner]
    share = listed.weight / mass
    sure = share * belief(logit + slow.mean(0)[:, None], listed.head, mass, distinct[owner])

    claims, found = (listed.token, share, mass), []
    known, believed, weights = (part.tolist() for part in seen)
    for h, name in enumerate(heads.names):
        mine = (listed.head == h).nonzero()[:, 0]
        best = mine[sure[mine].argsort(descending=True, stable=True)[:CONTEXTS]]
        surest = [
            _named(token, tokenizer) | {"share": part, "of": whole}
            for token, part, whole in zip(*(x[best].tolist() for x in claims), strict=True)
        ]
        if heads.order[h] and heads.exact[h]:
            for i, claim in zip(best.tolist(), surest, strict=True):
                same = (owner == owner[i]).nonzero()[:, 0]
                claim["context"] = past.spelt(h, int(listed.slot[i]), listed.age[same])
        trusted = {"known": known[h], "believed": believed[h], "weight": weights[h + 1]}
        found.append({"context": name} | trusted | {"surest": surest})
    return {"model": weights[0], "heads": found}


def _slow(model: Any, tables: TableMemory, read: Tensor) -> Tensor:
    """(T, H), what the trained part of the gate adds after each of some tokens, newest first."""
    latest = read[read >= 0].flip(0)[-(model.longest or LATEST) :]
    if not latest.numel():
        return tables.start.new_zeros(1, len(tables.start))
    with memory_off(model):
        _, hidden, _ = model.read(latest, None, targets=latest)
    return tables.slow(hidden)


class _Past:
    """What was read, as far as entries tell, and the contexts in it."""

    def __init__(self, listed: Entries, steps: int, tables: TableMemory, tokenizer: Tokenizer):
        self.tables, self.tokenizer = tables, tokenizer
        self.read = listed.age.new_full((steps + tables.heads.reach + 1,), -1)
        self.read[listed.age] = listed.token  # the token that was read so many tokens ago
        self.latest = self._numbers(torch.arange(min(steps, SEARCHED)))

    def spelt(self, head: int, number: int, ages: Tensor) -> str | None:
        """The context of a number, spelt; None if what was read then is not known any more.

        It stood before tokens of these ages, and may stand among the last ones read.
        """
        ages = torch.cat([ages[:SEARCHED], (self.latest[:, head] == number).nonzero()[:, 0]])
        proved = (self._numbers(ages)[:, head] == number).nonzero()[:, 0]
        if not len(proved):
            return None
        order = int(self.tables.heads.order[head])
        past = self._before(ages[proved[:1]])[0]
        if self.tables.heads.kind[head] != BYTES:
            return self.tokenizer.decode(past[len(past) - order :].tolist())
        letters = self.tables.spelling[past[past >= 0]]
        return bytes(letters[letters >= 0][-order:].tolist()).decode("utf-8", errors="replace")

    def _before(self, ages: Tensor) -> Tensor:
        """(n, L), what was read before tokens of these ages, newest last; -1 where not known."""
        before = ages[:, None] + 1 + torch.arange(self.tables.heads.reach)
        return self.read[before.clamp(max=len(self.read) - 1)].flip(1)

    def _numbers(self, ages: Tensor) -> Tensor:
        """(n, H), of the contexts before tokens of these ages."""
        return number_all(self._before(ages), self.tables.heads, self.tables.spelling)


def _named(token: int, tokenizer: Tokenizer) -> dict[str, Any]:
    """A token, and how it is spelt."""
    return {"token": token, "text": tokenizer.decode([token])}
