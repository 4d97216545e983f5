import copy
import io
import itertools
import json
import math
import os
import resource
import signal
import sys

import pytest
import torch

from sparsemeta.config import read_toml
from sparsemeta.errors import CheckpointError, ConfigError, CorpusError, MissingExtra, TrainingError
from sparsemeta.lm import modelling
from sparsemeta.lm.checkpoint import load_model
from sparsemeta.lm.config import Recipe, TrainingConfig
from sparsemeta.lm.loss import own_losses
from sparsemeta.lm.training import train
from sparsemeta.nn import usage_losses
from sparsemeta.run import Interrupted, Progress, newest, step_folders
from tests.lm.runs import MODEL, Signal, assert_same_run, begun, changed, records
from tests.tiny import OUTPUT, assert_same_state

every_kind = pytest.mark.parametrize("output", [(), OUTPUT], ids=["hidden", "every"])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@every_kind
def test_stopped_and_resumed_equals_uninterrupted(recipe, tmp_path, output, precision):
    recipe = changed(changed(recipe, precision=precision, emptied=0.3), "model", output=output)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    folder = train(recipe, whole)
    assert folder == whole / "checkpoints/step-000012"
    for step, number in ((3, signal.SIGTERM), (5, signal.SIGINT), (6, signal.SIGINT)):
        with pytest.raises(Interrupted, match=f"Stopped after step {step} of 12; saved in"):
            train(recipe, parts, progress=Signal(step, number))
        assert records(parts)[-1]["step"] == step
    train(recipe, parts)
    assert_same_run(whole, parts)


def test_a_model_without_memory_trains_and_resumes_too(recipe, tmp_path):
    recipe = changed(recipe, "model", memory_layers=(), window=1)
    train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "parts", progress=Signal(4, signal.SIGINT))
    train(recipe, tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_what_blocks_compute_again_changes_no_weight(recipe, tmp_path):
    train(recipe, tmp_path / "kept")
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "again", progress=Signal(4, signal.SIGINT))
    train(changed(recipe, recompute=True), tmp_path / "again")  # also in the middle of a run
    assert begun(changed(recipe, recompute=True), tmp_path / "other").model.recompute
    assert_same_run(tmp_path / "kept", tmp_path / "again")


def test_the_loss_falls_and_the_log_says_so(recipe, tmp_path, capfd):
    recipe = changed(recipe, steps=60, checkpoint_every=100)
    folder = train(recipe, tmp_path / "run")
    log = records(tmp_path / "run")
    assert log[0]["loss"] == pytest.approx(math.log(257), abs=0.7)
    assert log[-1]["loss"] < 0.75 * log[0]["loss"]
    assert [r["tokens"] for r in log] == [32 * step for step in range(1, 61)]
    assert log[9]["learning_rate"] == recipe.training.rate(9)
    assert log[-1]["seconds"] > log[0]["seconds"] > 0
    assert all(r["grad_norm"] > 0 and r["tokens_per_second"] > 0 for r in log)
    assert read_toml(tmp_path / "run/recipe.toml", Recipe) == recipe
    assert load_model(tmp_path / "run")[0].config == load_model(folder)[0].config == MODEL
    assert capfd.readouterr() == ("", "")


def test_the_state_is_carried_without_its_gradient(recipe, tmp_path):
    session = begun(recipe, tmp_path / "run")
    session.take_step()
    carried = session.state
    assert not any(tensor.requires_grad for tensor in carried.tensors().values())
    seen = []
    forward = session.forward
    session.forward = lambda tokens, state, **options: (
        seen.append(state) or forward(tokens, state, **options)
    )
    session.take_step()
    assert seen == [carried]
    (layer,) = session.state.memory.layers.values()
    assert layer.steps.tolist() == [32, 32]


@every_kind
def test_memories_are_emptied_by_chance_before_a_segment(recipe, tmp_path, output):
    recipe = changed(changed(recipe, emptied=0.5, streams=8), "model", output=output)
    session, emptied = begun(recipe, tmp_path / "run"), []
    forward = session.forward
    session.forward = lambda tokens, state, **options: (
        emptied.append(options["reset"]) or forward(tokens, state, **options)
    )
    read = torch.zeros(8, dtype=torch.int64)
    for _ in range(4):
        session.take_step()
        assert not emptied[-1][:, 1:].any()
        read = read.where(~emptied[-1][:, 0], 0) + 16
        for name, layer in session.state.memory.layers.items():
            first = int(name == "tables.cache")  # no state came before it
            assert torch.equal(layer.steps, read - first)
    assert 4 < torch.stack(emptied).sum() < 28


