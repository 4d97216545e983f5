"""The rebinding stream, its oracle, and what memories made by hand reach on it."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn.functional import normalize, one_hot, pad

from sparsemeta.errors import ConfigError
from sparsemeta.ops import Address, Segment, scan
from sparsemeta.streams import Rebinding, age, exposures, score
from tests.streams.tasks import seeded

tasks = st.builds(
    Rebinding,
    cues=st.integers(1, 9),
    labels=st.integers(2, 5),
    width=st.integers(1, 3),
    noise=st.floats(0, 1),
    hazard=st.floats(0, 1),
    length=st.integers(2, 40),
)


@given(tasks, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_labels_are_those_of_the_current_binding(task, seed):
    stream = task.sample(2, seeded(seed))
    assert stream.taught.all()
    assert torch.equal(stream.feedback, stream.target)
    assert stream.scored.sum(1).tolist() == [task.length - task.length // 2] * 2
    for cue, version, label in zip(stream.source, stream.version, stream.target, strict=True):
        current: dict[int, tuple[int, int]] = {}
        for c, v, y in zip(cue.tolist(), version.tolist(), label.tolist(), strict=True):
            before, known = current.get(c, (0, y))
            assert v >= before
            assert y == known or v > before  # another label only after a re-binding
            assert y != known or v != before + 1 or c not in current  # and then another one
            current[c] = v, y


@given(tasks, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_inputs_say_the_cue_and_nothing_of_its_label(task, seed):
    stream = replace(task, noise=0.0).sample(1, seeded(seed))
    for cue in stream.source.unique():
        shown = stream.input[stream.source == cue]
        assert (shown == shown[0]).all()  # under every label that it had


@given(tasks, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_oracle_errs_only_where_it_cannot_know(task, seed):
    stream = task.sample(2, seeded(seed))
    wrong = task.oracle(stream) != stream.target
    assert (exposures(stream)[wrong] == 0).all()


def test_noise_and_hazard():
    task = Rebinding(cues=4, hazard=0.1, noise=0.3)
    stream = task.sample(4, seeded())
    row = stream.input[0][stream.source[0] == 1]
    assert (row - row.mean(0)).std().item() == pytest.approx(0.3, rel=0.03)
    changes = 4 * stream.version.amax(1).float().mean()  # of the cue changed most, so a bit more
    assert 1.0 < changes.item() / (0.1 * task.length) < 1.4


@pytest.mark.parametrize(("cues", "published"), [(32, 98.3), (128, 97.9), (256, 97.5), (512, 93.5)])
def test_oracle_reaches_its_expected_accuracy(cues, published):
    task = Rebinding(cues=cues)
    expected = 100 * task.expected_accuracy()
    assert expected == pytest.approx(published, abs=0.4)
    stream = task.sample(16, seeded())
    reached = 100 * score(stream, task.oracle(stream))
    error = (reached.std() / 16**0.5).item()
    assert error < 0.3
    assert reached.mean().item() == pytest.approx(expected, abs=3 * error)


def test_expected_accuracy_by_hand():
    # Half of the last step's chance is a cue never shown (1/3 right), half one that was (right).
    still = Rebinding(cues=2, labels=3, hazard=0, length=2)
    assert still.expected_accuracy() == pytest.approx(1 / 2 + 1 / 2 / 3)
    # One cue that changes at every step is never known; one that never does always is.
    one = Rebinding(cues=1, labels=2, hazard=1, length=100)
    assert one.expected_accuracy() == pytest.approx(0)
    assert replace(one, hazard=0).expected_accuracy() == pytest.approx(1)


def test_stale_bindings_may_come_true_again():
    task = Rebinding(cues=2, labels=2, hazard=1, length=40)
    stream = task.sample(400, seeded())
    reached = score(stream, task.oracle(stream))
    assert reached.mean().item() == pytest.approx(task.expected_accuracy(), abs=0.02)
    assert age(stream).max() > 2


def recall(keys: torch.Tensor, index: torch.Tensor, stream, slots: int, rate: float):
    """The labels that a delta-rule memory recalls, written after each step (design, 4 and 5)."""
    address = Address(index[:, :, None], keys[:, :, None])  # one head
    value = one_hot(stream.feedback[:, :-1, None], 8).float()
    rates = torch.full(value.shape[:3], rate)
    written, asked = (address.map(lambda x, at=at: x[:, at]) for at in (slice(-1), slice(1, None)))
    read, _ = scan(Segment(written, value, rates, None, asked), slots=slots)
    return pad(read[:, :, 0].argmax(-1), (1, 0))


@pytest.mark.parametrize(
    ("memory", "rate", "published", "spread"),
    [
        ("dense 64", 0.1, 33.0, 2.2),
        ("sparse 64 of 1024", 0.7, 72.2, 1.1),
    ],  # rates: the best of each,
)
def test_memories_made_by_hand_reach_what_was_published(memory, rate, published, spread):
    stream = Rebinding(cues=512).sample(3, seeded())
    if memory == "dense 64":
        keys, slots = normalize(stream.input, dim=-1), 64
        index = torch.arange(64).expand(keys.shape)
    else:
        slots = 1024
        codes = stream.input @ torch.randn(64, slots, generator=seeded(1))
        index = codes.topk(64, dim=-1).indices
        keys = torch.full(index.shape, 64**-0.5)
    reached = 100 * score(stream, recall(keys, index, stream, slots, rate)).mean().item()
    assert reached == pytest.approx(published, abs=2 * spread)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"cues": 0}, "cues = 0"),
        ({"width": 0}, "width = 0 must be at least 1"),
        ({"labels": 1}, "rebinding.labels = 1 must be at least 2"),
        ({"length": 1}, "at least 2"),
        ({"noise": -0.1}, "not be negative"),
        ({"noise": float("nan")}, "not be negative"),
        ({"hazard": 1.5}, r"rebinding.hazard = 1.5 must lie in \[0, 1\]"),
        ({"hazard": float("nan")}, "must lie in"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(ConfigError, match=message):
        Rebinding(**setting)
