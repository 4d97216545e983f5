import pytest
import torch

from sparsemeta.lm.evaluation import Cache
from sparsemeta.lm.evaluation.learners import NeuralCache

VOCABULARY, WIDTH = 7, 5


def stream(length):
    logits = torch.randn(length, VOCABULARY, dtype=torch.float64)
    return logits.log_softmax(-1), torch.randn(length, WIDTH), torch.randint(VOCABULARY, (length,))


def mixed(cache, log_p, hidden, targets):
    """The whole distribution (T, V): at each step the score of every token that might have come."""
    found = torch.empty_like(log_p)
    for t in range(len(targets)):
        for y in range(VOCABULARY):
            other = targets.clone()
            other[t] = y
            of_others = log_p.gather(1, other[:, None])[:, 0]
            found[t, y] = cache.mix(of_others, hidden, other)[t]
    return found


def by_definition(log_p, hidden, targets, settings):
    """One token at a time: eq. 3 over the last pairs whose second half has been read."""
    found = []
    hidden = hidden / hidden.norm(dim=1, keepdim=True)
    for t in range(len(targets)):
        p_cache = torch.zeros(VOCABULARY, dtype=torch.float64)
        for i in range(max(0, t - settings.size), t):
            score = settings.theta * (hidden[t] @ hidden[i])
            p_cache[targets[i]] += score.double().exp()
        p = log_p[t].exp()
        if t:
            p = (1 - settings.weight) * p + settings.weight * p_cache / p_cache.sum()
        found.append(p)
    return torch.stack(found)


@pytest.mark.parametrize("size", [1, 4, 9, 100])
@pytest.mark.parametrize("segment", [1, 3, 20])
def test_is_its_definition_however_the_stream_is_cut(size, segment):
    settings = Cache(size=size, weight=0.3, theta=4.0)
    log_p, hidden, targets = stream(20)
    cache, found = NeuralCache(settings.size, settings.weight, settings.theta), []
    for start in range(0, 20, segment):
        part = slice(start, start + segment)
        found.append(mixed(cache, log_p[part], hidden[part], targets[part]).exp())
        cache.learn(log_p[part], hidden[part], targets[part])
    expected = by_definition(log_p, hidden, targets, settings)
    torch.testing.assert_close(torch.cat(found), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(expected.sum(1), torch.ones(20, dtype=torch.float64))
    assert len(cache.tokens) == min(size, 20)
    assert cache.nbytes == min(size, 20) * (WIDTH * 4 + 8)


def test_unlikely_tokens_keep_a_finite_score():
    log_p, hidden, targets = stream(3)
    log_p[:, 0] = -1e4
    found = mixed(NeuralCache(2000, 0.5, 16.0), log_p, hidden, torch.ones_like(targets))
    assert found[:, 0].tolist() == pytest.approx([-1e4] * 3, rel=1e-3)


def test_the_length_of_a_state_does_not_count():
    log_p, hidden, targets = stream(6)
    long = hidden * torch.arange(1, 7)[:, None]
    one, other = (mixed(NeuralCache(2000, 0.1, 16.0), log_p, h, targets) for h in (hidden, long))
    torch.testing.assert_close(one, other)
