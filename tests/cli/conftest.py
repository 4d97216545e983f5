"""A model and one without memory, trained for a few steps through the command line."""

import os
from pathlib import Path

import pytest
import torch

from sparsemeta.cli import main
from sparsemeta.lm.checkpoint import save_model
from sparsemeta.lm.text.tokenizer import ByteTokenizer
from tests.tiny import OUTPUT, tiny_model

WINDOW = 32
"""Of `write_base`."""
RECIPE = """
name = "tiny"
[corpus]
train = ["text"]
holdout = ["held/*"]
[tokenizer]
kind = "bytes"
[model]
layers = 2
width = 32
heads = 2
window = 16
mlp_width = 32
memory_layers = [1]
[model.memory]
slots = 32
active = 4
heads = 2
key_width = 8
value_width = 8
[training]
steps = 4
streams = 2
segment = 32
warmup = 1
precision = "32-true"
checkpoint_every = 2
"""


def write_project(folder: Path) -> None:
    """A recipe and its text: three documents to train on and two held out."""
    (folder / "text" / "held").mkdir(parents=True)
    (folder / "tiny.toml").write_text(RECIPE)
    for i in range(3):
        lines = [f"line {n} of {i}: {n * n} is the square of {n}\n" for n in range(30)]
        (folder / "text" / f"{i}.txt").write_text("".join(lines))
    (folder / "text" / "held" / "a.txt").write_text("the square of 7 is 49\n" * 8)
    (folder / "text" / "held" / "b.txt").write_text("49 is the square of 7\n" * 8)


def write_base(folder: Path, seed: int = 0, window: int = WINDOW) -> None:
    """A tiny GPT-2 of bytes as transformers saves it, and its tokenizer."""
    import tokenizers
    import transformers
    from tokenizers import decoders, models, pre_tokenizers

    torch.manual_seed(seed)
    sizes = {"vocab_size": 257, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": window}
    ids = dict.fromkeys(("bos_token_id", "eos_token_id"), 256)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**sizes, **ids, initializer_range=0.3)
    )
    model.save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|end|>"])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>")
    fast.save_pretrained(folder)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An untrained project, entered."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def models(project):
    """The models `tiny`, `other`, `growing` and `every`, untrained, and `plain` without memory."""
    made = {
        "tiny": tiny_model(),
        "other": tiny_model(seed=1),
        "growing": tiny_model(slots=1024, capacity=700),
        "every": tiny_model(output=OUTPUT),
        "plain": tiny_model(memory_layers=()),
    }
    for name, model in made.items():
        save_model(project / "models" / name, model, ByteTokenizer())
    return project


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A project with the runs `tiny` and `plain`, which has no memory. Read only."""
    folder, before = tmp_path_factory.mktemp("trained"), Path.cwd()
    write_project(folder)
    os.chdir(folder)
    try:
        assert main(["train", "tiny.toml"]) == 0
        assert main(["train", "tiny.toml", "--name", "plain", "--model.memory-layers"]) == 0
    finally:
        os.chdir(before)
    return folder
