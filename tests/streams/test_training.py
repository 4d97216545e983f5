"""Meta-training: it learns to learn, and may be stopped at any time."""

import json

import pytest
import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import CheckpointError, ConfigError, TrainingError
from sparsemeta.nn.stream_learner import StreamLearner
from sparsemeta.run import Interrupted, Progress
from sparsemeta.streams import Rebinding, score
from sparsemeta.streams.learners import LSTMMemory
from sparsemeta.streams.training import TrainingConfig, train
from tests.streams.tasks import SMALL, seeded

CONFIG = TrainingConfig(steps=5, batch=4, segment=16, warmup=2, checkpoint_every=2)


def learner(task, slots=32):
    torch.manual_seed(0)
    memory = MemoryConfig(slots=slots, active=4, heads=1, key_width=8, value_width=8)
    kind = "values" if task is SMALL["sine"] else "labels"
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(task.input_shape[0], 8))
    return StreamLearner(8, memory, task.outputs, kind=kind, encoder=encoder)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_it_learns_to_learn(tmp_path):
    task = Rebinding(cues=8, labels=4, width=8, noise=0.1, hazard=0.02, length=64)
    config = TrainingConfig(steps=30, batch=8, segment=64, warmup=3, learning_rate=1e-2)
    model, stream = learner(task, slots=128), task.sample(16, seeded(99))
    train(model, task, config, tmp_path)
    with torch.no_grad():
        logits, _ = model(stream.input, stream.feedback, stream.taught)
    assert score(stream, logits.argmax(-1)).mean() > 0.7  # chance is 0.25
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 31))
    assert records[-1]["loss"] < 0.7 * records[0]["loss"]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("recurrent", [False, True])
def test_every_task_trains_every_kind_of_memory(tmp_path, name, recurrent):
    model = learner(SMALL[name])
    if recurrent:
        model.memory = LSTMMemory(8, hidden=4)
    before = weights(model)
    train(model, SMALL[name], CONFIG, tmp_path)
    assert weights(model).isfinite().all()
    assert not torch.equal(weights(model), before)


def test_stopped_and_resumed_is_never_stopped(tmp_path, monkeypatch):
    task = SMALL["rebinding"]
    whole, stopped, resumed = (learner(task) for _ in range(3))
    train(whole, task, CONFIG, tmp_path / "whole")

    class Stop(Progress):
        def advance(self, step, status):
            if step == 3:
                import signal

                signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="Stopped after step 3 of 5; saved in"):
        train(stopped, task, CONFIG, tmp_path / "run", progress=Stop(quiet=True))
    torch.manual_seed(5)
    train(resumed, task, CONFIG, tmp_path / "run")
    assert torch.equal(weights(whole), weights(resumed))
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "run")]
    losses = [[json.loads(line)["loss"] for line in log] for log in logs]
    assert losses[0] == losses[1]
    again = learner(task)
    train(again, task, CONFIG, tmp_path / "run")  # nothing is left to do
    assert torch.equal(weights(whole), weights(again))


def test_another_seed_draws_other_streams(tmp_path):
    one, other = learner(SMALL["sine"]), learner(SMALL["sine"])
    train(one, SMALL["sine"], CONFIG, tmp_path / "0")
    train(other, SMALL["sine"], TrainingConfig(steps=5, batch=4, seed=1), tmp_path / "1")
    assert not torch.equal(weights(one), weights(other))


def test_a_run_of_something_else_is_refused(tmp_path):
    task = SMALL["rebinding"]
    train(learner(task), task, CONFIG, tmp_path)
    with pytest.raises(ConfigError, match=r"training\.steps \(was 5, now 6\)"):
        train(learner(task), task, TrainingConfig(steps=6), tmp_path)
    with pytest.raises(CheckpointError, match="of another model"):
        train(learner(task, slots=64), task, CONFIG, tmp_path)
    (tmp_path / "checkpoints" / "step-000005" / "training.json").write_text("{")
    with pytest.raises(CheckpointError, match="from a copy, or train the model again"):
        train(learner(task), task, CONFIG, tmp_path)


def test_a_loss_that_is_not_finite_stops_it(tmp_path):
    model = learner(SMALL["sine"])
    torch.nn.init.constant_(model.head.embed.weight, torch.nan)
    with pytest.raises(TrainingError, match="step 1: the loss is nan"):
        train(model, SMALL["sine"], CONFIG, tmp_path)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match=r"training\.segment = 0 must be at least 1"):
        TrainingConfig(segment=0)
