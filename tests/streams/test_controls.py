"""The controls: their codes are what they say, and one loop runs them all."""

import pytest
import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.nn import LessonLearner, SparseMemory, StreamLearner
from sparsemeta.streams.learners import (
    DenseCode,
    LSTMMemory,
    centred_relu,
    sign,
    soft_threshold,
)

CONFIG = MemoryConfig(slots=40, heads=2, key_width=8, value_width=4, addressing="dense")
codes = pytest.mark.parametrize("code", [sign, centred_relu, soft_threshold])


def learner(memory):
    torch.manual_seed(1)
    if memory == "lstm":
        module = LSTMMemory(8, hidden=6)
    else:
        code = DenseCode(8, CONFIG, memory) if callable(memory) else None
        module = SparseMemory(8, CONFIG, code, LessonLearner(8, CONFIG))
    made = StreamLearner(8, CONFIG, outputs=3, memory=module)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


@codes
def test_a_code_is_a_unit_vector_over_all_slots(code):
    index, weight = DenseCode(8, CONFIG, code)(torch.randn(2, 5, 8))
    assert torch.equal(index, torch.arange(40).expand(2, 5, 2, 40))
    torch.testing.assert_close(weight.norm(dim=-1), torch.ones(2, 5, 2))


def test_each_code_is_what_it_is_called():
    scores = torch.tensor([[-2.0, -0.5, 0.5, 3.0]])
    assert sign(scores).tolist() == [[-1, -1, 1, 1]]
    assert centred_relu(scores).tolist() == [[-0.875, -0.875, -0.375, 2.125]]
    assert soft_threshold(scores).tolist() == [[0, 0, 0, 2]]


def test_a_soft_threshold_lets_a_sixth_through():
    addressing = DenseCode(64, MemoryConfig(slots=1000, heads=1), soft_threshold)
    _, weight = addressing(torch.randn(1, 50, 64))
    assert 0.13 < (weight > 0).float().mean() < 0.19


def test_the_linear_code_is_the_dense_address():
    made = DenseCode(8, CONFIG, lambda scores: scores)
    x = torch.randn(2, 5, 8)
    dense = StreamLearner(8, CONFIG, outputs=3).memory.addressing
    dense.load_state_dict(made.state_dict())
    torch.testing.assert_close(dense(x), made(x))


@codes
def test_a_code_has_as_many_parameters_and_all_can_be_trained(code):
    made = DenseCode(8, CONFIG, code)
    _, weight = made(torch.randn(2, 5, 8))
    (weight * torch.randn_like(weight)).sum().backward()
    plain = StreamLearner(8, CONFIG, outputs=3).memory.addressing
    shapes = [{n: p.shape for n, p in m.named_parameters()} for m in (made, plain)]
    assert shapes[0] == shapes[1]
    assert made.query.weight.grad.any()
    assert made.keys.grad.any()


@pytest.mark.parametrize("memory", ["linear", sign, centred_relu, soft_threshold, "lstm"])
def test_every_control_runs_step_by_step_as_in_one_pass(memory):
    made = learner(memory)
    x, label, taught = torch.randn(2, 9, 8), torch.randint(3, (2, 9)), torch.rand(2, 9) < 0.7
    whole, _ = made(x, label, taught)
    first, state = made(x[:, :4], label[:, :4], taught[:, :4])
    rest, _ = made(x[:, 4:], label[:, 4:], taught[:, 4:], state.detach())
    torch.testing.assert_close(torch.cat([first, rest], 1), whole, rtol=1e-4, atol=1e-5)
    told = torch.ones_like(taught)
    other = torch.where(torch.arange(9) < 5, label, (label + 1) % 3)
    before, after = made(x, label, told)[0], made(x, other, told)[0]
    torch.testing.assert_close(before[:, :6], after[:, :6], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before[:, 6:], after[:, 6:], rtol=1e-4, atol=1e-4)
