import json
import resource
import sys

import pytest

from sparsemeta.errors import MissingExtra, TrainingError
from sparsemeta.run import JsonlLog, TensorBoardLog


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


def test_a_log_that_cannot_be_written_says_so(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = JsonlLog(tmp_path / "log.jsonl")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(TrainingError, match="Make room"):
            log.write({"step": 1, "words": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        log.__exit__()


def test_tensorboard_goes_on_from_a_step(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with TensorBoardLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.write({"step": step, "loss": 0.5 * step})
    with TensorBoardLog(tmp_path, step=2) as log:
        log.write({"step": 3, "loss": 0.25, "validation": {"perplexity": 4.0, "nats": None}})
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert sorted(events.Tags()["scalars"]) == ["loss", "validation/perplexity"]
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 0.5), (2, 1.0), (3, 0.25)]


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"sparsemeta\[tensorboard\]"):
        TensorBoardLog(tmp_path)
