import pytest
import torch

from sparsemeta.errors import StreamError
from sparsemeta.streams import Stream, age, exposures, score
from tests.streams.tasks import SMALL, seeded


def stream_of(source: list[int], version: list[int], taught: list[int]) -> Stream:
    """One stream of steps about sources; nothing else of it matters."""
    steps = torch.zeros(1, len(source), dtype=torch.int64)
    return Stream(
        input=steps[..., None].float(),
        feedback=steps,
        taught=torch.tensor([taught]).bool(),
        target=steps,
        scored=steps == 0,
        source=torch.tensor([source]),
        version=torch.tensor([version]),
    )


def test_exposures_and_age():
    stream = stream_of(
        source=[0, 1, 0, 0, 1, 0, 2],
        version=[0, 0, 0, 1, 0, 1, 0],
        taught=[1, 0, 1, 1, 1, 1, 0],
    )
    assert exposures(stream).tolist() == [[0, 0, 1, 0, 0, 1, 0]]
    assert age(stream).tolist() == [[-1, -1, 2, 1, -1, 2, -1]]


def test_versions_of_different_sources_are_apart():
    stream = stream_of(source=[0, 1, 2, 0], version=[1, 0, 1, 2], taught=[1, 1, 1, 1])
    assert exposures(stream).tolist() == [[0, 0, 0, 0]]


def test_score_of_labels():
    task = SMALL["ordered"]
    stream = task.sample(2, seeded())
    answers = stream.target.clone()
    assert score(stream, answers).tolist() == [1, 1]
    answers[stream.taught] = -1  # not scored
    assert score(stream, answers).tolist() == [1, 1]
    answers[0, -3:] = -1
    assert score(stream, answers).tolist() == pytest.approx([9 / 12, 1])


def test_score_of_values():
    stream = SMALL["sine"].sample(2, seeded())
    off = torch.tensor([0.5, 2.0])[:, None, None]
    assert score(stream, stream.target + off).tolist() == pytest.approx([0.25, 4.0])


@pytest.mark.parametrize("name", ["sine", "rebinding"])
def test_score_refuses_another_shape(name):
    stream = SMALL[name].sample(2, seeded())
    with pytest.raises(StreamError, match=r"predictions of shape .* for every step"):
        score(stream, stream.target[..., 0])
    with pytest.raises(ValueError, match="cannot be scored"):
        score(stream, stream.target[..., None])
