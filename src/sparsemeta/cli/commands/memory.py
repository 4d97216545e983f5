"""`sparsemeta memory show|diff|merge|reset`: what was learned, read without its model."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from sparsemeta import lm
from sparsemeta.cli.support.deliver import claim
from sparsemeta.errors import require

AsJson = Annotated[bool, tyro.conf.arg(name="json")]
File = Positional[Path]


def main(arguments: Sequence[str]) -> None:
    """Run a subcommand."""
    tyro.extras.subcommand_cli_from_dict(
        {"show": show, "diff": diff, "merge": merge, "reset": reset},
        args=list(arguments),
        prog="sparsemeta memory",
        config=(tyro.conf.FlagCreatePairsOff,),
        description="Show, compare, merge and erase memories.",
    )


def show(
    files: Positional[tuple[Path, ...]],
    *,
    model: Path | None = None,
    adapter: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Show what memories hold: what is in use of each layer, norms of rows, and the age of it all.

    With the model, also what was learned where tokens are predicted. Of row memory, for each
    half-life, the tokens of whose rows most is left. Of table memory, for each kind of context, how
    far the gate believes what followed it before, and what it is surest of.

    Args:
        files: memories, as `sparsemeta read` saves them.
        model: also say whether they belong to this model and, of those that do, what they learned.
        adapter: the memories of that model, if it is one of transformers.
        as_json: print JSON.
    """
    require(bool(files), "name a memory: sparsemeta memory show FILE...")
    require(adapter is None or model is not None, "--adapter goes with the --model that it is for")
    loaded = lm.load(model, "cpu", adapter=adapter) if model else None
    found = [lm.memories.describe(path, loaded) for path in files]
    if as_json:
        print(json.dumps(found, indent=2, allow_nan=False))
        return
    for about in found:
        fits = {None: "", True: f", which is {model}", False: f", which is not {model}"}
        print(
            f"{about['file']}: {about['size']:,} bytes; has read {about['texts']:,} texts of "
            f"{about['bytes']:,} bytes; model {about['model'][:12]}{fits[about['fits']]}"
        )
        _print_table(about["layers"])
        for line in lm.insight.told(about["learned"]):
            print(line)


def diff(earlier: File, later: File, *, as_json: AsJson = False) -> None:
    """Compare two memories of one model: rows, or entries of tables, added, removed and changed.

    Args:
        earlier: a memory.
        later: another.
        as_json: print JSON.
    """
    (before, _), (after, _) = lm.memories.open_memories(earlier, later)
    changes = after.diff(before)
    if as_json:
        found = {"earlier": str(earlier), "later": str(later), "layers": changes}
        print(json.dumps(found, indent=2, allow_nan=False))
    else:
        _print_table(changes)


def merge(
    one: File, other: File, *, out: Path, base: Path | None = None, overwrite: bool = False
) -> None:
    """Bring together what two memories of one model learned since they parted.

    A row that only one of them changed is taken as it is. Where both did, it is their mean,
    weighted by how much each has read since. What followed contexts, in tables, adds up.

    Args:
        one: a memory.
        other: another.
        out: where the merged memory is kept.
        base: the memory that both grew from. If left out: an empty one.
        overwrite: replace a file at --out.
    """
    with claim(out, overwrite=overwrite):
        memory, read = lm.memories.merged(one, other, base)
        memory.save(out, read)
    print(f"{out}: has read {read.texts:,} texts of {read.bytes:,} bytes")


def reset(
    file: File, *, out: Path, layers: tuple[str, ...] | None = None, overwrite: bool = False
) -> None:
    """Erase a memory, or some of its layers.

    Args:
        file: a memory.
        out: where what is left is kept; it may be the same file.
        layers: which layers to erase, as `sparsemeta memory show` names them. If left out: all.
        overwrite: replace another file at --out.
    """
    with claim(out, updates=file, overwrite=overwrite):
        memory, read = lm.memories.erased(file, layers)
        memory.save(out, read)
    print(f"{out}: erased {', '.join(layers or memory.layers)}")


def _print_table(layers: Mapping[str, Mapping[str, float]]) -> None:
    """A row for each layer, a column for each number; layers of each kind by themselves."""
    from rich.console import Console
    from rich.table import Table

    tables: dict[tuple[str, ...], Table] = {}
    for name, numbers in layers.items():
        if tuple(numbers) not in tables:
            tables[tuple(numbers)] = table = Table(box=None, header_style="bold", padding=(0, 1))
            table.add_column("layer")
            for key in numbers:
                table.add_column(key.replace("_", " "), justify="right", no_wrap=True)
        forms = (".1%" if key == "used" else ",.3f" if "norm" in key else ",.0f" for key in numbers)
        tables[tuple(numbers)].add_row(name, *map(format, numbers.values(), forms))
    Console(highlight=False, markup=False).print(*tables.values())
