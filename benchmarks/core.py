"""The core's speed as ratios in one run: fast forms against the loop, memory against none.

scripts/bench core [--rounds 5] [--threads 2]
"""

from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
import tyro
from timing import interleaved, show
from torch.nn.functional import cross_entropy, normalize

from sparsemeta.config import read_toml
from sparsemeta.lm.config import Recipe
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.ops import Address, Segment, scan

VOCABULARY = 4096


@dataclass
class Options:
    """Speed of the core."""

    rounds: int = 5
    """Timed rounds; the median is shown."""
    threads: int = 2
    """Threads that torch may use."""


def segment(time: int, slots: int, active: int = 8, width: int = 64) -> Segment:
    g = torch.Generator().manual_seed(0)
    shape = (1, time, 1, active)

    def address() -> Address:
        index = torch.randint(0, slots, shape, generator=g)
        return Address(index, normalize(torch.rand(shape, generator=g), dim=-1).requires_grad_())

    return Segment(
        address(),
        torch.randn(1, time, 1, width, generator=g).requires_grad_(),
        torch.rand(1, time, 1, generator=g).requires_grad_(),
        (-0.1 * torch.rand(1, time, 1, generator=g)).requires_grad_(),
        address(),
    )


def run_forward(inputs: Segment, slots: int, backend: str) -> None:
    with torch.no_grad():
        scan(inputs, slots=slots, backend=backend)


def run_both(inputs: Segment, slots: int, backend: str) -> None:
    read, final = scan(inputs, slots=slots, backend=backend)
    (read.sum() + final.sum()).backward()


def forms(options: Options) -> None:
    rows = []
    works = {"forward": run_forward, "forward + backward": run_both}
    for time, slots, name in product((512, 2048), (2**10, 2**14), works):
        call = partial(works[name], segment(time, slots), slots)
        backends = ("reference", "chunked", "native")
        seconds = interleaved({b: partial(call, b) for b in backends}, options.rounds)
        loop = seconds["reference"]
        rows.append(
            [
                f"{name}, T {time}, N {slots}",
                f"{loop * 1e3:.1f}",
                f"{loop / seconds['chunked']:.1f}x",
                f"{loop / seconds['native']:.1f}x",
            ]
        )
    show(
        f"scan, B 1, H 1, A 8, V 64, float32, {options.threads} threads, median of "
        f"{options.rounds}: speed against the token loop",
        ["", "loop, ms", "chunked", "native"],
        rows,
    )


def language_model(options: Options) -> None:
    rows = []
    recipes = {
        name: read_toml(f"recipes/{file}.toml", Recipe)
        for name, file in (("with memory", "demo"), ("without", "demo-static"))
    }
    training = recipes["with memory"].training
    tokens = torch.randint(0, VOCABULARY, (training.streams, training.segment + 1))
    models = {name: LanguageModel(recipe.model, VOCABULARY) for name, recipe in recipes.items()}
    with torch.no_grad():
        states = {
            name: {streams: model(tokens[:streams, :-1])[1] for streams in (1, training.streams)}
            for name, model in models.items()
        }

    def run(name, streams, length):  # on and on, as training and reading do
        state = states[name][streams]
        logits, state = models[name](tokens[:streams, :length], state, donate=True)
        states[name][streams] = state.detach()
        return logits

    def train(name):
        with torch.autocast("cpu", torch.bfloat16):
            logits = run(name, training.streams, training.segment)
        cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten()).backward()

    @torch.no_grad()
    def read(name):
        run(name, 1, training.segment)

    @torch.no_grad()
    def read_one(name):
        run(name, 1, 1)

    for label, work, count in (
        (f"training, {training.streams} x {training.segment}, bf16", train, training.streams),
        (f"reading, 1 x {training.segment}, float32", read, 1),
        ("reading one token, float32", read_one, 1 / training.segment),
    ):
        rounds = options.rounds * (20 if work is read_one else 1)
        seconds = interleaved({n: partial(work, n) for n in models}, rounds)
        speed = {n: count * training.segment / s for n, s in seconds.items()}
        rows.append(
            [
                label,
                f"{speed['with memory']:,.0f}",
                f"{speed['without']:,.0f}",
                f"{seconds['with memory'] / seconds['without']:.2f}",
            ]
        )
    show(
        f"demo model, tokens per second, {options.threads} threads, median of {options.rounds}",
        ["", "with memory", "without, equal size", "relative cost"],
        rows,
    )


if __name__ == "__main__":
    options = tyro.cli(Options)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    forms(options)
    language_model(options)
