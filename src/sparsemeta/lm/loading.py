"""Models and memories from disk, ready to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sparsemeta.fast_weights import FastWeights, Origin, fingerprint, read_origin
from sparsemeta.lm.checkpoint import load_model
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.reading import require_memory
from sparsemeta.lm.text import Tokenizer

if TYPE_CHECKING:
    from sparsemeta.lm.hf.pretrained import PretrainedModel


def load(
    path: str | Path, device: str | torch.device | None = None
) -> tuple[LanguageModel | PretrainedModel, Tokenizer]:
    """A model and its tokenizer.

    Args:
        path: a model folder, or the folder of a run: then its best checkpoint; or a local folder of
            any causal language model of the transformers library. No code from it is run.
        device: where the model is put; cuda, if there is one, if None.

    Raises:
        CheckpointError: there is no model, or it is damaged, or of another format or shape.
        MissingExtra: transformers is needed, and not installed.
    """
    if _is_pretrained(Path(path)):
        from sparsemeta.lm.hf.pretrained import load_pretrained

        model, tokenizer = load_pretrained(Path(path))
    else:
        model, tokenizer = load_model(path)
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")), tokenizer


def load_memory(
    path: str | Path | None, model: LanguageModel | PretrainedModel
) -> tuple[FastWeights | None, Origin]:
    """A memory of a model, and where it comes from; None is an empty one.

    Raises:
        ConfigError: the model has no memory.
        StateError: the file is missing, damaged, or of another model.
    """
    if path is None:
        return None, Origin(fingerprint(model))
    require_memory(model)
    return FastWeights.load(path, model), read_origin(path)


def _is_pretrained(folder: Path) -> bool:
    """Whether a folder holds a model of transformers rather than one of ours."""
    try:
        return "model_type" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