@every_kind
def test_a_step_of_many_segments_has_the_mean_of_their_gradients(recipe, tmp_path, output):
    recipe = changed(changed(recipe, accumulate=4), "model", output=output)
    session = begun(recipe, tmp_path / "run")
    model, streams = copy.deepcopy(session.model), copy.deepcopy(session.streams)
    losses, gradients, state = [], [], None
    for _ in range(4):
        batch = streams.next_batch()
        with own_losses(model.head, batch.targets) as found:
            log_p, state = model(batch.tokens, state, targets=batch.targets)
        own = found if output else []
        loss = -log_p.mean()
        gradients.append(torch.autograd.grad(loss + sum(own), list(model.parameters())))
        losses.append(loss.detach())
        state = state.detach()
    assert torch.equal(session.add_gradients(), torch.stack(losses).mean())
    for parameter, *found in zip(session.model.parameters(), *gradients, strict=True):
        assert torch.equal(parameter.grad, sum(found) / 4)
    assert session.streams.position == streams.position == 64
    assert_same_state(session.state, state, rtol=0, atol=0)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_usage_loss_joins_the_gradient_and_not_the_log(recipe, tmp_path, recompute):
    weighted = changed(recipe, accumulate=2, usage_weight=0.5)
    session = begun(weighted, tmp_path / "run")
    model, streams = copy.deepcopy(session.model), copy.deepcopy(session.streams)
    session.model.recompute = recompute
    losses, gradients, state = [], [], None
    for _ in range(2):
        batch = streams.next_batch()
        with usage_losses(model) as uneven:
            log_p, state = model(batch.tokens, state, targets=batch.targets)
        loss = -log_p.mean()
        total = loss + 0.5 * uneven[0]
        gradients.append(torch.autograd.grad(total, list(model.parameters())))
        losses.append(loss.detach())
        state = state.detach()
    assert torch.equal(session.add_gradients(), torch.stack(losses).mean())
    for parameter, *found in zip(session.model.parameters(), *gradients, strict=True):
        torch.testing.assert_close(parameter.grad, sum(found) / 2)
    keys = session.model.get_parameter("blocks.1.memory.addressing.keys")
    assert keys.grad.any()  # W_o = 0: by nothing else


