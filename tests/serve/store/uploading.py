"""Uploads that are none, under a ceiling of memory: each is refused in words.

python -m tests.serve.store.uploading FOLDER COUNT
"""

import json
import random
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import nn

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import Blueprint, FastWeights, Origin, TableWeights
from sparsemeta.fast_weights.file import digest
from sparsemeta.nn import SparseMemory
from sparsemeta.serve.store import Store
from tests.fast_weights.states import CONFIG, equal, mutations
from tests.fast_weights.tables import KEEP, LAYOUT, learn, state_of

CEILING = 2**28
"""Bytes of address space beyond what the process has when it begins."""
BIG = (2**20, 2**31, 2**40, 2**62, 2**63, 2**64, 10**30, 0, -1, True, 1.0, "1", None, [], {})
"""Sizes that a header may claim."""


class Tables(nn.Module):
    """Something that has tables."""

    layout = LAYOUT


def served() -> tuple[Blueprint, FastWeights]:
    """The blueprint of a model with rows and tables, and a memory of it."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"hidden": SparseMemory(8, CONFIG), "output": Tables()})
    layer = model["hidden"]
    assert isinstance(layer, SparseMemory)
    empty = TableWeights.empty(LAYOUT, 1, KEEP)
    nothing = FastWeights.join({"hidden": layer.initial_state(1), "output": state_of(empty)})
    hidden = layer(torch.randn(1, 7, 8))[1].detach()
    learned = FastWeights.join({"hidden": hidden, "output": state_of(learn([[1, 2, 1, 2, 3]]))})
    return Blueprint.of(model, nothing), learned


def crafted(data: bytes, count: int) -> Iterator[bytes]:
    """Files whose digest is right, and which claim what they like."""
    draw = random.Random(1)
    stored = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    for number in range(count):
        parts, layers = dict(stored), json.loads(header["layers"])
        name, part = draw.choice(sorted(layers)), draw.choice(sorted(parts))
        match number % 8:
            case 0:  # another shape than the tensors have
                layers[name][draw.randrange(1, 5)] = draw.choice(BIG)
            case 1:  # many streams, and parts that go with them
                layers[name][1] = many = draw.choice((2, 1000, 2**16))
                parts = {
                    key: x.expand(many, *x.shape[1:]).contiguous() if len(x) == 1 else x
                    for key, x in parts.items()
                }
            case 2:  # other dtypes
                kinds = (torch.bool, torch.float16, torch.float64, torch.int8, torch.int64)
                parts[part] = parts[part].to(draw.choice(kinds))
            case 3:  # other widths
                parts[part] = parts[part][..., : draw.randrange(1 + parts[part].shape[-1])]
            case 4:  # other names
                parts[draw.choice(("x", f"{part}.x", "../x", "\\0"))] = parts.pop(part)
            case 5:  # layers too many, or too few
                layers[name + "x"] = layers[name]
                layers = {} if draw.random() < 0.3 else layers
            case 6:  # numbers that lead astray
                extreme = draw.choice((-1, 2**31 - 1, 0))
                x = parts[part].clone()
                if x.numel():
                    x.flatten()[draw.randrange(x.numel())] = extreme
                parts[part] = x
            case 7:  # a header that no parser likes
                deep = draw.choice(("[" * 50_000, "9" * 10_000, "{}", "null", "[1]", '{"a":1e999}'))
                layers = deep
        made = header | {"layers": layers if isinstance(layers, str) else json.dumps(layers)}
        parts = {key: x.contiguous() for key, x in parts.items()}
        made["digest"] = digest(made, parts)
        yield save(parts, metadata=made)


def lying(data: bytes, count: int) -> Iterator[bytes]:
    """Files whose own header says that tensors, or it itself, are of enormous size."""
    draw = random.Random(2)
    end = 8 + int.from_bytes(data[:8], "little")
    for number in range(count):
        if number % 4 == 0:
            yield draw.choice((2**63, 2**40, 10**8, end, 1, 0)).to_bytes(8, "little") + data[8:]
            continue
        header = json.loads(data[8:end])
        tensor = header[draw.choice(sorted(header.keys() - {"__metadata__"}))]
        field = draw.choice(("shape", "data_offsets"))
        tensor[field] = [draw.choice((0, 1, 2**31, 2**62, 2**64)) for _ in range(draw.randrange(4))]
        text = json.dumps(header).encode()
        yield len(text).to_bytes(8, "little") + text + data[end:]


def main(folder: Path, count: int) -> None:
    """Upload so many files, and say what became of them, and what that took."""
    blueprint, state = served()
    words, taken = Counter(), 0
    with Store(folder, blueprint) as store:
        memory = store.default("ann").id
        good = state.encode(Origin(blueprint.fingerprint))
        store.upload("ann", memory, good)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + CEILING, used + CEILING))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for kind, share in ((mutations, 0.5), (crafted, 0.3), (lying, 0.2)):
            for data in kind(good, round(share * count)):
                try:
                    head = store.upload("ann", memory, data).head
                except StateError as error:
                    words[str(error)] += 1
                    continue
                found = FastWeights.load(store.path("ann", head.id), blueprint)
                assert equal(found, state) or kind is crafted, "read as something else"
                assert FastWeights.concat([found, state]).batch == 2
                taken += 1
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        store.delete("ann", memory)
        left = len(list((folder / "blobs").iterdir()))
    said = {"refused": words.total(), "taken": taken, "left": left, "grown": grown * 1024}
    print(json.dumps(said | {"words": sorted(words)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
