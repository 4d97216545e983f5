"""Table memory and its gate over a frozen model that has no memory, in bits per byte.

    sparsemeta train recipes/wikitext2-bpe-static.toml --training.steps 2400
    python experiments/output-memory/run.py --model runs/wikitext2-bpe-static --texts TEXT...

reads the first tokens of each text once, left to right, and writes results.json and results.md
beside this file. Nothing is trained; the cache is tuned on the first of the validation text.
"""

import bz2
import json
import lzma
from dataclasses import dataclass
from importlib import import_module
from math import log
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro
from output_memory.contexts import byte_contexts, token_contexts
from output_memory.gate import Gate
from output_memory.tables import Heads, Tables
from tokenizers import Tokenizer as Pairs
from torch import Tensor
from torch.nn.functional import normalize

from sparsemeta.lm.checkpoint import load_model

HERE = Path(__file__).parent
THETAS, WEIGHTS, WINDOW = (4.0, 8.0, 16.0, 32.0), (0.05, 0.1, 0.2, 0.3, 0.4), 2000
START = -2.0


@dataclass
class Options:
    """Table memory over a frozen model."""

    texts: tuple[Path, ...]
    """Files of UTF-8 text."""
    model: Path = Path("runs/wikitext2-bpe-static")
    """A run without memory, its tokenizer of the bpe kind."""
    validation: Path = Path("data/wikitext-2/wiki.valid.tokens")
    """What the cache is tuned on."""
    tokens: int = 40_000
    """Tokens of each text that are read, from its start."""


class Head(NamedTuple):
    """One head: the last `order` tokens or bytes, and how its slots forget."""

    kind: str
    order: int
    keep: float = 1.0
    family: str = ""
    """Heads of one family extend each other: update exclusion from one to the next."""
    grows: bool = False
    """Slots are made only where the family's shorter context was known."""


def heads(*, forgetting=True, spelled=True, exclusion=True, grows=True, longest=16) -> list[Head]:
    """The heads in the order of the gate, from the shortest context to the longest."""
    orders = [n for n in (0, 1, 2, 3, 4, 6, 8, 12, 16) if n <= longest]
    made = [Head("tokens", n, 1.0, "tokens", grows and n >= 4) for n in orders]
    if forgetting:
        made += [Head("tokens", n, rho) for n, rho in ((0, 0.99), (0, 0.95), (1, 0.95), (3, 0.8))]
    if spelled:
        made += [Head("bytes", n, 1.0, "bytes") for n in (1, 2, 3)]
    if not exclusion:
        made = [head._replace(family="", grows=False) for head in made]
    place = {"bytes": 0.5, "tokens": 0.0}  # bytes stand between no token and one
    return sorted(made, key=lambda h: (h.order if h.kind == "tokens" else place["bytes"], -h.keep))


def links(made: list[Head]) -> Heads:
    """Who extends whom."""
    longer, shorter, last = [-1] * len(made), [-1] * len(made), {}
    for i, head in enumerate(made):
        if head.family in last and head.family:
            longer[last[head.family]] = i
            shorter[i] = last[head.family] if head.grows else -1
        last[head.family] = i
    return Heads.of([head.keep for head in made], longer, shorter)


class Read(NamedTuple):
    """A text as the frozen model sees it."""

    data: bytes
    tokens: Tensor
    log_p: Tensor
    hidden: Tensor

    def bits(self, log_q: Tensor) -> float:
        """Bits per byte."""
        return -log_q.double().sum().item() / log(2) / len(self.data)


def read(model, tokenizer, path: Path, most: int) -> Read:
    """Read a text once, from an empty attention window."""
    text = path.read_text(encoding="utf-8")
    ids = tokenizer.encode(text[: 16 * most])[:most]
    size = len(tokenizer.decode(ids.tolist()).encode("utf-8"))
    stream = torch.from_numpy(np.concatenate([[tokenizer.separator], ids]).astype(np.int64))
    state, log_p, hidden = None, [], []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(ids), 256):
            part = stream[start : min(start + 256, len(ids))]
            seen, state = model.hidden(part[None], state)
            p = model.head(seen)[0].float().log_softmax(-1)
            log_p.append(p.gather(1, stream[start + 1 : start + 257, None])[:, 0])
            hidden.append(seen[0].float())
    return Read(text.encode("utf-8")[:size], stream[1:], torch.cat(log_p), torch.cat(hidden))


def spelling(folder: Path) -> tuple[Tensor, Tensor]:
    """The bytes of each token (V, L), and how many (V,); the separator is one."""
    pairs = Pairs.from_file(str(folder / "tokenizer.json"))
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    byte = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(rest)}
    known = [pairs.id_to_token(i) or "" for i in range(pairs.get_vocab_size())]
    rows = [[byte[c] for c in token] for token in known] + [[0]]
    length = torch.tensor([len(row) for row in rows])
    table = torch.zeros(len(rows), int(length.max()), dtype=torch.int64)
    for i, row in enumerate(rows):
        table[i, : len(row)] = torch.tensor(row)
    return table, length


