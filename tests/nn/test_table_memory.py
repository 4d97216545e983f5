"""The table memory is its reference, however a stream is cut (invariants 9-12 of the design)."""

import pytest
import torch

from sparsemeta.nn import watch_gate
from tests.nn.table_streams import case, module, reference, run

CASES = [{}, {"masked": 0.3}, {"resets": 0.1}, {"masked": 0.3, "resets": 0.1, "time": 60}]


def real(given, values):
    """Values (B, T, ...) at real steps."""
    return values if given.mask is None else values[given.mask]


def picked(given, log_q):
    """Of a whole distribution, what it gives the targets."""
    return log_q.gather(-1, given.targets[..., None])[..., 0]


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_scores_and_weights_are_the_reference(options, seed):
    memory, given = module(seed=seed), case(seed=seed, **options)
    expected, weights, _ = reference(memory, given)
    with watch_gate(memory) as seen:
        log_q, _, _ = run(memory, given)
    torch.testing.assert_close(real(given, log_q), real(given, picked(given, expected)))
    torch.testing.assert_close(real(given, seen[0]), real(given, weights))


@pytest.mark.parametrize("options", CASES)
def test_the_whole_distribution_is_the_reference_and_its_entries_are_the_scores(options):
    memory, given = module(), case(**options)
    expected, _, _ = reference(memory, given)
    scores, _, _ = run(memory, given)
    log_q, _, _ = run(memory, given, whole=0)
    torch.testing.assert_close(real(given, log_q), real(given, expected))
    torch.testing.assert_close(real(given, picked(given, log_q)), real(given, scores))
    sums = log_q.exp().sum(-1)
    torch.testing.assert_close(real(given, sums), torch.ones_like(real(given, sums)))


@pytest.mark.parametrize("whole", [None, 0, 5])
@pytest.mark.parametrize("options", CASES)
def test_gradients_are_those_of_the_reference(options, whole):
    memory, given = module(), case(time=30, **{k: v for k, v in options.items() if k != "time"})
    given.logits.requires_grad_()
    leaves = (given.logits, memory.slow.weight, memory.start)
    expected, _, _ = reference(memory, given)
    expected = picked(given, expected) if whole is None else expected[:, -whole:]
    log_q, _, _ = run(memory, given, whole=whole)
    kept = given if given.mask is None else given.part(30 - log_q.shape[1], 30)
    a, b = (torch.autograd.grad(real(kept, x).sin().sum(), leaves) for x in (log_q, expected))
    for mine, truth in zip(a, b, strict=True):
        torch.testing.assert_close(mine, truth)
