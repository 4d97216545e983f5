"""What training an agent costs: environment steps per second of one core, sparse beside LSTM.

scripts/bench agents [--rounds 7]

All agents take turns at playing and learning from segments of card sorting, by its recipe.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
import tyro
from timing import machine, show

from sparsemeta.config import read_toml
from sparsemeta.rl import AgentConfig, Recipe, make
from sparsemeta.rl.training import Learner

RECIPE = Path(__file__).parent.parent / "recipes" / "rl" / "card-sorting.toml"


@dataclass
class Options:
    """What training an agent costs."""

    rounds: int = 7
    """Timed rounds; the median is shown."""
    segments: int = 5
    """Of each agent, in a round."""


class Agent:
    """An agent in training, and the CPU seconds that playing and learning took it."""

    def __init__(self, recipe: Recipe):
        self.config = recipe.training
        self.learner = Learner(recipe, make(recipe.environment, self.config.environments))
        self.parameters = sum(p.numel() for p in self.learner.model.parameters())

    def take(self, segments: int) -> float:
        """CPU seconds that so many segments take."""
        began = time.process_time()
        for _ in range(segments):
            self.learner.take_step()
        return time.process_time() - began


if __name__ == "__main__":
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    recipe = read_toml(RECIPE, Recipe)
    sparse = recipe.agent
    dense = replace(sparse, memory=replace(sparse.memory, addressing="dense", active=1))
    kinds = {
        "LSTM": AgentConfig(core="lstm", adaptive=False, width=66),
        "GRU": AgentConfig(adaptive=False, width=70),
        "sparse": sparse,
        "dense": dense,
    }
    agents = {name: Agent(replace(recipe, agent=agent)) for name, agent in kinds.items()}
    seconds = {name: [] for name in agents}
    for _ in range(options.rounds + 1):
        for name, agent in agents.items():
            seconds[name].append(agent.take(options.segments))
    steps = options.segments * recipe.training.environments * recipe.training.segment
    speed = {name: steps / median(taken[1:]) for name, taken in seconds.items()}
    show(
        f"Training an agent, {machine()}, one thread, medians of {options.rounds} rounds",
        ["agent", "parameters", "steps per CPU second", "against the LSTM"],
        [
            [name, f"{agents[name].parameters:,}", f"{found:,.0f}", f"{found / speed['LSTM']:.2f}"]
            for name, found in speed.items()
        ],
    )
