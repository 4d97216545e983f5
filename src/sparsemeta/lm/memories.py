"""Memory files, read without the model that made them: what they hold, merged, erased."""

from pathlib import Path
from typing import Any

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import FastWeights, Origin, read_origin


def open_memories(*paths: Path) -> list[tuple[FastWeights, Origin]]:
    """Memories of one model, and where they come from.

    Raises:
        StateError: a file is missing or damaged, or they are of several models.
    """
    found = [(FastWeights.load(path, None), read_origin(path)) for path in paths]
    for path, (_, origin) in zip(paths, found, strict=True):
        if origin.fingerprint != found[0][1].fingerprint:
            raise StateError(
                f"{path} belongs to another model than {paths[0]}, so what they hold cannot be "
                "compared. Name two memories of one model."
            )
    return found


def describe(path: Path, expected: str | None = None) -> dict[str, Any]:
    """All that a file says, ready for JSON.

    Args:
        path: the file.
        expected: fingerprint of a model; `fits` is whether the memory is of that one.
    """
    ((memory, origin),) = open_memories(path)
    return {
        "file": str(path),
        "size": path.stat().st_size,
        "model": origin.fingerprint,
        "fits": expected and origin.fingerprint == expected,
        "streams": memory.batch,
        "texts": origin.texts,
        "bytes": origin.bytes,
        "layers": {
            name: stats | {"bytes": sum(part.nbytes for part in memory.layers[name].touched())}
            for name, stats in memory.stats().items()
        },
    }


def merged(one: Path, other: Path, base: Path | None = None) -> tuple[FastWeights, Origin]:
    """What two memories learned since they parted, and all that this has read.

    Args:
        one: a memory.
        other: another, of the same model.
        base: the memory that both grew from; None is an empty one.
    """
    (a, a_read), (b, b_read), *rest = open_memories(one, other, *([base] if base else []))
    began, begun = rest[0] if rest else (None, a_read._replace(texts=0, bytes=0))
    read = begun._replace(
        texts=a_read.texts + b_read.texts - begun.texts,
        bytes=a_read.bytes + b_read.bytes - begun.bytes,
    )
    return a.merge(b, began), read


def erased(path: Path, layers: tuple[str, ...] | None = None) -> tuple[FastWeights, Origin]:
    """A memory without what some of its layers hold, or all; an empty one has read nothing."""
    ((memory, origin),) = open_memories(path)
    left = memory.reset(layers=layers)
    empty = not any(layer["rows"] for layer in left.stats().values())
    return left, origin._replace(texts=0, bytes=0) if empty else origin
