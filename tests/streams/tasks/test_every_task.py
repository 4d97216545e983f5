"""What holds for every task and its oracle."""

import pytest
import torch
from torch.testing import assert_close

from sparsemeta.streams import score
from tests.streams.tasks import SMALL, seeded

pytestmark = pytest.mark.parametrize("task", SMALL.values(), ids=SMALL.keys())


def test_shapes(task):
    stream = task.sample(3, seeded())
    steps = stream.taught.shape
    assert steps[0] == 3
    assert stream.input.shape == (*steps, *task.input_shape)
    assert stream.input.dtype == torch.float32
    assert stream.feedback.shape == stream.target.shape
    assert stream.feedback.dtype == stream.target.dtype
    for tensor, dtype in (
        (stream.taught, torch.bool),
        (stream.scored, torch.bool),
        (stream.source, torch.int64),
        (stream.version, torch.int64),
    ):
        assert (tensor.shape, tensor.dtype) == (steps, dtype)
    if stream.target.is_floating_point():
        assert stream.target.shape == (*steps, task.outputs)
    else:
        assert stream.target.shape == steps
        assert set(stream.target.unique().tolist()) == set(range(task.outputs))
    assert task.oracle(stream).shape == stream.target.shape


def test_a_seed_is_a_stream(task):
    first, again, other = (task.sample(2, seeded(seed)) for seed in (1, 1, 2))
    for one, same in zip(first, again, strict=True):
        assert_close(one, same, rtol=0, atol=0)
    assert not torch.equal(first.input, other.input)
    assert not torch.equal(first.target, other.target)


def test_chance_is_the_generators_alone(task):
    before = torch.get_rng_state()
    task.sample(2, seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stream_lies_where_its_generator_does(task):
    expected = task.sample(2, seeded())
    with torch.device("meta"):  # whatever does not say where it lies would lie there
        stream = task.sample(2, seeded())
        answers = task.oracle(stream)
    for tensor, same in zip(stream, expected, strict=True):
        assert_close(tensor, same, rtol=0, atol=0)
    assert_close(answers, task.oracle(expected))
    assert all(tensor.device.type == "meta" for tensor in stream.to("meta"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(task):
    stream = task.sample(2, torch.Generator("cuda").manual_seed(0))
    assert all(tensor.is_cuda for tensor in stream)
    assert_close(task.oracle(stream).cpu(), task.oracle(stream.to("cpu")))


def test_streams_of_a_batch_differ(task):
    one, other = (task.sample(2, seeded()).select(slice(i, i + 1)) for i in (0, 1))
    assert not torch.equal(one.input, other.input)
    assert not torch.equal(one.target, other.target)


def test_oracle_answers_each_stream_alone(task):
    stream = task.sample(4, seeded())
    together = task.oracle(stream)
    rows = torch.tensor([2, 0])
    assert_close(task.oracle(stream.select(rows)), together[rows])


def test_oracle_knows_only_what_was_revealed_before(task):
    stream = task.sample(4, seeded())
    answers = task.oracle(stream)
    half = stream.taught.shape[1] // 2
    feedback, later_input = stream.feedback.clone(), stream.input.clone()
    feedback[:, half:] = feedback[:, half:].flip(0)
    later_input[:, half + 1 :] = later_input[:, half + 1 :].flip(0)
    blind = stream._replace(
        input=later_input,
        feedback=feedback,
        target=torch.full_like(stream.target, 99),
        version=torch.full_like(stream.version, 99),
    )
    assert_close(task.oracle(blind)[:, : half + 1], answers[:, : half + 1])


def test_oracle_beats_a_constant(task):
    stream = task.sample(16, seeded())
    oracle = score(stream, task.oracle(stream)).mean()
    constant = score(stream, torch.zeros_like(stream.target)).mean()
    assert (oracle < constant) == stream.target.is_floating_point()


def test_what_is_not_taught_is_not_told(task):
    stream = task.sample(4, seeded())
    assert (stream.feedback[~stream.taught] == 0).all()
