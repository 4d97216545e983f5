"""States of a small layer: how two are compared, and their files edited and damaged."""

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import FastWeights, LayerWeights
from sparsemeta.fast_weights.file import digest
from sparsemeta.nn import MemoryConfig

MUTATIONS = int(os.environ.get("SPARSEMETA_MUTATIONS", "300"))
CONFIG = MemoryConfig(slots=50, active=3, heads=2, key_width=8, value_width=6)


def equal(a: FastWeights, b: FastWeights) -> bool:
    """Whether two states hold the same, whatever rows of their tables it is in."""

    def form(layer):
        return type(layer), layer.shape, isinstance(layer, LayerWeights) and layer.slot is None

    return a.layers.keys() == b.layers.keys() and all(
        form(layer) == form(b.layers[name])
        and all(
            torch.equal(x, y) and x.dtype == y.dtype
            for x, y in zip(layer.stored().values(), b.layers[name].stored().values(), strict=True)
        )
        for name, layer in a.layers.items()
    )


def held(state):
    """A state's table as if it were dense, (B, H, N, V)."""
    layer = state.layers["memory"]
    index, rows = layer.touched()
    table = torch.zeros(layer.shape)
    table.flatten(0, 2)[index] = rows
    return table


def rewrite(
    path: Path,
    part: str | None = None,
    change: Callable[[Tensor], Tensor] = torch.clone,
    *,
    layers: Callable[[dict], dict] = dict,
) -> None:
    """Edit a part of a memory file, or what its header says, on purpose: the digest is right."""
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    if part is not None:
        tensors[part] = change(tensors[part]).contiguous()
    header["layers"] = json.dumps(layers(json.loads(header["layers"])))
    header["digest"] = digest(header, tensors)
    save_file(tensors, path, metadata=header)


def refuses_damage(path: Path, model: nn.Module, state: FastWeights) -> None:
    """No changed copy of a file is read as another state than the one that it holds."""
    refused = 0
    for changed in mutations(path.read_bytes(), MUTATIONS):
        path.write_bytes(changed)
        try:
            loaded = FastWeights.load(path, model)
        except StateError:
            refused += 1
        else:
            assert equal(loaded, state)
    assert refused > 0.9 * MUTATIONS  # some change nothing: a byte is put where the same one was


def mutations(data: bytes, count: int) -> Iterator[bytes]:
    """Copies of a file, each changed in one place: a bit, the length, a byte of the header."""
    draw = random.Random(0)
    header = 8 + int.from_bytes(data[:8], "little")
    for i in range(count):
        changed, at = bytearray(data), draw.randrange(len(data))
        match i % 5:
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                del changed[at:]
            case 2:
                changed[at:at] = draw.randbytes(draw.randrange(1, 20))
            case 3:
                changed[draw.randrange(8, header)] = draw.choice(b'0123456789 "{}[]:,azI64F32')
            case 4:
                here = draw.randrange(header, len(data) - 4)
                changed[here : here + 4] = changed[at : at + 4].ljust(4, b"0")
        yield bytes(changed)
