from dataclasses import replace

import pytest
import torch

from sparsemeta.streams import Rebinding, TrainingConfig, train
from sparsemeta.streams.bench import run, running
from tests.streams.bench.small import small

SPARSE = {"sparse": small().forms["sparse"]}


def bench(**changes):
    return small(forms=SPARSE, **changes)


def test_a_bench_is_gone_on_with(tmp_path, monkeypatch):
    first = run(bench(), seeds=1, folder=tmp_path)
    monkeypatch.setattr(running, "train", None)  # nothing is trained again
    assert run(bench(), seeds=1, folder=tmp_path) == first
    with pytest.raises(TypeError):
        run(bench(), seeds=2, folder=tmp_path)
    with pytest.raises(TypeError):  # other tests: what was kept no longer counts
        run(bench(), seeds=1, streams=2, folder=tmp_path)


def test_learning_rate_and_first_strength_are_chosen_once_on_validation(tmp_path, monkeypatch):
    trained = []

    def train(model, task, config, folder, progress):
        bias = model.memory.meta_learner.gates.bias
        trained.append((config.seed, config.learning_rate, round(bias.sigmoid().item(), 3)))

    scores = iter([0.3, 0.9, 0.5, 0.1])
    monkeypatch.setattr(running, "train", train)
    monkeypatch.setattr(running, "validate", lambda *_: [(None, next(scores))])
    grid = {"learning_rates": (1e-3, 1e-2), "rates": (0.5, 0.9)}
    found = run(bench(**grid), seeds=2, folder=tmp_path).seeds
    chosen = (1e-3, 0.9)
    assert trained[:4] == [(0, lr, rate) for lr in (1e-3, 1e-2) for rate in (0.5, 0.9)]
    assert trained[4:] == [(0, *chosen), (1, *chosen)]
    sparse = [seed["sparse"] for seed in found]
    assert [(s["learning_rate"], s["first_strength"]) for s in sparse] == [chosen, chosen]


def test_seeds_differ(tmp_path):
    one, two = run(bench(), seeds=2, folder=tmp_path).seeds
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
