"""The drifting sine and its change-point filter."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.testing import assert_close

from sparsemeta.errors import ConfigError
from sparsemeta.streams import Sine, exposures, score
from tests.streams.tasks import seeded


@given(st.integers(1, 40), st.floats(0, 1), st.floats(0.01, 1), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_version_is_one_wave(length, hazard, noise, seed):
    stream = Sine(length, hazard, noise).sample(2, seeded(seed))
    assert (stream.version.diff(dim=1) >= 0).all()
    assert (stream.version[:, 0] == 0).all()
    assert (stream.source == 0).all()
    assert stream.taught.all()
    assert stream.scored.all()
    assert (stream.input.abs() <= 5).all()
    x, y = stream.input[..., 0].double(), stream.target[..., 0].double()
    basis = torch.stack([x.sin(), x.cos()], dim=-1)
    for row in range(2):
        for version in stream.version[row].unique():
            at = stream.version[row] == version
            wave = torch.linalg.lstsq(basis[row, at], y[row, at, None], driver="gelsd").solution
            assert_close(basis[row, at] @ wave, y[row, at, None], atol=1e-4, rtol=0)


def test_what_is_revealed_is_noisy_and_unbiased():
    stream = Sine().sample(50, seeded())
    noise = stream.feedback - stream.target
    assert noise.std().item() == pytest.approx(0.1, rel=0.03)
    assert noise.mean().item() == pytest.approx(0, abs=0.004)
    jumps = stream.version[:, -1].float().mean().item()
    assert jumps == pytest.approx(0.02 * 199, abs=0.9)


def test_predicting_nothing_costs_the_power_of_the_wave():
    stream = Sine().sample(200, seeded())
    wrong = score(stream, torch.zeros_like(stream.target))
    assert wrong.mean().item() == pytest.approx(4.25, abs=3 * (wrong.std() / 200**0.5).item())


def test_filter_reaches_what_was_published():
    task = Sine()
    stream = task.sample(200, seeded())
    reached = score(stream, task.oracle(stream))
    error = (reached.std() / 200**0.5).item()
    assert error < 0.013
    assert reached.mean().item() == pytest.approx(0.175, abs=2 * error)


def test_filter_recovers_within_five_samples():
    task = Sine()
    stream = task.sample(100, seeded())
    wrong = (task.oracle(stream) - stream.target).square()[..., 0]
    since = exposures(stream)
    curve = [wrong[(since == n) & (stream.version > 0)].mean().item() for n in range(6)]
    assert curve[0] > 5
    assert curve[5] < 0.2


def by_enumeration(task: Sine, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The wave at the last x, given all but the last y: every pattern of jumps, as a normal."""
    basis = torch.stack([x.sin(), x.cos()], dim=-1)
    height, power = 5.1 / torch.pi, 2.55**2 / 2 + 4.9**2 / 24  # from the moments of A
    mean = basis @ x.new_tensor([0, height])
    kernel = basis @ torch.diag(x.new_tensor([power, power - height**2])) @ basis.T
    evidence, answers = [], []
    for jumps in product((0, 1), repeat=len(x) - 1):
        wave = torch.tensor([0, *jumps]).cumsum(0)
        spread = kernel * (wave == wave[:, None])
        seen = torch.distributions.MultivariateNormal(
            mean[:-1], spread[:-1, :-1] + task.noise**2 * torch.eye(len(x) - 1)
        )
        chance = task.hazard ** sum(jumps) * (1 - task.hazard) ** (len(jumps) - sum(jumps))
        evidence.append(chance * seen.log_prob(y[:-1]).exp())
        surprise = torch.linalg.solve(seen.covariance_matrix, y[:-1] - mean[:-1])
        answers.append(mean[-1] + spread[-1, :-1] @ surprise)
    weight = torch.stack(evidence)
    return (weight * torch.stack(answers)).sum() / weight.sum()


def test_filter_is_exact_for_a_normal_prior():
    task = Sine(length=6, hazard=0.3, noise=1.0)
    stream = task.sample(5, seeded())
    answers = task.oracle(stream)[:, -1, 0]
    x, y = stream.input[..., 0].double(), stream.feedback[..., 0].double()
    expected = [by_enumeration(task, x[row], y[row]) for row in range(5)]
    assert_close(answers.double(), torch.stack(expected), atol=1e-4, rtol=0)


def test_filter_without_jumps_is_linear_regression():
    task = Sine(length=60, hazard=0)
    stream = task.sample(2, seeded())
    x, y = stream.input[..., 0].double(), stream.feedback.double()
    basis = torch.stack([x.sin(), x.cos()], dim=-1)
    wave = torch.linalg.lstsq(basis[:, :-1], y[:, :-1]).solution
    assert_close(
        task.oracle(stream)[:, -1].double(), (basis[:, -1:] @ wave)[:, 0], atol=2e-3, rtol=0
    )


def test_filter_that_expects_a_jump_at_every_step_says_the_mean():
    task = Sine(length=20)
    stream = task.sample(2, seeded())
    mean = 5.1 / torch.pi * stream.input.cos()  # of A sin(x + phase) over A and the phase
    assert_close(replace(task, hazard=1.0).oracle(stream), mean)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"length": 0}, "at least 1"),
        ({"hazard": -0.1}, r"sine.hazard = -0.1 must lie in \[0, 1\]"),
        ({"hazard": float("nan")}, "must lie in"),
        ({"noise": 0.0}, "positive"),
        ({"noise": float("nan")}, "positive"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(ConfigError, match=message):
        Sine(**setting)
