"""Slot use with and without a remedy against collapse.

    python experiments/usage/run.py

trains the demo's model for a few hundred steps with three kinds of addresses, lets each read the
held-out packages once, and writes results.json and results.md beside this file. Stopped, it goes on
with the runs that are missing.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import torch
import tyro
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from typing_extensions import override

from sparsemeta.config import read_toml
from sparsemeta.lm.config import Recipe
from sparsemeta.lm.evaluation import evaluate
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.optimizer import parameter_groups
from sparsemeta.lm.text import (
    Streams,
    read_documents,
    split_holdout,
    tokenise,
    train_tokenizer,
)
from sparsemeta.nn import Addressing, SparseMemory, observe, usage_losses
from sparsemeta.ops import Address, product_address
from sparsemeta.run import Progress

HERE = Path(__file__).parent


@dataclass
class Options:
    """Slot use with and without a remedy against collapse."""

    steps: int = 300
    """Optimizer steps."""
    seeds: tuple[int, ...] = (0, 1)
    """Seeds of the initial weights."""
    recipe: Path = Path("recipes/demo.toml")
    """What is trained, on what."""
    cache: Path = Path("runs/usage")
    """Where the tokenised text goes."""


class Raw(Addressing):
    """Dot products as they are: a key that grows wins more, and grows more."""

    @override
    def forward(self, x: Tensor) -> Address:
        query = self.query(x).unflatten(-1, (self.config.heads, -1)).transpose(1, 2)
        found = product_address(query.float(), self.keys, self.config.active)
        return found.map(lambda tensor: tensor.transpose(1, 2))


class Kind(NamedTuple):
    """How slots are addressed, and the weight of the usage loss."""

    addressing: type[Addressing]
    usage_weight: float


KINDS = {
    "dot products": Kind(Raw, 0.0),
    "unit length (the default)": Kind(Addressing, 0.0),
    "unit length and usage loss": Kind(Addressing, 0.01),
}


def run(kind: Kind, seed: int, options: Options) -> dict[str, float]:
    """Train one model and let it read; returns how its memory was used, and how well it did."""
    recipe = read_toml(options.recipe, Recipe)
    config, corpus = recipe.training, recipe.corpus
    documents, heldout = split_holdout(read_documents(corpus.train, corpus), corpus.holdout)
    progress = Progress()
    tokenizer = train_tokenizer(recipe.tokenizer, documents)
    text = tokenise(documents, tokenizer, options.cache, progress)
    streams = Streams(text.tokens, streams=config.streams, segment=config.segment)

    torch.manual_seed(seed)
    model = LanguageModel(recipe.model, tokenizer.vocab_size)
    width, memory = recipe.model.width, recipe.model.memory
    block = model.blocks[recipe.model.memory_layers[0]]
    block.memory = SparseMemory(width, memory, kind.addressing(width, memory))
    optimizer = AdamW(parameter_groups(model, config), betas=(0.9, 0.95), fused=True)
    state = None
    with progress.track(0, options.steps):
        for step in range(options.steps):
            for group in optimizer.param_groups:
                group["lr"] = config.rate(step)
            batch = streams.next_batch()
            with usage_losses(model) as uneven, torch.autocast("cpu", torch.bfloat16):
                logits, state = model(batch.tokens, state, donate=True)
            loss = cross_entropy(logits.float().flatten(0, 1), batch.targets.flatten())
            (loss + kind.usage_weight * sum(uneven)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad()
            state = state.detach()
            progress.update(step + 1, loss.item(), batch.tokens.numel())
    with observe(model) as health:
        total = evaluate(model.eval(), tokenizer, heldout, arms=["carried"])["carried"].total
    (seen,) = health.values()
    return {
        "slots addressed": seen.occupancy,
        "entropy of use": seen.entropy,
        "busiest 1 % take": seen.hot,
        "perplexity, carried": total.perplexity,
    }


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """A row for each kind of address: mean and standard deviation over the seeds."""
    names = list(next(iter(next(iter(found.values())).values())))
    rows = [f"| addresses | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for kind, runs in found.items():
        cells = []
        for name in names:
            values = [run[name] for run in runs.values()]
            form = ".2f" if name.startswith("perplexity") else ".3f"
            deviation = stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{mean(values):{form}} ± {deviation:{form}}")
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    options = tyro.cli(Options)
    results = HERE / "results.json"
    found = json.loads(results.read_text()) if results.exists() else {}
    for seed in options.seeds:
        for name, kind in KINDS.items():
            runs = found.setdefault(name, {})
            if str(seed) not in runs:
                runs[str(seed)] = run(kind, seed, options)
                results.write_text(json.dumps(found, indent=2) + "\n")
    (HERE / "results.md").write_text(table(found) + "\n")
    print(table(found))
