"""What training a recipe takes in memory: planned on the meta device, and measured for small ones.

scripts/bench memory [--recipe recipes/large.toml]

A plan runs two segments of a model that has no numbers, and adds up what autograd would keep. It is
held against the peak of a process that trains: of small models on the CPU.
"""

import resource
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import tyro
from timing import show
from torch import Tensor

from sparsemeta.config import read_toml
from sparsemeta.lm.config import ModelConfig, Recipe
from sparsemeta.lm.modelling import LanguageModel

SMALL = ((256, 4, (1,)), (384, 4, (1, 3)), (512, 6, ()))
"""Widths, layers and layers with memory of the models that are measured."""
STREAMS, SEGMENT, VOCABULARY = 8, 256, 4096


@dataclass
class Options:
    """Memory that training takes."""

    recipe: Path = Path("recipes/large.toml")
    """Whose plan is shown below those of the small models."""
    measured: str = ""
    """A small model to train in this process, which then prints bytes; used by the others."""


@dataclass(frozen=True)
class Plan:
    """Bytes of one process that has all weights, in float32."""

    weights: int
    state: int
    """What is carried from segment to segment."""
    saved: int
    """Activations that the backward pass needs."""
    recomputed: int
    """The same where blocks compute them again: their inputs, and the rest of one block."""

    def peak(self, *, recompute: bool = False, shares: int = 1) -> int:
        """Weights, gradients and two statistics, in shares; activations and state."""
        return 4 * self.weights // shares + self.state + self._kept(recompute)

    def _kept(self, recompute: bool) -> int:
        return self.recomputed if recompute else self.saved


def plan(config: ModelConfig, vocabulary: int, streams: int, segment: int) -> Plan:
    """Build a model on the meta device, and read two segments."""
    memory = replace(config.memory, backend="triton")  # saves what the compiled loop saves
    with torch.device("meta"):
        model = LanguageModel(replace(config, memory=memory), vocabulary)
        tokens = torch.zeros(streams, segment, dtype=torch.int64)
    _, state = model(tokens, targets=tokens)
    state, kept = state.detach(), {}
    known = {_storage(x) for x in (*model.parameters(), *state.tensors().values())}

    def keep(x: Tensor) -> Tensor:
        if _storage(x) not in known:
            kept[_storage(x)] = x  # alive, so that no other has its place
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        log_p, _ = model(tokens, state, targets=tokens, donate=True)
        blocks = list(kept)
    del log_p
    saved = sum(x.untyped_storage().nbytes() for x in kept.values())
    inputs = config.layers * tokens.numel() * config.width * 4
    head = 2 * tokens.numel() * vocabulary * 4
    rest = (saved - head) // config.layers + head if blocks else 0
    weights = sum(x.nbytes for x in model.parameters())
    return Plan(weights, state.nbytes, saved, inputs + rest)


def _storage(x: Tensor) -> int:
    return x.untyped_storage()._cdata


def train(config: ModelConfig, vocabulary: int = VOCABULARY) -> int:
    """Bytes by which some steps of training raise this process's peak, the weights included."""
    model = LanguageModel(config, vocabulary)
    optimizer = torch.optim.AdamW(model.parameters())
    tokens, state = torch.randint(0, vocabulary, (STREAMS, SEGMENT)), None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    weights = sum(x.nbytes for x in model.parameters())
    for _ in range(3):
        log_p, state = model(tokens, state, targets=tokens, donate=True)
        (-log_p.mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
        state = state.detach()
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) + weights


def small(width: int, layers: int, memory_layers: tuple[int, ...]) -> ModelConfig:
    """A model that a CPU trains in seconds."""
    return ModelConfig(
        width=width, layers=layers, memory_layers=memory_layers, mlp_width=4 * width, heads=8
    )


def main(options: Options) -> None:
    """Print plans, and what was measured of the small ones."""
    if options.measured:
        train(small(32, 1, (0,)), 64)  # loads what training loads
        print(train(small(*SMALL[int(options.measured)])))
        return
    megabytes = partial("{:,.0f}".format)
    rows = []
    for number, sizes in enumerate(SMALL):
        found = plan(small(*sizes), VOCABULARY, STREAMS, SEGMENT)
        command = [sys.executable, __file__, "--measured", str(number)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        parts = [x / 2**20 for x in (4 * found.weights, found.state, found.saved, found.peak())]
        name = f"width {sizes[0]}, {sizes[1]} blocks, memory in {len(sizes[2])}"
        rows.append([name, *map(megabytes, parts), megabytes(int(told) / 2**20)])
    recipe = read_toml(options.recipe, Recipe)
    training, vocabulary = recipe.training, recipe.tokenizer.vocabulary
    streams = training.streams // training.devices
    found = plan(recipe.model, vocabulary, streams, training.segment)
    shares = training.devices if training.strategy == "fsdp" else 1
    peak = found.peak(recompute=training.recompute, shares=shares)
    kept = found.recomputed if training.recompute else found.saved
    parts = [x / 2**20 for x in (4 * found.weights // shares, found.state, kept, peak)]
    name = f"{recipe.name}: {found.weights / 4e9:.2f} billion, a process of {training.devices}"
    rows.append([name, *map(megabytes, parts), "not run"])
    show(
        "Training in float32, MB: weights with gradients and statistics, state, activations, their "
        f"sum, and the process's peak; small models of {STREAMS} x {SEGMENT} tokens",
        ["", "weights", "state", "activations", "plan", "measured"],
        rows,
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
