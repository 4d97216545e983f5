"""Table memory as a compiled loop over one hash table, for CPUs.

A row is either a slot, whose key is the slot's number and whose token is -1 - head, or an entry of
it, whose key is the slot's row. The weight of a slot is the sum of its entries, and LINK leads from
it through all of them. Row 0 is never used. Decay is lazy: AT says how often the slot had been
written when the entry last was; of the slot itself, how often it has been written.
"""

import numpy as np

from output_memory.compiling import compiled

TOKEN, AT, LAST, LINK, DISTINCT = range(5)
COLUMNS = 5
MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(32))
HEADS = 1 << 16
"""Heads at most: so much is added to tokens, that slots too have a number above zero."""


@compiled
def score_and_write(
    capacity, slots, weights, tokens, keep, longer, shorter, key, weight, rows, bucket, used,
    p, mass, distinct,
):  # fmt: skip
    """Score each token of a segment in every head, then write it.

    Args:
        capacity: rows used at most; there is room for as many as the segment can need of them.
        slots: (T, H, A) int64, at least 0.
        weights: (T, H, A), 0 where there is no slot.
        tokens: (T,) int64.
        keep: (H,) rho.
        longer: (H,) int64, a later head: where it knows the token, this one is not written; or -1.
        shorter: (H,) int64, the head whose slot must be known before one is made here; or -1.
        key: (R,) int64; all rows, updated in place.
        weight: (R,), likewise.
        rows: (R, COLUMNS) int32, likewise.
        bucket: (M,) int32, likewise; M is a power of two.
        used: (2,) int64, how many rows are used and how many tokens were written.
        p: (T, H), set to p_h(token), 0 where the head abstains.
        mass: (T, H), set to sum_s w_s |C[s]|.
        distinct: (T, H) int32, set to how many tokens the slots hold.
    """
    time, heads, active = slots.shape
    seen, knew = np.empty(heads, np.bool_), np.empty(heads, np.bool_)
    for t in range(time):
        token = tokens[t]
        for h in range(heads - 1, -1, -1):
            found, whole, outcomes, seen[h], knew[h] = 0.0, 0.0, 0, False, False
            for a in range(active):
                w = weights[t, h, a]
                if w == 0:
                    continue
                s = bucket[_find(slots[t, h, a], -1 - h, key, rows, bucket)]
                if s == 0:
                    continue
                e = bucket[_find(s, token, key, rows, bucket)]
                seen[h] = True
                whole += w * weight[s]
                outcomes += rows[s, DISTINCT]
                if e != 0:
                    knew[h] = True
                    found += w * weight[e] * _kept(keep[h], rows[s, AT] - rows[e, AT])
            mass[t, h], distinct[t, h] = whole, outcomes
            p[t, h] = found / whole if whole > 0 else 0.0
            if longer[h] >= 0 and knew[longer[h]]:
                knew[h] = True
        if used[0] + 2 * (weights[t] != 0).sum() > capacity:
            _evict(keep, key, weight, rows, bucket, used)
        used[1] += 1
        for h in range(heads):
            if longer[h] >= 0 and knew[longer[h]]:
                continue  # update exclusion
            for a in range(active):
                w = weights[t, h, a]
                if w == 0:
                    continue
                # Looked for once more: an earlier one of the address may have claimed it.
                at = _find(slots[t, h, a], -1 - h, key, rows, bucket)
                if bucket[at] == 0:
                    if shorter[h] >= 0 and not seen[shorter[h]]:
                        continue
                    _claim(at, slots[t, h, a], -1 - h, key, weight, rows, bucket, used)
                _write(bucket[at], token, w, keep[h], key, weight, rows, bucket, used)


@compiled
def outcomes_of(slots, weights, head, keep, key, weight, rows, bucket, tokens, p):
    """List one head's distribution; returns how many (token, p) were set, a token perhaps twice."""
    count, whole = 0, 0.0
    for a in range(len(slots)):
        if weights[a] == 0:
            continue
        s = bucket[_find(slots[a], -1 - head, key, rows, bucket)]
        whole += weights[a] * weight[s]
        e = rows[s, LINK]
        while e != 0:
            tokens[count] = rows[e, TOKEN]
            p[count] = weights[a] * weight[e] * _kept(keep, rows[s, AT] - rows[e, AT])
            count, e = count + 1, rows[e, LINK]
    for i in range(count):
        p[i] /= whole
    return count


