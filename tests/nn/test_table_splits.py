"""However a stream is cut, and whatever stands beside it, the table memory is the same."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given as for_all, settings, strategies as st

from tests.nn.table_streams import CACHED, CASES, CONFIGS, Case, case, module, real, run, same


@CONFIGS
@for_all(st.integers(0, 38), st.integers(0, 5), st.sampled_from(CASES), st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_split_of_a_stream_is_the_whole(config, cut, seed, options, donate):
    memory, given = module(config), case(seed=seed, **options)
    time = given.came.shape[1]
    expected, once, left = run(memory, given)
    whole, again, _ = run(memory, given, whole=0)
    state = pending = None
    cuts = [0, cut, cut + 1, time]
    for start, stop in pairwise(cuts):
        if start < stop:
            part = given.part(start, stop)
            before = state and state.clone()
            log_q, after, next_pending = run(memory, part, state, pending, donate=donate)
            torch.testing.assert_close(real(part, log_q), real(part, expected[:, start:stop]))
            if before is not None:
                log_q, _, _ = run(memory, part, before, pending, whole=0, donate=True)
                torch.testing.assert_close(real(part, log_q), real(part, whole[:, start:stop]))
            state, pending = after, next_pending
    same(state, once, config)
    same(again, once)
    for mine, expected in zip(pending, left, strict=True):
        torch.testing.assert_close(mine, expected, equal_nan=True)


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("hidden", [0.0, 0.4])
def test_a_cache_read_token_by_token_is_the_whole(hidden, donate):
    memory, given = module(CACHED), case(hidden=hidden, batch=3)
    expected, once, _ = run(memory, given)
    whole, _, _ = run(memory, given, whole=0)
    state = every = pending = None
    with torch.inference_mode():
        for t in range(40):
            part, before = given.part(t, t + 1), state and state.clone()
            said, every, _ = run(memory, part, state and state.clone(), pending, whole=0)
            log_q, after, pending = run(memory, part, state, pending, donate=donate)
            torch.testing.assert_close(log_q, expected[:, t : t + 1])
            torch.testing.assert_close(said, whole[:, t : t + 1])
            if before is not None and not donate:
                assert all(map(torch.equal, state.tensors().values(), before.tensors().values()))
            state = after
    for found in (state, every):
        same(found, once, CACHED)
        for name, tensor in found.layers["cache"].tensors().items():
            torch.testing.assert_close(tensor, once.layers["cache"].tensors()[name])


@CONFIGS
def test_a_masked_step_and_a_stream_beside_change_nothing(config):
    memory, given = module(config), case(masked=0.4, time=60)
    log_q, state, _ = run(memory, given)
    for b in range(2):
        kept = given.mask[b]
        alone = Case(*(x[b : b + 1, kept] for x in list(vars(given).values())[:4]))
        expected, after, _ = run(memory, alone)
        torch.testing.assert_close(log_q[b : b + 1, kept], expected)
        same(state.select([b]), after, config)