def test_steps_of_many_segments_are_stopped_and_resumed_exactly(recipe, tmp_path):
    recipe = changed(recipe, accumulate=3, steps=6)
    train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "parts", progress=Signal(2, signal.SIGINT))
    train(recipe, tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert [r["tokens"] for r in records(tmp_path / "whole")] == [96 * n for n in range(1, 7)]


def test_one_run_at_a_time_trains_in_a_folder(recipe, tmp_path):
    class Second(Progress):
        def advance(self, step, status):
            with pytest.raises(TrainingError, match=f"process {os.getpid()} is training there"):
                train(recipe, tmp_path)

    train(changed(recipe, steps=1), tmp_path, progress=Second(quiet=True))


def test_a_full_disk_is_said_and_costs_no_checkpoint(recipe, tmp_path):
    train(changed(recipe, steps=6), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.glob("checkpoints/*/*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(CheckpointError) as error:
            train(recipe, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for part in ("step-000010: cannot be written (", "step-000006 is whole", "Make room"):
        assert part in str(error.value)
    assert {path: path.read_bytes() for path in tmp_path.glob("checkpoints/*/*")} == before
    assert train(recipe, tmp_path).name == "step-000012"


def test_tensorboard_shows_what_the_log_holds(recipe, tmp_path, monkeypatch):
    recipe = changed(recipe, tensorboard=True, steps=3)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch.utils.tensorboard", None)
        with pytest.raises(MissingExtra, match=r"sparsemeta\[tensorboard\]"):
            train(recipe, tmp_path)
    pytest.importorskip("tensorboard")
    train(recipe, tmp_path)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_the_learning_rate_warms_up_and_decays_to_its_final_value():
    config = TrainingConfig(steps=110, warmup=10, learning_rate=2.0, final_rate=0.1)
    rates = [config.rate(step) for step in range(110)]
    assert rates[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert rates[59] == pytest.approx(1.1)  # half-way down the cosine
    assert rates[-1] == pytest.approx(0.2)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[9:]))
    assert TrainingConfig(warmup=0, steps=1).rate(0) == pytest.approx(2e-4)
    assert TrainingConfig(warmup=5, steps=5).rate(4) == 2e-3


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    recipe, tmp_path, monkeypatch, broken
):
    def log_p(logits, targets):
        loss = logits.log_softmax(-1).gather(-1, targets[..., None])
        return loss * math.nan if broken == "loss" else (loss * 0).sqrt()

    with pytest.raises(Interrupted):
        train(recipe, tmp_path, progress=Signal(7, signal.SIGINT))
    good = newest(tmp_path / "checkpoints")
    before = {path: path.read_bytes() for path in good.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(modelling, "log_p", log_p)
        with pytest.raises(TrainingError) as error:
            train(recipe, tmp_path)
    for part in ("step 8: ", "nan", str(good), "--training.learning-rate 0.005", "--restart"):
        assert part in str(error.value)
    assert newest(tmp_path / "checkpoints") == good
    assert {path: path.read_bytes() for path in good.iterdir()} == before
    assert records(tmp_path)[-1]["step"] == 7
    assert train(recipe, tmp_path).name == "step-000012"


def test_a_checkpoint_cut_in_half_is_refused_until_it_is_deleted(recipe, tmp_path):
    train(recipe, tmp_path / "run")
    train(recipe, tmp_path / "whole")
    older, newer = step_folders(tmp_path / "run/checkpoints")
    for name in ("model.safetensors", "training.safetensors"):
        os.truncate(newer / name, (newer / name).stat().st_size // 2)
        with pytest.raises(CheckpointError) as error:
            train(recipe, tmp_path / "run")
        assert f"Delete {newer}: then the checkpoint at {older} will be used" in str(error.value)
    for path in newer.iterdir():
        path.unlink()
    newer.rmdir()
    train(recipe, tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_only_steps_and_checkpoint_every_may_change_on_resume(recipe, tmp_path):
    train(recipe, tmp_path)
    other = changed(changed(recipe, segment=8, steps=14), "model", memory_layers=(0,))
    with pytest.raises(ConfigError) as error:
        train(other, tmp_path)
    for part in ("model.memory_layers (was [1], now [0])", "training.segment (was 16, now 8)"):
        assert part in str(error.value)
    assert "training.steps" not in str(error.value)
    assert "--restart" in str(error.value)
    longer = changed(recipe, steps=14, checkpoint_every=7)
    assert train(longer, tmp_path).name == "step-000014"
    assert read_toml(tmp_path / "recipe.toml", Recipe) == longer
    with pytest.raises(ConfigError, match=r"training\.steps = 12, but .* is already past that"):
        train(recipe, tmp_path)


def test_a_run_from_before_a_setting_existed_goes_on_with_its_default(recipe, tmp_path):
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run", progress=Signal(4, signal.SIGINT))
    file = newest(tmp_path / "run/checkpoints") / "training.json"
    saved = json.loads(file.read_text())
    assert saved["recipe"]["training"].pop("usage_weight") == 0
    file.write_text(json.dumps(saved))
    (file.parent / "digests.json").unlink()
    with pytest.raises(ConfigError, match=r"usage_weight \(was 0.0, now 0.5\)"):
        train(changed(recipe, usage_weight=0.5), tmp_path / "run")
    assert train(recipe, tmp_path / "run").name == "step-000012"


def test_a_finished_run_is_left_alone(recipe, tmp_path):
    folder = train(recipe, tmp_path)

    def times():
        found = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        return {path: time for path, time in found.items() if not path.name.startswith(".lock")}

    before = times()
    assert train(recipe, tmp_path) == folder
    assert times() == before


def test_beginning_anew_forgets_the_old_run(recipe, tmp_path):
    train(recipe, tmp_path)
    shorter = changed(recipe, steps=2, seed=1)
    assert train(shorter, tmp_path, resume=False).name == "step-000002"
    assert [path.name for path in step_folders(tmp_path / "checkpoints")] == ["step-000002"]
    assert [r["step"] for r in records(tmp_path)] == [1, 2]


def test_bad_settings_do_not_cost_the_old_run(recipe, tmp_path):
    train(recipe, tmp_path)
    with pytest.raises(CorpusError, match="10000 tokens need"):
        train(changed(recipe, segment=10_000), tmp_path, resume=False)
    assert newest(tmp_path / "checkpoints").name == "step-000012"


def test_other_text_is_refused_on_resume(recipe, tmp_path):
    train(recipe, tmp_path / "run")
    (tmp_path / "text.txt").write_text("another text " * 400)
    with pytest.raises(CorpusError, match=r"text\.txt: changed since"):
        train(changed(recipe, steps=20), tmp_path / "run")


def test_progress_tells_what_goes_on(recipe, tmp_path):
    stream = io.StringIO()
    train(recipe, tmp_path / "run", progress=Progress(stream=stream))
    assert "text.txt" in stream.getvalue()
    assert "1 document, " in stream.getvalue()
    assert "step 12/12" in stream.getvalue()
