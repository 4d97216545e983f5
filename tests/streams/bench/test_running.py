from dataclasses import replace

import pytest
import torch

from sparsemeta.run import Progress
from sparsemeta.streams import Rebinding
from sparsemeta.streams.bench import running
from sparsemeta.streams.bench.running import run
from sparsemeta.streams.training import TrainingConfig, train
from tests.streams.bench.small import small

SPARSE = {"sparse": small().forms["sparse"]}


def bench(**changes):
    made = small(forms=SPARSE, **changes)
    return lambda seed: made


def test_a_bench_is_gone_on_with(tmp_path, monkeypatch):
    quiet = Progress(quiet=True)
    first = run(bench(), 1, tmp_path, quiet)
    monkeypatch.setattr(running, "train", None)  # nothing is trained again
    assert run(bench(), 1, tmp_path, quiet) == first
    with pytest.raises(TypeError):
        run(bench(), 2, tmp_path, quiet)
    with pytest.raises(TypeError):  # other tests: what was kept no longer counts
        run(bench(streams=2), 1, tmp_path, quiet)


def test_learning_rate_and_first_strength_are_chosen_once_on_validation(tmp_path, monkeypatch):
    trained = []

    def train(model, task, config, folder, progress):
        bias = model.memory.meta_learner.gates.bias
        trained.append((config.seed, config.learning_rate, round(bias.sigmoid().item(), 3)))

    scores = iter([0.3, 0.9, 0.5, 0.1])
    monkeypatch.setattr(running, "train", train)
    monkeypatch.setattr(running, "validate", lambda *_: [(None, next(scores))])
    grid = {"learning_rates": (1e-3, 1e-2), "rates": (0.5, 0.9)}
    found = run(bench(**grid), 2, tmp_path, Progress(quiet=True))
    chosen = (1e-3, 0.9)
    assert trained[:4] == [(0, lr, rate) for lr in (1e-3, 1e-2) for rate in (0.5, 0.9)]
    assert trained[4:] == [(0, *chosen), (1, *chosen)]
    sparse = [seed["sparse"] for seed in found]
    assert [(s["learning_rate"], s["first_strength"]) for s in sparse] == [chosen, chosen]


def test_seeds_differ(tmp_path):
    one, two = run(bench(), 2, tmp_path, Progress(quiet=True))
    assert one["sparse"]["scores"] != two["sparse"]["scores"]
    assert one["last-label"]["scores"] != two["last-label"]["scores"]
    assert torch.tensor([seed["last-label"]["scores"]["M = 8"] for seed in (one, two)]).min() > 0.7


def test_seeds_are_trained_on_streams_of_their_own(tmp_path):
    inputs = []

    class Recorded(Rebinding):
        def sample(self, batch, generator):
            inputs.append(super().sample(batch, generator).input)
            return super().sample(batch, generator)

    task = Recorded(cues=4, labels=4, width=8, length=16)
    config = TrainingConfig(steps=1, batch=1)
    for seed in (0, 1):
        model = small().network.build(SPARSE["sparse"], 0.5)
        train(model, task, replace(config, seed=seed), tmp_path / str(seed))
    assert not torch.equal(*inputs)
