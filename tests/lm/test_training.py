import dataclasses
import io
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from safetensors.torch import load_file

from sparsemeta.config import MemoryConfig, read_toml, write_toml
from sparsemeta.engine import Interrupted, Progress, newest, step_folders
from sparsemeta.errors import CheckpointError, ConfigError, CorpusError, TrainingError
from sparsemeta.lm import training
from sparsemeta.lm.checkpoint import load_model
from sparsemeta.lm.config import CorpusConfig, ModelConfig, Recipe, TokenizerConfig, TrainingConfig
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.session import parameter_groups, read_text, set_up
from sparsemeta.lm.training import learning_rate, take_step, train

MODEL = ModelConfig(
    layers=2,
    width=16,
    heads=2,
    window=8,
    mlp_width=16,
    memory_layers=(1,),
    memory=MemoryConfig(slots=16, active=2, heads=1, key_width=8, value_width=8),
)


@pytest.fixture
def recipe(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{n} is {n % 7} and {n % 5}.\n" for n in range(200)))
    return Recipe(
        corpus=CorpusConfig(train=(str(text),)),
        tokenizer=TokenizerConfig(kind="bytes"),
        model=MODEL,
        training=TrainingConfig(
            steps=12,
            streams=2,
            segment=16,
            learning_rate=1e-2,
            warmup=3,
            precision="32-true",
            checkpoint_every=5,
        ),
    )


def changed(recipe, part="training", **values):
    part_changed = dataclasses.replace(getattr(recipe, part), **values)
    return dataclasses.replace(recipe, **{part: part_changed})


class Signal(Progress):
    """Sends a signal to this process when a step is done."""

    def __init__(self, step, number):
        super().__init__(quiet=True)
        self.at = (step, number)

    def update(self, step, loss, tokens):
        if step == self.at[0]:
            signal.raise_signal(self.at[1])


def records(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def assert_same_run(one, other):
    for name in ("model.safetensors", "training.safetensors"):
        tensors = load_file(newest(one / "checkpoints") / name)
        others = load_file(newest(other / "checkpoints") / name)
        assert tensors.keys() == others.keys()
        for key, value in tensors.items():
            assert value.dtype == others[key].dtype
            assert torch.equal(value, others[key]), key
    timed = ("seconds", "tokens_per_second")
    logs = [[{k: r[k] for k in r if k not in timed} for r in records(run)] for run in (one, other)]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_stopped_and_resumed_equals_uninterrupted(recipe, tmp_path, precision):
    recipe = changed(recipe, precision=precision)
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


SLOW_TRAINING = """
    import sys, time
    import torch
    from sparsemeta.config import read_toml
    from sparsemeta.engine import Progress
    from sparsemeta.lm.config import Recipe
    from sparsemeta.lm.training import train

    class Slow(Progress):
        def update(self, step, loss, tokens):
            time.sleep(0.1)

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train(read_toml(sys.argv[1], Recipe), sys.argv[2], progress=Slow(quiet=True))
"""


def test_a_killed_run_is_resumed_exactly(recipe, tmp_path):
    recipe = changed(recipe, steps=40, checkpoint_every=4)
    script, file, run = tmp_path / "slow.py", tmp_path / "recipe.toml", tmp_path / "killed"
    script.write_text(textwrap.dedent(SLOW_TRAINING))
    write_toml(file, recipe)
    process = subprocess.Popen([sys.executable, script, file, run], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while newest(run / "checkpoints") is None and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.01)
    time.sleep(0.05)
    process.kill()
    process.communicate()
    assert newest(run / "checkpoints").name < "step-000040"
    train(recipe, run)
    train(recipe, tmp_path / "whole")
    assert_same_run(run, tmp_path / "whole")
    assert [r["step"] for r in records(run)] == list(range(1, 41))


def test_the_loss_falls_and_the_log_says_so(recipe, tmp_path, capfd):
    recipe = changed(recipe, steps=60, checkpoint_every=100)
    folder = train(recipe, tmp_path / "run")
    log = records(tmp_path / "run")
    assert log[0]["loss"] == pytest.approx(math.log(257), abs=0.7)
    assert log[-1]["loss"] < 0.75 * log[0]["loss"]
    assert [r["tokens"] for r in log] == [32 * step for step in range(1, 61)]
    assert log[9]["learning_rate"] == learning_rate(10, recipe.training)
    assert log[-1]["seconds"] > log[0]["seconds"] > 0
    assert all(r["grad_norm"] > 0 and r["tokens_per_second"] > 0 for r in log)
    assert read_toml(tmp_path / "run/recipe.toml", Recipe) == recipe
    assert load_model(tmp_path / "run")[0].config == load_model(folder)[0].config == MODEL
    assert capfd.readouterr() == ("", "")


def begun(recipe, run):
    """A session before its first step."""
    quiet = Progress(quiet=True)
    return set_up(recipe, run, read_text(recipe, quiet), progress=quiet)


def test_the_state_is_carried_without_its_gradient(recipe, tmp_path):
    session = begun(recipe, tmp_path / "run")
    take_step(session)
    carried = session.state
    assert not any(tensor.requires_grad for tensor in carried.tensors().values())
    seen = []
    forward = session.forward
    session.forward = lambda tokens, state, **options: (
        seen.append(state) or forward(tokens, state, **options)
    )
    take_step(session)
    assert seen == [carried]
    (layer,) = session.state.memory.layers.values()
    assert layer.steps.tolist() == [32, 32]


def test_weight_decay_is_for_matrices_that_are_not_embeddings():
    model = LanguageModel(MODEL, 257)
    decayed, others = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    inside = {id(p) for p in decayed["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in inside) == (parameter.ndim >= 2 and name != "embedding.weight")
    assert len(decayed["params"]) + len(others["params"]) == len(list(model.parameters()))


def test_the_learning_rate_warms_up_and_decays_to_its_final_value():
    config = TrainingConfig(steps=110, warmup=10, learning_rate=2.0, final_rate=0.1)
    rates = [learning_rate(step, config) for step in range(1, 111)]
    assert rates[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert rates[59] == pytest.approx(1.1)  # half-way down the cosine
    assert rates[-1] == pytest.approx(0.2)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[9:]))
    assert learning_rate(1, TrainingConfig(warmup=0, steps=1)) == pytest.approx(2e-4)
    assert learning_rate(5, TrainingConfig(warmup=5, steps=5)) == 2e-3


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    recipe, tmp_path, monkeypatch, broken
):
    def cross_entropy(*arguments):
        loss = torch.nn.functional.cross_entropy(*arguments)
        return loss * math.nan if broken == "loss" else (loss * 0).sqrt()

    with pytest.raises(Interrupted):
        train(recipe, tmp_path, progress=Signal(7, signal.SIGINT))
    good = newest(tmp_path / "checkpoints")
    before = {path: path.read_bytes() for path in good.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(training, "cross_entropy", cross_entropy)
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
