"""The first bytes of texts of several kinds, packed, unpacked and compared, beside others' sizes.

    sparsemeta train recipes/wikitext2-bpe-static.toml --training.steps 2400
    python experiments/compress/run.py --model runs/wikitext2-bpe-static --texts TEXT...

writes results.json and results.md beside this file after each text; texts that are there are not
measured again. Times are of the processor, and comparable within one text. Nothing is tuned.
"""

import bz2
import json
import lzma
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
import tyro

from sparsemeta.lm import Document, LanguageModel, Tokenizer, compress, decompress, load, score
from sparsemeta.run import Progress

HERE = Path(__file__).parent
T = TypeVar("T")


@dataclass
class Options:
    """Texts packed by a model."""

    texts: tuple[Path, ...]
    """Files."""
    model: Path
    """A run, its tokenizer of the bpe or bytes kind; without tables it is given some, untrained."""
    bytes: int = 300_000
    """How much of each is packed, from its start."""
    strands: int = 16
    """At how many places the model reads at once."""


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What comes of some work, and the seconds of the processor that it takes."""
    began = time.process_time()
    return work(), time.process_time() - began


def others(data: bytes) -> dict[str, int]:
    """Sizes by compressors that learn from nothing; ppmd if it is installed."""
    sizes = {
        "xz -9e": len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
        "bz2 -9": len(bz2.compress(data, 9)),
    }
    try:
        pyppmd = import_module("pyppmd")
    except ImportError:
        return sizes
    coders = (pyppmd.Ppmd7Encoder(order, 1 << 28) for order in (3, 4, 5, 6, 8, 12, 16))
    return sizes | {"ppmd, best order": min(len(c.encode(data) + c.flush()) for c in coders)}


def with_tables(path: Path) -> tuple[LanguageModel, Tokenizer]:
    """A model with tables and gate, untrained if it had none; every other weight as it was."""
    base, tokenizer = load(path, "cpu")
    assert isinstance(base, LanguageModel)
    if base.tables is not None:
        return base, tokenizer
    config = replace(base.config, output=(*base.config.output, "tables"))
    model = LanguageModel(config, base.vocab_size)
    model.load_state_dict(base.state_dict(), strict=False)
    assert model.tables is not None
    model.tables.spell(torch.from_numpy(tokenizer.endings(model.tables.spelling.shape[1])))
    return model, tokenizer


def measure(options: Options, data: bytes) -> dict[str, Any]:
    """All that is said of one text."""
    model, tokenizer = with_tables(options.model)
    text = Document("text", data.decode("utf-8"))
    read, reading = timed(lambda: score(model, tokenizer, [text]))
    settings: dict[str, Any] = {"strands": options.strands, "progress": Progress()}
    packed, packing = timed(lambda: compress(model, tokenizer, data, **settings))
    again, same = with_tables(options.model)
    back, unpacking = timed(lambda: decompress(again, same, packed.file, progress=Progress()))
    assert back == data
    return {
        "bytes": len(data),
        "tokens": packed.tokens,
        "strands": options.strands,
        "sparsemeta": len(packed.file),
        "-log2 p, in bytes": packed.bits / 8,
        "evaluate, in bytes": read.nats / 8 / torch.tensor(2.0).log().item(),
        "seconds": {"evaluate": reading, "compress": packing, "decompress": unpacking},
        **others(data),
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Bits per byte of each text, what coding costs, and speeds."""
    sizes = ("sparsemeta", "evaluate, in bytes", "ppmd, best order", "xz -9e", "bz2 -9")
    head = ["text", "bytes", "strands", *(name.removesuffix(", in bytes") for name in sizes)]
    head += ["file over -log2 p", "compress", "decompress"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, found in results.items():
        bits = (f"{8 * found[size] / found['bytes']:.3f}" for size in sizes)
        more = found["sparsemeta"] / found["-log2 p, in bytes"] - 1
        speeds = (
            f"{found['seconds']['evaluate'] / found['seconds'][what]:.0%}"
            for what in ("compress", "decompress")
        )
        first = (name.partition(",")[0], f"{found['bytes']:,}", str(found["strands"]))
        lines.append(f"| {' | '.join((*first, *bits, f'{more:.3%}', *speeds))} |")
    return "\n".join(lines) + "\n"


def main(options: Options) -> None:
    """Measure what is missing, and write."""
    file = HERE / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for path in options.texts:
        name = f"{path.stem}, first {options.bytes:,}, {options.strands} strands"
        if name not in results:
            data = path.read_bytes()[: options.bytes].decode("utf-8", "ignore").encode("utf-8")
            results[name] = measure(options, data)
            file.write_text(json.dumps(results, indent=2) + "\n")
            (HERE / "results.md").write_text(table(results))
            print(name, results[name], flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
