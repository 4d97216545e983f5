"""Class-ordered streams of images that show their own number, and prototypes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import ConfigError
from sparsemeta.streams import ClassOrdered, prototypes, score
from tests.streams.tasks import numbered, seeded

EACH = 9


@st.composite
def ordered(draw) -> ClassOrdered:
    classes = draw(st.integers(1, 7))
    moved = draw(st.sampled_from([0, *range(2, classes + 1)]))
    shots, queries = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    images = numbered(draw(st.integers(classes, 10)), EACH)
    return ClassOrdered(images, classes, shots, queries, rebound=moved / classes)


def shown_numbers(stream) -> torch.Tensor:
    return (stream.input[..., 0] * 255).round().long()


@given(ordered(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_one_pass_in_order(task, seed):
    stream = task.sample(2, seeded(seed))
    moved = round(task.rebound * task.classes)
    taught, asked = (task.classes + moved) * task.shots, task.classes * task.queries
    assert stream.taught.tolist() == [[True] * taught + [False] * asked] * 2
    assert torch.equal(stream.scored, ~stream.taught)
    for number, source, version in zip(
        shown_numbers(stream), stream.source, stream.version, strict=True
    ):
        assert len(number.unique()) == len(number)  # no image twice
        lessons = source[:taught].view(-1, task.shots)
        assert (lessons == lessons[:, :1]).all()  # a class at a time
        assert lessons[: task.classes, 0].tolist() == list(range(task.classes))
        assert len(lessons[task.classes :, 0].unique()) == moved
        assert source[taught:].bincount().tolist() == [task.queries] * task.classes
        again = torch.isin(source, lessons[task.classes :, 0])
        assert torch.equal(
            version > 0, again & (torch.arange(len(source)) >= task.classes * task.shots)
        )


@given(ordered(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_labels_are_those_of_the_current_meaning(task, seed):
    stream = task.sample(2, seeded(seed))
    for number, label, source, version in zip(
        shown_numbers(stream), stream.target, stream.source, stream.version, strict=True
    ):
        kind = number // EACH
        meaning = {}
        for key in zip(
            kind.tolist(), source.tolist(), version.tolist(), label.tolist(), strict=True
        ):
            meaning.setdefault(key[:3], key[3])
            assert meaning[key[:3]] == key[3]
        first = {k: y for (k, _, v), y in meaning.items() if v == 0}
        second = {k: y for (k, _, v), y in meaning.items() if v == 1}
        assert sorted(first.values()) == list(range(task.classes))
        assert all(first[k] != y for k, y in second.items())  # a change is a change
        assert sorted((first | second).values()) == list(range(task.classes))


def test_neither_classes_nor_labels_nor_queries_come_in_a_known_order():
    stream = ClassOrdered(numbered(12, 3), classes=10, shots=1, queries=2).sample(50, seeded())
    kind = shown_numbers(stream) // 3
    for drawn in (kind[:, 0], stream.target[:, 0], stream.source[:, 10]):
        assert drawn.float().std() > 2  # of a uniform one it is 2.9
    assert not torch.equal(kind[0, :10].sort().values, kind[1, :10].sort().values)


def embedded(stream, classes: int):
    """The same stream in an embedding that tells the classes apart."""
    return stream._replace(input=torch.eye(classes)[shown_numbers(stream) // EACH])


def test_an_embedding_of_a_stream_has_prototypes_of_its_own():
    task = ClassOrdered(numbered(5, EACH), classes=5, shots=5, queries=4)
    stream = task.sample(4, seeded())
    good, blind = embedded(stream, 5), stream._replace(input=torch.zeros(4, 45, 2, 3))
    assert score(good, task.oracle(good)).mean() == 1
    assert score(blind, task.oracle(blind)).mean() < 0.5


def test_prototypes_are_the_nearest_means():
    task = ClassOrdered(numbered(8, 7), classes=6, shots=3, queries=2, rebound=0)
    noisy = task.sample(2, seeded())
    noisy = noisy._replace(input=torch.randn(2, 30, 4, generator=seeded()))
    means = torch.stack(
        [noisy.input[0][(noisy.feedback[0] == c) & noisy.taught[0]].mean(0) for c in range(6)]
    )
    expected = torch.cdist(noisy.input[0, 18:], means).argmin(-1)
    assert prototypes(noisy, 6)[0, 18:].tolist() == expected.tolist()


def test_prototypes_know_nothing_of_a_class_before_it_is_taught():
    stream = ClassOrdered(numbered(4, 5), classes=4, shots=3, queries=2).sample(3, seeded())
    asked_always = stream._replace(scored=torch.ones_like(stream.scored))
    answers = prototypes(asked_always, 4)
    assert (answers[:, 0] == 0).all()
    for step in range(1, 12):
        assert ((answers[:, step, None] == stream.feedback[:, :step]).any(1)).all()


def test_re_binding_is_what_prototypes_cannot_follow():
    task = ClassOrdered(numbered(10, EACH), classes=10, shots=3, queries=3, rebound=0.5)
    stream = embedded(task.sample(8, seeded()), 10)
    kept, moved = (
        stream._replace(scored=stream.scored & ((stream.version > 0) == changed))
        for changed in (False, True)
    )
    assert score(kept, task.oracle(kept)).mean() == 1
    assert score(moved, task.oracle(moved)).mean() < 0.6


def test_labels_are_drawn_from_more_than_are_needed():
    task = ClassOrdered(numbered(8, 7), classes=6, shots=2, queries=2, rebound=0.5)
    spread = replace(task, labels=40)
    stream, plain = spread.sample(99, seeded()), task.sample(99, seeded())
    assert spread.input_shape == task.input_shape
    assert stream.target.unique().tolist() == list(range(40))
    same = plain.target[:, :, None] == plain.target[:, None]
    assert torch.equal(same, stream.target[:, :, None] == stream.target[:, None])
    assert torch.equal(stream.feedback[stream.taught], stream.target[stream.taught])
    assert not stream.feedback[~stream.taught].any()
    assert spread.oracle(stream).shape == stream.target.shape


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"classes": 0}, "ordered.classes = 0 must be at least 1"),
        ({"classes": 9}, "classes = 9 cannot be drawn from the images of 8"),
        ({"shots": 0}, "shots = 0"),
        ({"queries": 0}, "queries = 0"),
        ({"rebound": -0.5}, r"ordered.rebound = -0.5 must lie in \[0, 1\]"),
        ({"rebound": 1.5}, "must lie in"),
        ({"rebound": 0.17}, "at least two that exchange"),
        ({"shots": 6}, r"needs 8 images \(shots = 6 and queries = 2\) but has 7"),
        ({"rebound": 0.5}, r"needs 8 images \(shots = 3, twice, and queries = 2\) but has 7"),
        ({"labels": 5}, "labels = 5 are too few for 6 classes"),
        ({"images": torch.zeros(8, 7, 1)}, "uint8"),
        ({"images": torch.zeros(8, 7, dtype=torch.uint8)}, r"shape \(8, 7\)"),
    ],
)
def test_bad_settings(setting, message):
    good = {"images": numbered(8, 7), "classes": 6, "shots": 3, "queries": 2}
    with pytest.raises(ConfigError, match=message):
        ClassOrdered(**(good | setting))