def with_tables(text: Read, made: list[Head], spelled, capacity: int) -> tuple[Tensor, int]:
    """Log q of the model and its tables, and how many rows these have."""
    nothing = text.tokens[:0]
    slots = torch.stack(
        [
            token_contexts(text.tokens, nothing, (head.order,))[:, 0]
            if head.kind == "tokens"
            else byte_contexts(text.tokens, nothing, (head.order,), *spelled)[:, 0]
            for head in made
        ],
        dim=-1,
    )[..., None]
    address = slots.clamp(min=0), (slots >= 0).float()
    found, tables = Tables.empty().score_and_write(*address, text.tokens, links(made), capacity)
    mixed, _ = Gate.start(torch.full((len(made),), START)).mix(text.log_p, found)
    return mixed.log_q, int(tables.used[0])


def cache_p(text: Read, theta: float) -> Tensor:
    """What a neural cache of the last WINDOW tokens gives to each token; 0 for the first."""
    keys, tokens, parts = normalize(text.hidden, dim=-1), text.tokens, []
    for start in range(0, len(tokens), 256):
        stop, low = min(start + 256, len(tokens)), max(0, start + 1 - WINDOW)
        now, past = torch.arange(start, stop)[:, None], torch.arange(low, stop)
        known = (past < now) & (past >= now - WINDOW)
        match = (theta * (keys[start:stop] @ keys[low:stop].T - 1)).exp() * known
        hit = (match * (tokens[low:stop] == tokens[start:stop, None])).sum(-1)
        parts.append(hit / match.sum(-1).clamp(min=1e-30))
    return torch.cat(parts)


def with_cache(text: Read, p: Tensor, weight: float) -> Tensor:
    """Log q of the model and a cache of fixed weight, which the first token does without."""
    share = torch.full_like(p, weight)
    share[0] = 0
    return ((1 - share) * text.log_p.exp() + share * p).log()


def compressed(data: bytes) -> dict[str, float]:
    """What compressors that learn from nothing make of the same bytes; ppmd if it is installed."""
    sizes = {"xz -9e": len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))}
    sizes["bz2 -9"] = len(bz2.compress(data, 9))
    try:
        pyppmd = import_module("pyppmd")
    except ImportError:
        return {name: 8 * size / len(data) for name, size in sizes.items()}
    coders = (pyppmd.Ppmd7Encoder(order, 1 << 28) for order in (3, 4, 5, 6, 8, 12, 16))
    sizes["ppmd, best order"] = min(len(c.encode(data) + c.flush()) for c in coders)
    return {name: 8 * size / len(data) for name, size in sizes.items()}


VARIANTS = {
    "**tables + gate**": heads(),
    "without contexts of bytes": heads(spelled=False),
    "without forgetting heads": heads(forgetting=False),
    "without update exclusion": heads(exclusion=False),
    "every slot made at once": heads(grows=False),
    "orders to 6": heads(longest=6),
}


def main(options: Options) -> None:
    """Read, score, and write."""
    model, tokenizer = load_model(options.model)
    spelled = spelling(next(options.model.glob("**/tokenizer.json")).parent)
    validation = read(model.eval(), tokenizer, options.validation, options.tokens)
    tried = {
        (theta, weight): validation.bits(with_cache(validation, p, weight))
        for theta in THETAS
        for p in [cache_p(validation, theta)]
        for weight in WEIGHTS
    }
    theta, weight = min(tried, key=lambda point: tried[point])
    print(
        f"one pass, left to right, each token scored before it is learned; cache: last {WINDOW:,} "
        f"tokens, theta {theta:g}, weight {weight:g}, tuned on {options.validation.name}"
    )
    results = {}
    for path in options.texts:
        text = read(model, tokenizer, path, options.tokens)
        found = {"static": text.bits(text.log_p)}
        found["static + tuned cache"] = text.bits(with_cache(text, cache_p(text, theta), weight))
        for name, made in VARIANTS.items():
            log_q, rows = with_tables(text, made, spelled, 10**8)
            found[name] = text.bits(log_q)
            if name.startswith("**"):
                found["rows a token"] = rows / len(text.tokens)
        for size in (100, 40):
            log_q, _ = with_tables(text, heads(), spelled, size * len(text.tokens) // 48)
            found[f"{size} bytes a token"] = text.bits(log_q)
        results[path.stem] = found | compressed(text.data)
        print(path.stem, {name: round(value, 3) for name, value in results[path.stem].items()})
        (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    names = list(next(iter(results.values())))
    lines = [f"| | {' | '.join(results)} |", "|---" * (len(results) + 1) + "|"]
    for name in names:
        cells = " | ".join(f"{found[name]:.3f}" for found in results.values())
        lines.append(f"| {name} | {cells} |")
    (HERE / "results.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