@compiled
def rebuild(key, rows, bucket, used):
    """Set the buckets, all empty, from the rows."""
    for row in range(1, used[0] + 1):
        bucket[_find(key[row], rows[row, TOKEN], key, rows, bucket)] = row


@compiled
def _kept(keep, writes):
    """What is left of a weight after so many more writes of its slot."""
    return 1.0 if keep == 1 else keep**writes


@compiled
def mixed(x):
    """64 bits stirred."""
    x = x * MIX[0]
    x = (x ^ (x >> MIX[2])) * MIX[1]
    return x ^ (x >> MIX[2])


@compiled
def _find(number, token, key, rows, bucket):
    """The bucket of a row, or the empty one where it would be."""
    mask = len(bucket) - 1
    start = mixed(np.uint64(number) ^ mixed(np.uint64(token + HEADS)))
    at = np.int64(start & np.uint64(mask))
    while bucket[at] != 0 and (key[bucket[at]] != number or rows[bucket[at], TOKEN] != token):
        at = (at + 1) & mask
    return at


@compiled
def _claim(at, number, token, key, weight, rows, bucket, used):
    """Take a new row into an empty bucket."""
    used[0] += 1
    row = used[0]
    bucket[at], key[row], weight[row], rows[row] = row, number, 0, 0
    rows[row, TOKEN] = token
    return row


@compiled
def _write(s, token, w, keep, key, weight, rows, bucket, used):
    """Let a slot decay, then add to the weight of a token."""
    at = _find(s, token, key, rows, bucket)
    e = np.int64(bucket[at])
    if e == 0:
        e = _claim(at, s, token, key, weight, rows, bucket, used)
        rows[e, AT], rows[e, LINK], rows[s, LINK] = rows[s, AT], rows[s, LINK], e
        rows[s, DISTINCT] += 1
    rows[s, AT] += 1
    weight[s] = weight[s] * keep + w
    weight[e] = weight[e] * _kept(keep, rows[s, AT] - rows[e, AT]) + w
    rows[e, AT], rows[e, LAST] = rows[s, AT], used[1]


@compiled
def _evict(keep, key, weight, rows, bucket, used):
    """Drop the quarter of all entries with the least weight per step since last written."""
    many = used[0] + 1
    worth, entries = np.zeros(many), np.empty(many)
    count = 0
    for s in range(1, many):
        if rows[s, TOKEN] < 0:
            rho, e = keep[-1 - rows[s, TOKEN]], rows[s, LINK]
            while e != 0:
                now = weight[e] * _kept(rho, rows[s, AT] - rows[e, AT])
                worth[e] = entries[count] = now / (used[1] - rows[e, LAST] + 1)
                count, e = count + 1, rows[e, LINK]
    least = np.partition(entries[:count], count // 4)[count // 4]

    old_key, old_weight, old_rows = key[:many].copy(), weight[:many].copy(), rows[:many].copy()
    used[0] = 0
    for old in range(1, many):
        token = old_rows[old, TOKEN]
        if token >= 0:
            continue
        s, total, distinct, first, rho = 0, 0.0, 0, 0, keep[-1 - token]
        e = old_rows[old, LINK]
        while e != 0:
            if worth[e] > least:
                if s == 0:
                    used[0] += 1
                    s = used[0]
                used[0] += 1
                row = used[0]
                key[row], weight[row], rows[row] = s, old_weight[e], old_rows[e]
                rows[row, LINK], first = first, row
                distinct += 1
                total += old_weight[e] * _kept(rho, old_rows[old, AT] - old_rows[e, AT])
            e = old_rows[e, LINK]
        if s != 0:
            key[s], weight[s], rows[s] = old_key[old], total, old_rows[old]
            rows[s, LINK], rows[s, DISTINCT] = first, distinct
    bucket[:] = 0
    rebuild(key, rows, bucket, used)
