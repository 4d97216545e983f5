"""All that a table memory does with a token, as one compiled loop over the tokens of a stream."""

import numpy as np

from sparsemeta.ops.compiled import compiled
from sparsemeta.ops.output.contexts import number_contexts
from sparsemeta.ops.output.gate_loops import by_cache, by_shares, choose, mix, mix_all, move, weigh
from sparsemeta.ops.output.tables_loops import (
    evict,
    find_entries,
    find_slots,
    list_cached,
    list_tokens,
    write,
)


@compiled
def read(first, last, gates, tokens, cache, tables, heads, made):
    """Score, learn and predict, token by token.

    Args:
        first: of the memories to read with.
        last: the one after the last of them.
        gates: slow (B, T, H), slow_before (B, H), start (H, EVIDENCE), theta and moved (M,
            H, SETS).
        tokens: came (B, T); heard (B, T), the model's log-probability of it, NaN where nothing was
            predicted; target (B, T or 0), and aimed, that of it; mask, reset and revealed
            (B, T or 0); slots and shares (B, 1 + T, L) of the learned contexts, L may be 0.
        cache: held (B, 1 + T or 0), how many hidden states it knew before the first step and after
            each; recalled and expected (B, T or 0), the probability that it gave to the token that
            came, and to the target; cached (B, S or 0, C), the shares of the tokens (B, C) in its
            predictions.
        tables: key, weight, rows, used and bucket, all of them (M, ...); recent (B, n). Of M
            memories each is shared by the B / M streams that come one after the other.
        heads: spelled and order of the exact contexts; log keep (H,); head, log keep, longer and
            shorter of each look-up (P,), the first L being learned; spelling (V, n); and limits
            (3,), the capacity, and the gate's rates: first and least.
        made: log_q (B, T or 0), log-probability of the target; gradient (B, T or 0, 1 + H + L + 1),
            of it; chosen (B, T or 0, H), the set of each head's weights; weights (B, T or 0,
            1 + H); log_p (B, S, V), of the last S steps by the model, whole (B, S, V), the mixture,
            and parts (B, S or 0, P + 1, V), C / mass, the last being the cache. All are set but
            log_p.
    """
    slows, slow_before, start, thetas, moved = gates
    came, heard, target, aimed, mask, reset, revealed, slots, shares = tokens
    held, recalled, expected, cached, followed = cache
    keys, weight, rows, used, buckets, recents = tables
    spelled, order, log_keep, head, fading, longer, shorter, spelling, limits = heads
    log_q, gradients, sets, trust, log_p, whole, parts = made
    time, count, learned, many = came.shape[1], len(log_keep), slots.shape[2], len(head)
    capacity, rates, lookups = limits[0], (limits[1], limits[2]), (head, fading, longer, shorter)
    hashed = np.empty((2, 1 + max(recents.shape[1], spelling.shape[1])), np.uint64)
    number, slot, share = np.empty(many, np.int64), np.empty(many, np.int64), np.ones(many)
    entry, found, scale = np.empty(many, np.int64), np.empty(many), np.empty(many)
    chosen, shared = np.empty(count, np.int64), np.empty(3, np.int64)
    mass, speak = np.empty(count), np.empty(count)
    p, mixed = np.empty(count), np.empty(count)
    weights, gradient = np.empty(1 + count), np.zeros(2 + count + learned)
    sums, seen = np.zeros(whole.shape[2]), np.empty(whole.shape[2], np.int64)
    each = np.empty(many, np.int64)
    where, said, places = (slot, share), (entry, found, p), (chosen, shared, mass, speak, weights)
    each_memory = came.shape[0] // len(keys)
    for b in range(first * each_memory, last * each_memory):
        m = b // each_memory
        table = keys[m], weight[m], rows[m], used[m], buckets[m]
        recent, theta = recents[b], thetas[m]
        gate = start, theta, slow_before[b]
        number_contexts(recent, spelling, spelled, order, hashed, number[learned:])
        for i in range(learned):
            number[i], share[i] = slots[b, 0, i], shares[b, 0, i]
        find_slots(number, slot, head, table)
        choose(recent, shared)
        weigh(where, head, held[b, 0] if held.size else 0, gate, table, places)
        scored, predicted = -1, True
        for t in range(time):
            if reset.size and reset[b, t]:
                used[m], buckets[m], recent[:], theta[:], moved[m] = 0, 0, -1, 0, 0
                number_contexts(recent, spelling, spelled, order, hashed, number[learned:])
                number[:learned] = -1
                slot[:], scored, predicted = 0, -1, False
            if mask.size and not mask[b, t]:
                continue
            token = came[b, t]
            if revealed.size == 0 or revealed[b, t]:
                if token != scored:
                    find_entries(token, where, mass, lookups, said, table)
                    if recalled.size:
                        p[0] = recalled[b, t]
                    mix(heard[b, t], p, speak, weights, mixed, gradient)
                if predicted and not np.isnan(heard[b, t]):
                    move(places, gradient, gate, moved[m], rates)
                if used[m, 0] + 2 * many > capacity:
                    evict(log_keep, table)
                    find_slots(number, slot, head, table)
                    find_entries(token, where, mass, lookups, said, table)
                write(token, (number, slot, share), entry, lookups, table)
            recent[:-1] = recent[1:]
            recent[-1] = token

            number_contexts(recent, spelling, spelled, order, hashed, number[learned:])
            for i in range(learned):
                number[i], share[i] = slots[b, t + 1, i], shares[b, t + 1, i]
            find_slots(number, slot, head, table)
            gate = start, theta, slows[b, t]
            choose(recent, shared)
            weigh(where, head, held[b, t + 1] if held.size else 0, gate, table, places)
            scored, predicted = -1, True
            if trust.size:
                trust[b, t] = weights
            if target.size:
                scored = target[b, t]
                find_entries(scored, where, mass, lookups, said, table)
                if expected.size:
                    p[0] = expected[b, t]
                log_q[b, t] = mix(aimed[b, t], p, speak, weights, mixed, gradient)
            if gradients.size:
                by_shares(log_q[b, t], (slot, head), places, said, table, gradient[1 + count : -1])
                gradient[-1] = by_cache(log_q[b, t], weights) if expected.size else 0.0
                gradients[b, t] = gradient
            if sets.size:
                sets[b, t] = chosen
            at = t - time + whole.shape[1]
            if at >= 0:
                for i in range(many):
                    h = head[i]
                    scale[i] = share[i] * weights[1 + h] / mass[h] if mass[h] > 0 else 0.0
                listed = list_tokens(slot, scale, fading, table, (sums, seen))
                if cached.size:
                    spoken = cached[b, at], followed[b]
                    listed = list_cached(*spoken, weights[1], listed, (sums, seen))
                mix_all(log_p[b, at], whole[b, at], weights[0], listed, (sums, seen))
                for i in range(many if parts.size else 0):
                    each[:] = 0
                    each[i], scale[i] = slot[i] if mass[head[i]] > 0 else 0, 1 / mass[head[i]]
                    list_tokens(each, scale, fading, table, (parts[b, at, i], seen))
                if parts.size and cached.size:
                    list_cached(cached[b, at], followed[b], 1.0, 0, (parts[b, at, many], seen))
