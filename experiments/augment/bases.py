"""Stock GPT-2 and Llama of transformers, trained from scratch on half of WikiText-2: the bases.

    python experiments/augment/bases.py --kind gpt2

The first half of the training articles trains the base, the second is left for what is added to it.
A run that is stopped goes on when the same command is run again.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import transformers
import tyro

from sparsemeta import run as engine
from sparsemeta.config import Settings
from sparsemeta.lm import CorpusConfig, Document, TokenizerConfig, read_documents, train_tokenizer
from sparsemeta.lm.hf.tokenizer import fast_tokenizer

VOCABULARY, WIDTH, LAYERS, HEADS, WINDOW = 4096, 256, 4, 4, 256
Kind = Literal["gpt2", "llama"]


@dataclass(frozen=True)
class Training(engine.TrainingConfig):
    """How a base is trained; the defaults take about twenty minutes of one core."""

    free = frozenset({"checkpoint_every"})

    steps: int = 1000
    learning_rate: float = 2e-3
    streams: int = 16
    """Pieces of WINDOW tokens a step."""


@dataclass(frozen=True)
class Recipe(Settings):
    """One base."""

    kind: Kind = "gpt2"
    data: str = "data/wikitext-2"
    """The folder of wiki.train.tokens."""
    work: str = "runs/augment"
    """Where bases, adapters and results are kept."""
    training: Annotated[Training, tyro.conf.arg(name="training")] = field(default_factory=Training)


def halves(data: Path) -> tuple[list[Document], list[Document]]:
    """The training articles: what bases are trained on, and what is left."""
    articles = read_documents([str(data / "wiki.train.tokens")], CorpusConfig(wikitext=True))
    total, passed = sum(len(article.text) for article in articles), 0
    found: tuple[list[Document], list[Document]] = ([], [])
    for article in articles:
        found[2 * passed >= total].append(article)
        passed += len(article.text)
    return found


def new_model(kind: Kind) -> Any:
    """A model with random weights."""
    sizes: dict[str, Any] = {"vocab_size": VOCABULARY, "max_position_embeddings": WINDOW}
    sizes |= dict.fromkeys(("bos_token_id", "eos_token_id"), VOCABULARY - 1)
    if kind == "gpt2":
        sizes |= {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": WINDOW}
        sizes |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
    sizes |= {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    sizes |= {"intermediate_size": 688, "tie_word_embeddings": True}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))


class Base(engine.Learner[Any, Training]):
    """A base in training, on pieces drawn anew for each step."""

    def __init__(self, recipe: Recipe, tokens: torch.Tensor, saved: engine.Checkpoint | None):
        runner = engine.Engine(precision="bf16-mixed", seed=recipe.training.seed)
        model = new_model(recipe.kind)
        self.tokens = tokens
        optimizer = partial(make_optimizer, rate=recipe.training.learning_rate)
        super().__init__(model, optimizer, recipe.training, runner, saved)

    def take_step(self) -> dict[str, Any]:
        """One step on pieces of the text."""
        self.set_rate()
        places = torch.randint(len(self.tokens) - WINDOW, (self.config.streams, 1))
        pieces = self.tokens[places + torch.arange(WINDOW)]
        loss = self.forward(pieces, labels=pieces).loss
        loss.backward()
        self.descend(loss.item())
        self.step += 1
        return {"step": self.step, "loss": loss.item()}

    def status(self, record: dict[str, Any]) -> str:
        """Its loss."""
        return f"loss {record['loss']:.3f}"


def make_optimizer(model: torch.nn.Module, rate: float) -> torch.optim.AdamW:
    """AdamW, which decays matrices alone."""
    kinds: tuple[list[Any], list[Any]] = [], []
    for weight in model.parameters():
        kinds[weight.dim() > 1].append(weight)
    groups = [{"params": kinds[0], "weight_decay": 0.0}, {"params": kinds[1], "weight_decay": 0.1}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))


def tokenizer_of(recipe: Recipe, articles: list[Document]) -> Any:
    """The tokenizer of all bases, as one of transformers; made once."""
    folder = Path(recipe.work) / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        made = train_tokenizer(TokenizerConfig(vocabulary=VOCABULARY), articles)
        folder.mkdir(parents=True, exist_ok=True)
        made.save(folder)
    from sparsemeta.lm import load_tokenizer

    own = load_tokenizer(folder)
    return fast_tokenizer(folder / "tokenizer.json", own.separator)


def encoded(tokenizer: Any, articles: list[Document]) -> Iterator[list[int]]:
    """Articles as tokens, a separator before each."""
    for article in articles:
        yield [tokenizer.bos_token_id, *tokenizer.encode(article.text, add_special_tokens=False)]


def main(recipe: Recipe) -> None:
    """Train, and write a folder that transformers reads."""
    torch.set_num_threads(1)
    articles, _ = halves(Path(recipe.data))
    tokenizer = tokenizer_of(recipe, articles)
    tokens = torch.from_numpy(np.concatenate([*map(np.array, encoded(tokenizer, articles))]))
    run, folder = Path(recipe.work) / f"{recipe.kind}-run", Path(recipe.work) / recipe.kind

    def begin(saved: engine.Checkpoint | None) -> Base:
        return Base(recipe, tokens, saved)

    learner = engine.fit(begin, recipe, run, progress=engine.Progress())
    learner.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(folder)


if __name__ == "__main__":
    main(tyro.cli(Recipe, config=(tyro.conf.OmitArgPrefixes,)))
