"""Streams that share tables read in turn: as one after the other with the same tables."""

from dataclasses import replace

import pytest
import torch

from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn.table_memory import NAME, Pending
from tests.nn.table_streams import LEARNED, SMALL, case, module

STREAMS = 3


def in_turn(memory, given):
    """The last distributions, and the state, where each stream is a call of its own."""
    state = memory.initial_state(1).layers[NAME]
    recent, pending, said = [state.recent] * STREAMS, [None] * STREAMS, []
    for t in range(given.came.shape[1]):
        for b in range(STREAMS):
            part = (x[b : b + 1, t : t + 1] for x in (given.hidden, given.came, given.logits))
            held = FastWeights({NAME: replace(state, recent=recent[b])})
            log_q, after, pending[b] = memory(*part, held, pending[b])
            state = after.layers[NAME]
            recent[b] = state.recent
            said.append(log_q[0, 0])
    return torch.stack(said).unflatten(0, (-1, STREAMS)).transpose(0, 1), state


@pytest.mark.parametrize("config", [SMALL, LEARNED])
@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("capacity", [4096, 150])
def test_streams_that_share_read_in_turn(config, donate, capacity):
    torch.set_num_threads(2)  # which must not race
    memory, given = module(config), case(STREAMS, 60)
    memory.rules = replace(memory.rules, capacity=capacity)
    shared = memory.initial_state(1).layers[NAME].shared(STREAMS)
    state, pending, said = FastWeights({NAME: shared}), None, []
    with torch.no_grad():
        expected, alone = in_turn(memory, given)
        for t in range(60):
            part = given.part(t, t + 1)
            log_q, state, pending = memory(
                part.hidden, part.came, part.logits, state, pending, donate=donate
            )
            said.append(log_q)
    assert isinstance(pending, Pending)
    torch.testing.assert_close(torch.cat(said, 1), expected)
    found = state.layers[NAME]
    assert found.shape[0] == STREAMS
    assert torch.equal(found.used, alone.used)
    torch.testing.assert_close(found.entries(), alone.entries())
    torch.testing.assert_close(found.theta, alone.theta)


def test_what_is_shared_begins_as_it_was():
    memory, given = module(), case(1, 20)
    _, before, _ = memory(given.hidden, given.came, given.logits)
    shared = before.layers[NAME].shared(STREAMS)
    assert torch.equal(shared.recent, before.layers[NAME].recent.expand(STREAMS, -1))
    assert len(shared.key) == len(shared.theta) == 1
