"""`sparsemeta export MODEL FOLDER`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Export:
    """Write a model as one of transformers, with its tokenizer.

    After `import sparsemeta.lm.hf`, AutoModelForCausalLM and AutoTokenizer read the folder.
    """

    model: tyro.conf.Positional[Path]
    """A model folder, or the folder of a run: then its best checkpoint."""
    folder: tyro.conf.Positional[Path]
    """The folder to write, which is new or empty."""


def main(arguments: Sequence[str]) -> None:
    """Load, convert and save."""
    command = tyro.cli(Export, args=list(arguments), prog="sparsemeta export")

    from sparsemeta.lm import hf

    hf.export(command.model, command.folder)
    print(command.folder)
