import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from sparsemeta.engine import (
    Engine,
    JsonlLog,
    Progress,
    newest,
    optimizer_tensors,
    prune,
    restore_optimizer,
    signals_deferred,
    step_folders,
    write_folder,
)
from sparsemeta.errors import CheckpointError, MissingExtra


@dataclasses.dataclass(frozen=True)
class State:
    total: torch.Tensor
    count: torch.Tensor


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x, state):
        y = self.layer(x)
        return y, State(state.total + y.sum().double(), state.count + 1)


@pytest.fixture
def state():
    return State(torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.int64))


def engine(precision="32-true"):
    return Engine(precision=precision, devices=1)


def test_precision_decides_the_forward_pass_and_leaves_the_state_alone(state):
    for precision, expected in (("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)):
        model = Recurrent()
        forward = engine(precision).setup(model, torch.optim.SGD(model.parameters(), lr=1.0))
        y, after = forward(torch.ones(1, 3), state)
        assert y.dtype == expected
        assert model.layer.weight.dtype == torch.float32
        assert after.total.dtype == torch.float64
        assert after.count.dtype == torch.int64
        assert after.count == 1


def test_step_uses_the_clipped_gradient_and_forgets_it(state):
    model, under = Recurrent(), engine()
    forward = under.setup(model, torch.optim.SGD(model.parameters(), lr=1.0))
    before = model.layer.bias.detach().clone()
    y, _ = forward(torch.zeros(1, 3), state)
    under.backward((y * torch.tensor([3.0, 4.0])).sum())
    assert under.clip_gradients(1.0) == pytest.approx(5.0)
    under.step()
    moved = (before - model.layer.bias).tolist()
    assert moved == pytest.approx([0.6, 0.8], abs=1e-5)
    assert model.layer.bias.grad is None


def test_the_seed_decides_the_random_numbers():
    draws = []
    for seed in (1, 1, 2):
        Engine(precision="32-true", devices=1, seed=seed)
        draws.append(torch.rand(()).item())
    assert draws[0] == draws[1] != draws[2]


def test_is_main_and_silent(capfd):
    under = engine("bf16-mixed")
    assert under.is_main
    assert under.device.type in ("cpu", "cuda")
    assert capfd.readouterr() == ("", "")


def test_without_fabric_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtra, match=r"sparsemeta\[lm\]"):
        engine()


def adam(width=3):
    model = nn.Linear(width, 2)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def test_optimizer_goes_on_exactly_from_its_tensors():
    model, optimizer = adam()
    other, restored = adam()
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
    other.load_state_dict(model.state_dict())
    copies = {name: value.clone() for name, value in optimizer_tensors(optimizer).items()}
    restore_optimizer(restored, copies)
    for each, its in ((model, optimizer), (other, restored)):
        its.zero_grad()
        each(torch.ones(1, 3)).square().sum().backward()
        its.step()
    assert torch.equal(model.weight, other.weight)


def test_optimizer_refuses_the_tensors_of_another_model():
    model, optimizer = adam()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    with pytest.raises(CheckpointError, match=r"0\.exp_avg has shape \(2, 3\).*needs \(2, 4\)"):
        restore_optimizer(adam(width=4)[1], optimizer_tensors(optimizer))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_write_folder_replaces_the_whole_folder(tmp_path):
    path = tmp_path / "runs" / "model"
    with write_folder(path) as aside:
        (aside / "a").write_text("1")
    with write_folder(path) as aside:
        (aside / "b").write_text("2")
        assert contents(path) == {"a": "1"}
    assert contents(path) == {"b": "2"}
    assert os.listdir(path.parent) == ["model"]


def test_write_folder_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "model"
    with write_folder(path) as aside:
        (aside / "a").write_text("1")

    def interrupted():
        with write_folder(path) as aside:
            (aside / "a").write_text("2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert contents(tmp_path) == {"model/a": "1"}


def test_write_folder_first_brings_back_what_a_kill_put_aside(tmp_path):
    path = tmp_path / "model"
    with write_folder(path) as aside:
        (aside / "a").write_text("1")
    path.rename(tmp_path / ".model.old")
    with write_folder(path):
        assert contents(path) == {"a": "1"}


KILLED_EVERYWHERE = """
    import os, shutil, sys
    from pathlib import Path
    from sparsemeta import engine

    os.fsync = lambda handle: None  # a killed process, unlike a power cut, does not need it

    def write(path, text):
        with engine.write_folder(path) as aside:
            (aside / "a").write_text(text)
            (aside / "b").write_text(text)

    def replace(root):
        write(root / "model", "new")

    def discard(root):
        engine.prune(root / "steps", keep=1)

    def killed_at_line(number, work, root):
        lines = 0
        def count(frame, event, _):
            nonlocal lines
            if frame.f_code.co_filename not in (engine.__file__, shutil.__file__, __file__):
                return None
            lines += event == "line"
            if lines == number:
                os._exit(9)
            return count
        child = os.fork()
        if child == 0:
            sys.settrace(count)
            work(root)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    def read(path):
        return {(p.name, p.read_text()) for p in path.iterdir()}

    whole = {text: {("a", text), ("b", text)} for text in ("old", "new", "newer")}
    for work in (replace, discard):
        number, seen = 1, set()
        while True:
            root = Path(sys.argv[1]) / f"{work.__name__}-{number}"
            for path in (root / "model", root / "steps/step-1", root / "steps/step-2"):
                write(path, "old")
            if not killed_at_line(number, work, root):
                break
            engine.settle(root / "model")
            after = read(root / "model")
            assert after in (whole["old"], whole["new"]), (number, after)
            for path in engine.step_folders(root / "steps"):
                assert read(path) == whole["old"], (number, path)
            seen.add((("a", "new") in after, len(engine.step_folders(root / "steps"))))
            write(root / "model", "newer")
            engine.prune(root / "steps", keep=1)
            assert read(root / "model") == whole["newer"]
            assert os.listdir(root / "steps") == ["step-2"]
            assert sorted(os.listdir(root)) == ["model", "steps"], number
            number += 1
        assert len(seen) == 2, seen  # killed both before and after the change took effect
    print("survived")
"""


def test_a_kill_at_any_line_leaves_whole_folders(tmp_path):
    script = tmp_path / "kill.py"
    script.write_text(textwrap.dedent(KILLED_EVERYWHERE))
    done = subprocess.run(
        [sys.executable, script, tmp_path / "data"], capture_output=True, text=True
    )
    assert done.stdout == "survived\n", done.stderr


def test_checkpoints_are_ordered_by_step_and_pruned(tmp_path):
    assert newest(tmp_path / "absent") is None
    for name in ("step-999999", "step-1000000", "step-000002", "step-x", ".step-000003.part"):
        (tmp_path / name).mkdir()
    assert newest(tmp_path) == tmp_path / "step-1000000"
    prune(tmp_path, keep=2)
    assert [p.name for p in step_folders(tmp_path)] == ["step-999999", "step-1000000"]
    assert not (tmp_path / ".step-000003.part").exists()
    prune(tmp_path, keep=3)
    assert len(step_folders(tmp_path)) == 2
    prune(tmp_path, keep=0)
    assert newest(tmp_path) is None


def test_log_drops_what_is_past_the_step_it_goes_on_from(tmp_path):
    path = tmp_path / "log.jsonl"
    with JsonlLog(path) as log:
        for step in (1, 2, 3):
            log.write({"step": step, "loss": 0.1})
    path.write_text(path.read_text() + '{"step": 4, "lo')
    with JsonlLog(path, step=2) as log:
        log.write({"step": 3, "loss": 0.2})
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["step"], r["loss"]) for r in records] == [(1, 0.1), (2, 0.1), (3, 0.2)]
    with JsonlLog(path):
        assert path.read_text() == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream, **options):
    progress = Progress(stream=stream, **options)
    with progress.track(10, 12):
        progress.update(11, 2.5, 1000)
        progress.update(12, 2.25, 1000)
    return stream.getvalue()


def test_progress_is_plain_lines_now_and_then_off_a_terminal():
    plain = shown(io.StringIO(), every=60.0)
    assert plain.count("\n") == 1
    assert plain.startswith("step 12/12  loss 2.250  ")
    assert plain.endswith(" tokens/s  0:00:00 left\n")
    assert shown(io.StringIO(), every=0.0).count("\n") == 2


def test_progress_is_a_bar_on_a_terminal_and_nothing_when_quiet(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert "━" in shown(Terminal())
    assert shown(Terminal(), quiet=True) == ""
    assert shown(io.StringIO(), quiet=True, every=0.0) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request_and_the_second_breaks_off(number):
    before = signal.getsignal(number)
    with signals_deferred() as request:
        assert not request.made
        signal.raise_signal(number)
        assert request.made
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before
