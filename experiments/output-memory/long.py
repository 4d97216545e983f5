"""Table memory over a frozen model on long texts: a megabyte of each, and budgets of bytes.

    python experiments/output-memory/long.py --model runs/wikitext2-bpe-static --texts TEXT...

The model reads each text once, by itself, and what it predicted is kept in `--work`, so that this
can be stopped and taken up again; from that the memory learns and mixes, in seconds. Writes
long.json and long.md beside this file. Nothing is trained.
"""

import json
from dataclasses import dataclass
from math import log, nan
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro
from run import compressed
from torch import Tensor

from sparsemeta.config import TablesConfig
from sparsemeta.lm.checkpoint import load_model
from sparsemeta.nn import TableMemory
from sparsemeta.ops import Came, Gate, Memory, Tables, roomy, score

HERE = Path(__file__).parent
BUDGETS = (None, 100, 70, 40)
SEGMENT = 512


@dataclass
class Options:
    """Table memory over a frozen model on long texts."""

    texts: tuple[Path, ...]
    """Files of UTF-8 text."""
    stream: tuple[str, ...] = (
        *("en_novel_warandpeace", "en_speech_state_union", "en_factbook_world192"),
    )
    """Those of them, by name, that are read one after the other with budgets, as one stream."""
    model: Path = Path("runs/wikitext2-bpe-static")
    """A run without memory, its tokenizer of the bpe kind."""
    most: int = 1_000_000
    """Bytes of each text that are read, from its start."""
    work: Path = Path("runs/output-memory-long")
    """Where what the model predicted is kept."""


class Predicted(NamedTuple):
    """A text, and what the model gave to each of its tokens.

    Attributes:
        data: its bytes.
        tokens: (1 + N,), a separator first.
        log_p: (N,).
    """

    data: bytes
    tokens: Tensor
    log_p: Tensor


def predicted(model, tokenizer, path: Path, options: Options) -> Predicted:
    """Read a text by the model alone, in bfloat16, or take what it predicted from the folder."""
    text = path.read_bytes()[: options.most].decode("utf-8", errors="ignore")
    ids = np.concatenate([[tokenizer.separator], tokenizer.encode(text)])
    tokens, kept = torch.from_numpy(ids.astype(np.int64)), options.work / f"{path.stem}.pt"
    if not kept.exists():
        state, parts = None, []
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for part in tokens.unfold(0, 2, 1).split(SEGMENT):
                seen, targets = part.T[:, None]
                log_p, _, state = model.predict(seen, state, targets=targets)
                parts.append(log_p[0])
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(torch.cat(parts), kept)
    return Predicted(text.encode(), tokens, torch.load(kept))


@torch.no_grad()
def read(memory: TableMemory, tokens: Tensor, log_p: Tensor) -> tuple[Tensor, int]:
    """Log q (N,) by an empty memory; and the bytes that it holds in the end."""
    layer = memory.initial_state(1).layers["memory"]
    held = Tables(**{name: getattr(layer, name) for name in Tables._fields})
    now = Memory(memory.rules, memory.spelling, held)
    heard, parts = torch.cat([log_p.new_full((1,), nan), log_p[:-1]]), []
    slow = torch.zeros(1, SEGMENT, len(memory.start))
    columns = (x.split(SEGMENT) for x in (tokens[:-1], heard, tokens[1:], log_p.float()))
    for came, known, targets, said in zip(*columns, strict=True):
        now = roomy(now, len(came), donate=True)
        gate = Gate(memory.start.detach(), slow[:, : len(came)], slow[:, 0])
        segment = Came(came[None], known[None].float(), None, None)
        parts.append(score(targets[None], said[None], segment, gate, now).log_q[0])
    return torch.cat(parts), sum(x.nbytes for x in now.tables if x is not None)


def bits(log_q: Tensor, data: bytes) -> float:
    """Bits per byte."""
    return -log_q.double().sum().item() / log(2) / len(data)


def main(options: Options) -> None:
    """Read, score, and write."""
    model, tokenizer = load_model(options.model)
    model.eval()

    def memory(capacity: int = 2**24) -> TableMemory:
        config = TablesConfig(capacity=capacity)
        made = TableMemory(model.config.width, model.vocab_size, config)
        made.spell(torch.from_numpy(tokenizer.endings(made.spelling.shape[1])))
        return made

    texts = {path.stem: predicted(model, tokenizer, path, options) for path in options.texts}
    alone = {}
    for name, (data, *given) in texts.items():
        alone[name] = {"bytes": len(data), "tokens": len(given[1]), "static": bits(given[1], data)}
        alone[name] |= {"tables + gate": bits(read(memory(), *given)[0], data)} | compressed(data)
        print(name, alone[name], flush=True)

    chosen = [texts[name] for name in options.stream]
    data = b"".join(text.data for text in chosen)
    tokens = torch.cat([chosen[0].tokens[:1], *(text.tokens[1:] for text in chosen)])
    log_p = torch.cat([text.log_p for text in chosen])
    stream = {}
    for budget in BUDGETS:
        empty = memory(budget * len(log_p) // 48) if budget else memory()
        log_q, size = read(empty, tokens, log_p)
        stream[str(budget)] = {"bits": bits(log_q, data), "bytes a token": size / len(log_p)}
        print(budget, stream[str(budget)], flush=True)
    found = {"alone": alone, "stream": {"texts": options.stream, "tokens": len(log_p)} | stream}
    (HERE / "long.json").write_text(json.dumps(found, indent=2) + "\n")

    names = [name for name in next(iter(alone.values())) if name not in ("bytes", "tokens")]
    lines = [f"| | {' | '.join(alone)} |", "|---" * (len(alone) + 1) + "|"]
    for name in names:
        cells = " | ".join(f"{text[name]:.3f}" for text in alone.values())
        lines.append(f"| {name} | {cells} |")
    lines += ["", f"{len(log_p):,} tokens, one text after the other:", ""]
    lines += ["| budget, bytes a token | held | bits per byte |", "|---|---|---|"]
    for budget in BUDGETS:
        row = stream[str(budget)]
        lines.append(f"| {budget or 'none'} | {row['bytes a token']:.0f} | {row['bits']:.4f} |")
    (HERE / "long.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
