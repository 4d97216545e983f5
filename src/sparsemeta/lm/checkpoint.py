"""Model folders. A checkpoint of training is one too, with what training needs beside it.

    config.json           the format, the vocabulary's size and the model's configuration
    tokenizer.json
    model.safetensors     the weights
    digests.json          what the files must be

Nothing is pickled: loading a folder runs no code from it.
"""

from pathlib import Path

import safetensors.torch

from sparsemeta import files, run as engine
from sparsemeta.config import from_dict, to_dict
from sparsemeta.errors import CheckpointError, ConfigError
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.text import Tokenizer, load_tokenizer


def save_model(folder: str | Path, model: LanguageModel, tokenizer: Tokenizer) -> None:
    """Write a self-contained model folder; a kill leaves what was there before."""
    with files.write_folder(Path(folder)) as aside:
        safetensors.torch.save_file(engine.weights_of(model), aside / "model.safetensors")
        write_model(aside, model.config, tokenizer)


def write_model(folder: Path, config: ModelConfig, tokenizer: Tokenizer) -> None:
    """Write what a model folder holds beside the weights."""
    about = {"vocab_size": tokenizer.vocab_size, "model": to_dict(config)}
    engine.write_json(folder / "config.json", about)
    tokenizer.save(folder)


def load_model(path: str | Path) -> tuple[LanguageModel, Tokenizer]:
    """Read a model, on the CPU, for use, and its tokenizer, from where `find_model` finds them."""
    folder = find_model(Path(path))
    engine.check(folder)
    data = engine.read_json(folder / "config.json")
    try:
        config, vocabulary = from_dict(data["model"], ModelConfig), int(data["vocab_size"])
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise engine.damaged(folder / "config.json", error) from None
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size != vocabulary:
        raise CheckpointError(
            f"{folder}: tokenizer.json has {tokenizer.vocab_size} tokens but the model was trained "
            f"with {vocabulary}. Put the model's own tokenizer.json back."
        )
    weights = folder / "model.safetensors"
    model = engine.load_model(weights, lambda: LanguageModel(config, vocabulary))
    return model.eval(), tokenizer


def find_model(path: Path) -> Path:
    """The model folder at a path: it, or a run's checkpoint that validated best, or its last."""
    files.settle(path)
    if (path / "config.json").is_file():
        return path
    folder = engine.newest(path / "checkpoints")
    if folder is None:
        what = "holds no model (no config.json)" if path.is_dir() else "is not a folder"
        raise CheckpointError(
            f"{path}: {what}. Give a model folder, or the folder of a run that has saved a "
            "checkpoint (runs/NAME)."
        )
    best = engine.read_json(folder / "training.json").get("facts", {}).get("best")
    found = engine.step_folder(folder.parent, best["step"]) if best else folder
    return found if found.is_dir() else folder
