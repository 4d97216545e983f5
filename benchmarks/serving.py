"""What serving many at once is worth: tokens per CPU second of the engine, without HTTP.

scripts/bench serving MODEL [--rounds 3]

Every user has a memory of what he read before. Alternatives take turns; CPU time is of one thread.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
import tyro
from timing import machine, show

from sparsemeta import memory_off
from sparsemeta.lm import LanguageModel, Sampling, Tokenizer, load_model
from sparsemeta.serve.engine import Event, Finished, Snapshot, Task, Wrote, empty
from sparsemeta.serve.engine.scheduler import Scheduler


@dataclass
class Options:
    """What serving many at once is worth."""

    model: tyro.conf.Positional[Path]
    """A model folder, or the folder of a run."""
    rounds: int = 3
    """Timed rounds; the median is shown."""
    read: int = 256
    """Tokens that each user's memory has read before."""
    write: int = 48
    """Tokens that each user lets it write."""
    prompt: int = 32
    """Tokens of a prompt, where prompts are read together."""
    long: int = 100_000
    """Tokens of the reader beside chats; the gaps are of the time that the chats take."""


class Users:
    """Users of one model, whose streams stand where they have read something each."""

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, options: Options):
        self.model, self.tokenizer, self.options = model, tokenizer, options
        self._random = np.random.default_rng(0)
        nothing = Snapshot(model.begin(empty(model)))
        self.began = [self._read(nothing) for _ in range(8)]

    def tokens(self, many: int) -> np.ndarray:
        """Some that no separator is among, the frequent ones most often."""
        most = self.tokenizer.separator or self.tokenizer.vocab_size
        return (self._random.pareto(1.0, many) * 20 + 2).astype(np.int64) % (most - 1) + 1

    def _read(self, begin: Snapshot) -> Snapshot:
        task = Task(begin, self.tokens(self.options.read))
        ((event, _),) = [e for e in self.run([task]) if isinstance(e[0], Finished)]
        assert isinstance(event, Finished)
        return event.after

    def run(self, tasks: Sequence[Task]) -> list[tuple[Event, float]]:
        """All that is told, and the CPU second it was told at."""
        scheduler, told = Scheduler(self.model, self.tokenizer), []
        for task in tasks:
            scheduler.add(task)
        while not scheduler.idle and not all(task.cancelled for task in tasks):
            for _, event in scheduler.turn():
                if isinstance(event, Exception):
                    raise event
                told.append((event, time.process_time()))
        return told

    def writers(self, many: int, write: int = 0) -> list[Task]:
        """Users who let it write, from one token each."""
        sampling = Sampling(tokens=write or self.options.write, seed=0)
        return [
            Task(self.began[i % len(self.began)], self.tokens(1), sampling) for i in range(many)
        ]

    def seconds(self, tasks: Sequence[Task]) -> float:
        """CPU seconds that tasks take together."""
        began = time.process_time()
        self.run(tasks)
        return time.process_time() - began


def decoding(users: Users) -> list[list[str]]:
    """Tokens written per CPU second by 1, 8 and 64 users at once, with and without memory."""
    write, rounds, rows = users.options.write, users.options.rounds, []
    taken: dict[tuple[int, bool], list[float]] = {}
    for _ in range(rounds):
        for many in (1, 8, 64):
            taken.setdefault((many, True), []).append(users.seconds(users.writers(many)))
            with memory_off(users.model):
                taken.setdefault((many, False), []).append(users.seconds(users.writers(many)))
    one = write / median(taken[1, True])
    for many in (1, 8, 64):
        speed, cost = many * write / median(taken[many, True]), median(taken[many, True])
        ratio = cost / median(taken[many, False])
        rows.append([str(many), f"{speed:,.0f}", f"{speed / one:.1f}", f"{ratio:.2f}"])
    return rows


def prompts(users: Users) -> float:
    """How many times as fast 32 short prompts are read together, as one after the other."""

    def asked() -> list[Task]:
        some = [users.tokens(users.options.prompt) for _ in range(32)]
        return [Task(users.began[i % 8], tokens) for i, tokens in enumerate(some)]

    together, alone = [], []
    for _ in range(users.options.rounds):
        together.append(users.seconds(asked()))
        alone.append(sum(users.seconds([task]) for task in asked()))
    return median(alone) / median(together)


def gaps(users: Users, *, beside: bool) -> float:
    """The 99th percentile of CPU ms between two tokens of each of 8 chats."""
    chats = users.writers(8, write=200)
    long = [Task(users.began[0], users.tokens(users.options.long))] if beside else []
    scheduler, last, found = Scheduler(users.model, users.tokenizer), {}, []
    for task in [*chats, *long]:
        scheduler.add(task)
    left = set(chats)
    while left:
        for task, event in scheduler.turn():
            now = time.process_time()
            if isinstance(event, Wrote):
                if task in last:
                    found.append(now - last[task])
                last[task] = now
            elif isinstance(event, Finished):
                left.discard(task)
    return float(np.quantile(found, 0.99)) * 1000


if __name__ == "__main__":
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    users = Users(*load_model(options.model), options)
    print(machine())
    header = ["users", "tokens / CPU s", "of one user's", "with memory / without"]
    show(f"writing {options.write} tokens each, one thread", header, decoding(users))
    print(
        f"32 prompts of {options.prompt} tokens read together: {prompts(users):.2f} times as fast"
    )
    without, beside = gaps(users, beside=False), gaps(users, beside=True)
    print(
        f"p99 between tokens of 8 chats: {without:.1f} ms of CPU; beside a reader of "
        f"{options.long:,} tokens {beside:.1f} ms, {beside / without:.2f} times"
    )
