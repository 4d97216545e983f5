"""What is said of a gate's trust is what the gate would do."""

import torch

from sparsemeta.ops import EVIDENCE, SETS, Heads, belief, by_evidence, number_all, trust
from sparsemeta.ops.output.gate_reference import Evidence, speaks, weights


def test_trust_of_nested_contexts_is_the_mean_of_the_weights():
    torch.manual_seed(0)
    heads, tokens = 5, 40
    logit = torch.randn(heads, EVIDENCE, dtype=torch.float64)
    often = torch.tensor([40, 25, 31, 7, 0])  # of so many tokens each knew the context
    moved = torch.zeros(heads, SETS, dtype=torch.int32)
    moved[:, 9] = often.int()
    slow = torch.randn(3, heads, dtype=torch.float64)
    speaking = (logit[:, 9] + slow).sigmoid()
    means = torch.zeros(1 + heads, dtype=torch.float64)
    for token in range(tokens):
        for speaks_now in speaking:
            means += weights(torch.where(token < often, speaks_now, 0)) / (tokens * len(slow))
    found = trust(logit, slow, moved, tokens)
    torch.testing.assert_close(found.known, often.double() / tokens)
    torch.testing.assert_close(found.speaks[:4], speaking.mean(0)[:4])
    torch.testing.assert_close(found.weights, means)


def test_trust_in_tables_that_know_nothing():
    moved = torch.zeros(3, SETS, dtype=torch.int32)
    found = trust(torch.zeros(3, EVIDENCE), torch.zeros(1, 3), moved, 0)
    assert found.weights.tolist() == [1, 0, 0, 0]
    assert found.known.tolist() == found.speaks.tolist() == [0, 0, 0]


def test_belief_is_how_far_the_gate_speaks():
    torch.manual_seed(0)
    logit = 9 * torch.randn(4, EVIDENCE)
    mass, distinct = torch.tensor([1.0, 5.5, 200.0, 3.0]), torch.tensor([1, 3, 90, 3])
    nothing = torch.zeros(4, SETS)
    expected = speaks(Evidence(mass, distinct), logit, nothing, torch.zeros(4), (-1, -1))
    torch.testing.assert_close(belief(logit, torch.arange(4), mass, distinct), expected)


def test_what_goes_by_other_things_is_taken_as_it_was_on_average():
    torch.manual_seed(0)
    start, theta = torch.randn(3, EVIDENCE), torch.randn(3, SETS)
    moved = torch.zeros(3, SETS, dtype=torch.int32)
    came = [(5, 7), (5, 8), (1029, 263), (6, 7)]  # alike, for the gate, at distances of RECENT
    evidence = Evidence(torch.tensor([3.0, 2.0, 0.0]), torch.tensor([2.0, 1.0, 0.0]))
    logits = []
    for recent in came:
        moved[torch.arange(3)[:, None], evidence.sets(recent)] += 1
        e = speaks(evidence, start, theta, torch.zeros(3), recent)
        logits.append(e[:2].logit())
    found = by_evidence(start, theta, moved)[torch.arange(2), evidence.chosen[:2]]
    torch.testing.assert_close(found, torch.stack(logits).mean(0))


def test_numbers_of_contexts():
    heads = Heads.of((0, 1, 2), ((1, 0.5),), (2,))
    spelling = torch.tensor([[-1, 7], [7, 8], [9, 8], [-1, 8]], dtype=torch.int16)
    recent = torch.tensor([[-1, 1], [-1, 0], [0, 3], [2, 1]])
    number = number_all(recent, heads, spelling)
    tokens = ["last token", "last token, keep 0.5", "last 2 tokens"]
    assert heads.names == ["no context", "last 2 bytes", *tokens]
    none, spelt, one, fading, two = number.unbind(1)
    assert len(set(none.tolist())) == 1
    assert spelt[0] == spelt[2] == spelt[3]  # the bytes 7 8, of one token or of two
    assert spelt[1] == -1
    assert torch.equal(one, fading)
    assert one[0] == one[3]
    assert len(set(one.tolist())) == 3
    assert two[:2].tolist() == [-1, -1]
    assert two[2] != two[3]
