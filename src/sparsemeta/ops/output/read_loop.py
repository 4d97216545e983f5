"""All that a table memory does with a token, as one compiled loop over the tokens of a stream."""

import numpy as np

from sparsemeta.ops.compiled import compiled
from sparsemeta.ops.output.contexts import number_contexts
from sparsemeta.ops.output.gate_loops import mix, mix_all, move, weigh
from sparsemeta.ops.output.tables_loops import (
    evict,
    find_entries,
    find_slots,
    list_tokens,
    write,
)


@compiled
def read(first, last, gates, tokens, tables, heads, limits, made):
    """Score, learn and predict, token by token.

    Args:
        first: of the streams to read.
        last: the one after the last of them.
        gates: slow (B, T, H), slow_before (B, H), start (H, SETS), theta and moved (B, H, SETS).
        tokens: came (B, T); heard (B, T), the model's log-probability of it, NaN where nothing was
            predicted; target (B, T or 0), and aimed, that of it; mask and reset (B, T or 0).
        tables: key, weight, rows, used, bucket and recent, all of them (B, ...).
        heads: spelled, order, log keep, longer, shorter (H,), and spelling (V, n).
        limits: (3,), the capacity, and the gate's rates: first and least.
        made: log_q (B, T or 0), log-probability of the target; gradient (B, T or 0, 1 + H), of it;
            chosen (B, T or 0, H), the set of each head's weights; weights (B, T or 0, 1 + H);
            log_p (B, S, V), of the last S steps by the model, whole (B, S, V), the mixture, and
            parts (B, S or 0, H, V), what each head says. All are set but log_p.
    """
    slows, slow_before, start, thetas, moved = gates
    came, heard, target, aimed, mask, reset = tokens
    keys, weight, rows, used, buckets, recents = tables
    spelled, order, log_keep, longer, shorter, spelling = heads
    log_q, gradients, sets, shares, log_p, whole, parts = made
    time, count = came.shape[1], len(order)
    capacity, rates, links = limits[0], (limits[1], limits[2]), (log_keep, longer, shorter)
    hashed = np.empty((2, 1 + max(recents.shape[1], spelling.shape[1])), np.uint64)
    number, slot = np.empty(count, np.int64), np.empty(count, np.int64)
    entry, chosen = np.empty(count, np.int64), np.empty(count, np.int64)
    p, speak, mixed = np.empty(count), np.empty(count), np.empty(count)
    weights, gradient = np.empty(1 + count), np.empty(1 + count)
    sums, seen = np.zeros(whole.shape[2]), np.empty(whole.shape[2], np.int64)
    each, all_of_it = np.empty(count, np.int64), np.ones(count)
    places = chosen, speak, weights
    for b in range(first, last):
        table = keys[b], weight[b], rows[b], used[b], buckets[b]
        recent, theta = recents[b], thetas[b]
        gate = start, theta, slow_before[b]
        number_contexts(recent, spelling, spelled, order, hashed, number)
        find_slots(number, slot, table)
        weigh(slot, gate, table, places)
        scored, predicted = -1, True
        for t in range(time):
            if reset.size and reset[b, t]:
                used[b], buckets[b], recent[:], theta[:], moved[b] = 0, 0, -1, 0, 0
                number_contexts(recent, spelling, spelled, order, hashed, number)
                slot[:], scored, predicted = 0, -1, False
            if mask.size and not mask[b, t]:
                continue
            token = came[b, t]
            if token != scored:
                find_entries(token, slot, entry, p, log_keep, table)
                mix(heard[b, t], p, speak, weights, mixed, gradient)
            if predicted and not np.isnan(heard[b, t]):
                move(slot, chosen, gradient, gate, moved[b], rates)
            if used[b, 0] + 2 * count > capacity:
                evict(log_keep, table)
                find_slots(number, slot, table)
                find_entries(token, slot, entry, p, log_keep, table)
            write(token, number, slot, entry, links, table)
            recent[:-1] = recent[1:]
            recent[-1] = token

            number_contexts(recent, spelling, spelled, order, hashed, number)
            find_slots(number, slot, table)
            gate = start, theta, slows[b, t]
            weigh(slot, gate, table, places)
            scored, predicted = -1, True
            if shares.size:
                shares[b, t] = weights
            if target.size:
                scored = target[b, t]
                find_entries(scored, slot, entry, p, log_keep, table)
                log_q[b, t] = mix(aimed[b, t], p, speak, weights, mixed, gradient)
            if gradients.size:
                gradients[b, t] = gradient
            if sets.size:
                sets[b, t] = chosen
            at = t - time + whole.shape[1]
            if at >= 0:
                listed = list_tokens(slot, weights[1:], log_keep, table, (sums, seen))
                mix_all(log_p[b, at], whole[b, at], weights[0], listed, (sums, seen))
                if parts.size:
                    for h in range(count):
                        each[:] = 0
                        each[h] = slot[h]
                        list_tokens(each, all_of_it, log_keep, table, (parts[b, at, h], seen))
