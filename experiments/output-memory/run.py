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
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from tokenizers import Tokenizer as Pairs
from torch import Tensor
from torch.nn.functional import normalize

from sparsemeta.config import TablesConfig
from sparsemeta.lm.checkpoint import load_model
from sparsemeta.nn import TableMemory

HERE = Path(__file__).parent
THETAS, WEIGHTS, WINDOW = (4.0, 8.0, 16.0, 32.0), (0.05, 0.1, 0.2, 0.3, 0.4), 2000


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


class Read(NamedTuple):
    """A text as the frozen model sees it."""

    data: bytes
    tokens: Tensor
    log_p: Tensor
    hidden: Tensor
    log_q: dict[str, Tensor]
    """With each of the memories."""
    rows: dict[str, int]
    """That each of them holds at the end."""

    def bits(self, log_q: Tensor) -> float:
        """Bits per byte."""
        return -log_q.double().sum().item() / log(2) / len(self.data)


def read(model, tokenizer, path: Path, most: int, memories: dict[str, TableMemory]) -> Read:
    """Read a text once, from an empty attention window, with memories that are empty."""
    text = path.read_text(encoding="utf-8")
    ids = tokenizer.encode(text[: 16 * most])[:most]
    size = len(tokenizer.decode(ids.tolist()).encode("utf-8"))
    stream = torch.from_numpy(np.concatenate([[tokenizer.separator], ids]).astype(np.int64))
    state, log_p, hidden, log_q = None, [], [], {name: [] for name in memories}
    learned: dict[str, Any] = dict.fromkeys(memories, (None, None))
    with torch.inference_mode():
        for start in range(0, len(ids), 256):
            part = stream[start : min(start + 256, len(ids))][None]
            target = stream[start + 1 : start + 257][None]
            with torch.autocast("cpu", torch.bfloat16):
                seen, state = model.hidden(part, state)
                logits = model.head(seen).float()
            for name, memory in memories.items():
                said, *learned[name] = memory(
                    seen.float(), part, logits, *learned[name], targets=target, donate=True
                )
                log_q[name].append(said[0])
            log_p.append(logits.log_softmax(-1).gather(-1, target[..., None])[0, :, 0])
            hidden.append(seen[0].float())
    rows = {name: int(state.layers["memory"].used[0, 0]) for name, (state, _) in learned.items()}
    mixed = {name: torch.cat(parts) for name, parts in log_q.items()}
    data = text.encode("utf-8")[:size]
    return Read(data, stream[1:], torch.cat(log_p), torch.cat(hidden), mixed, rows)


def spelling(folder: Path, classes: int, most: int) -> Tensor:
    """The last bytes of each token (V, n), newest last; the separator is one."""
    pairs = Pairs.from_file(str(folder / "tokenizer.json"))
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    byte = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(rest)}
    known = [pairs.id_to_token(i) or "" for i in range(pairs.get_vocab_size())]
    rows = [*([byte[c] for c in token] for token in known), [0]]
    table = torch.full((classes, most), -1)
    for i, row in enumerate(row[-most:] for row in rows if most):
        table[i, most - len(row) :] = torch.tensor(row)
    return table


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


VARIANTS: dict[str, dict[str, Any]] = {
    "**tables + gate**": {},
    "without contexts of bytes": {"bytes": ()},
    "without forgetting heads": {"fading_orders": (), "fading": ()},
    "orders to 6": {"orders": (0, 1, 2, 3, 4, 6)},
}


def main(options: Options) -> None:
    """Read, score, and write."""
    model, tokenizer = load_model(options.model)
    folder, classes = next(options.model.glob("**/tokenizer.json")).parent, model.head.out_features
    budgets: dict[str, dict[str, Any]] = {
        f"{size} bytes a token": {"capacity": max(4096, size * options.tokens // 48)}
        for size in (100, 40)
    }
    memories = {
        name: TableMemory(model.head.in_features, classes, TablesConfig(**settings))
        for name, settings in (VARIANTS | budgets).items()
    }
    for memory in memories.values():
        memory.spell(spelling(folder, classes, memory.spelling.shape[1]))
    validation = read(model.eval(), tokenizer, options.validation, options.tokens, {})
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
        text = read(model, tokenizer, path, options.tokens, memories)
        found = {"static": text.bits(text.log_p)}
        found["static + tuned cache"] = text.bits(with_cache(text, cache_p(text, theta), weight))
        found |= {name: text.bits(log_q) for name, log_q in text.log_q.items()}
        found["rows a token"] = text.rows["**tables + gate**"] / len(text.tokens)
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
