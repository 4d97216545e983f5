"""Table memory as compiled loops over one hash table, for CPUs.

A row is either a slot, whose key is the slot's number and whose token is -1 - head, or an entry of
it, whose key is the slot's row. The weight of a slot is the sum of its entries, and LINK leads from
it through all of them. Row 0 is never used. Decay is lazy: AT says how often the slot had been
written when the entry last was; of the slot itself, how often it has been written.

Here a table is (key (R,) int64, weight (R,), rows (R, COLUMNS) int32, used (2,) int64, bucket (M,)
int32): the rows, how many of them are used, how many tokens were read, and where to look for a row,
M being a power of two. All are updated in place.

A head that reads several slots has as many look-ups, one after the other; any other head has one.
Of P look-ups in all, it is set (head, log keep, longer, shorter), each (P,), and it changes where
they look: (number, slot, share), each (P,).
"""

import numpy as np

from sparsemeta.ops.compiled import compiled
from sparsemeta.ops.output.contexts import mixed

TOKEN, AT, LAST, LINK, DISTINCT = range(5)
COLUMNS = 5
EXCLUDED = -1
HEADS = 1 << 16
"""Heads at most: so much is added to tokens, that slots too have a number above zero."""
FORGOTTEN = -64 * np.log(2)
"""What is left of a weight is nothing when its logarithm is below this."""


@compiled
def kept(log_keep, writes):
    """What is left of a weight after so many more writes of its slot."""
    if writes == 0 or log_keep == 0:
        return 1.0
    left = log_keep * writes
    return np.exp(left) if left > FORGOTTEN else 0.0


@compiled
def find(number, token, table):
    """The bucket of a row, or the empty one where it would be."""
    key, _, rows, _, bucket = table
    mask = len(bucket) - 1
    start = mixed(np.uint64(number) ^ mixed(np.uint64(token + HEADS)))
    at = np.int64(start & np.uint64(mask))
    while bucket[at] != 0 and (key[bucket[at]] != number or rows[bucket[at], TOKEN] != token):
        at = (at + 1) & mask
    return at


@compiled
def find_slots(number, slot, head, table):
    """Set the row of each slot (P,), 0 where there is none, from its number (P,) and head (P,)."""
    bucket = table[4]
    for i in range(len(number)):
        slot[i] = bucket[find(number[i], -1 - head[i], table)] if number[i] >= 0 else 0


@compiled
def find_entries(token, where, mass, lookups, found, table):
    """Find a token in all slots.

    Args:
        token: its number.
        where: (slot (P,), share (P,)).
        mass: (H,), sum of share |C|.
        lookups: as above.
        found: (entry (P,), its row or 0; count (P,), C of the token; p (H,), its probability, the
            sum of share C / mass), all of them set.
        table: as above.
    """
    _, weight, rows, _, bucket = table
    (slot, share), (head, log_keep, _, _), (entry, count, p) = where, lookups, found
    p[:] = 0.0
    for i in range(len(slot)):
        s, e = slot[i], 0
        count[i] = 0.0
        if s != 0:
            e = bucket[find(s, token, table)]
            if e != 0:
                count[i] = weight[e] * kept(log_keep[i], rows[s, AT] - rows[e, AT])
                if mass[head[i]] > 0:
                    p[head[i]] += share[i] * count[i] / mass[head[i]]
        entry[i] = e


@compiled
def list_tokens(slot, scale, log_keep, table, places):
    """Add scale * C(y) to sums, for every token y of every slot.

    The lists are followed side by side: so many rows are waited for at once.

    Args:
        slot: (P,) int64, their rows, 0 where there is none.
        scale: (P,).
        log_keep: (P,).
        table: as above.
        places: (sums (V,), tokens (V,) int64): the tokens whose sum was 0 before are listed.

    Returns:
        How many tokens are listed.
    """
    (_, weight, rows, _, _), (sums, tokens) = table, places
    lists, next_entry = np.empty(len(slot), np.int64), np.empty(len(slot), np.int64)
    active, listed = 0, 0
    for i in range(len(slot)):
        if slot[i] != 0:
            lists[active], next_entry[active] = i, rows[slot[i], LINK]
            active += 1
    while active > 0:
        at = 0
        while at < active:
            e, i = next_entry[at], lists[at]
            if e == 0:  # the last list takes its place
                active -= 1
                lists[at], next_entry[at] = lists[active], next_entry[active]
                continue
            y = rows[e, TOKEN]
            p = scale[i] * weight[e]
            if log_keep[i] != 0:
                p *= kept(log_keep[i], rows[slot[i], AT] - rows[e, AT])
            if sums[y] == 0 and p > 0:
                tokens[listed] = y
                listed += 1
            sums[y] += p
            next_entry[at] = rows[e, LINK]
            at += 1
    return listed


@compiled
def list_cached(share, token, scale, listed, places):
    """Add scale * share, of a cache (C,), to the sums of tokens (C,); returns how many are listed.

    So many are before, as `list_tokens` has left places.
    """
    sums, tokens = places
    for c in range(len(token)):
        y, p = token[c], scale * share[c]
        if p > 0:
            if sums[y] == 0:
                tokens[listed] = y
                listed += 1
            sums[y] += p
    return listed


@compiled
def write(token, where, entry, lookups, table):
    """Learn that a token came, where the look-ups looked; which entries (P,) there were is lost."""
    (number, slot, share), (head, log_keep, longer, shorter) = where, lookups
    _, weight, rows, used, _ = table
    used[1] += 1
    for i in range(len(number) - 1, -1, -1):  # what a longer context knew, all shorter ones know
        if longer[i] >= 0 and entry[longer[i]] != 0:
            entry[i] = EXCLUDED
    for i in range(len(number)):
        s, e = slot[i], entry[i]
        waits = s == 0 and shorter[i] >= 0 and slot[shorter[i]] == 0
        if number[i] < 0 or e == EXCLUDED or waits:
            continue
        if s == 0:
            s = _claim(number[i], -1 - head[i], table)
        if e == 0:
            e = _claim(s, token, table)
            rows[e, AT], rows[e, LINK], rows[s, LINK] = rows[s, AT], rows[s, LINK], e
            rows[s, DISTINCT] += 1
        rows[s, AT] += 1
        weight[s] = weight[s] * kept(log_keep[i], 1) + share[i]
        weight[e] = weight[e] * kept(log_keep[i], rows[s, AT] - rows[e, AT]) + share[i]
        rows[e, AT], rows[e, LAST] = rows[s, AT], used[1]


@compiled
def _claim(number, token, table):
    """Take a new row."""
    key, weight, rows, used, bucket = table
    at = find(number, token, table)
    used[0] += 1
    row = used[0]
    bucket[at], key[row], weight[row], rows[row] = row, number, 0, 0
    rows[row, TOKEN] = token
    return row


@compiled
def rebuild(table):
    """Set the buckets, all empty, from the rows."""
    key, _, rows, used, bucket = table
    for row in range(1, used[0] + 1):
        bucket[find(key[row], rows[row, TOKEN], table)] = row


@compiled
def evict(log_keep, table):
    """Drop the quarter of all entries with the least weight per step since last written.

    Log keep is (H,).
    """
    key, weight, rows, used, bucket = table
    many = used[0] + 1
    worth, entries = np.zeros(many), np.empty(many)
    count = 0
    for s in range(1, many):
        if rows[s, TOKEN] < 0:
            rho, e = log_keep[-1 - rows[s, TOKEN]], rows[s, LINK]
            while e != 0:
                now = weight[e] * kept(rho, rows[s, AT] - rows[e, AT])
                worth[e] = entries[count] = now / (used[1] - rows[e, LAST] + 1)
                count, e = count + 1, rows[e, LINK]
    least = np.partition(entries[:count], count // 4)[count // 4]

    old_key, old_weight, old_rows = key[:many].copy(), weight[:many].copy(), rows[:many].copy()
    used[0] = 0
    for old in range(1, many):
        token = old_rows[old, TOKEN]
        if token >= 0:
            continue
        s, total, distinct, first, rho = 0, 0.0, 0, 0, log_keep[-1 - token]
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
                total += old_weight[e] * kept(rho, old_rows[old, AT] - old_rows[e, AT])
            e = old_rows[e, LINK]
        if s != 0:
            key[s], weight[s], rows[s] = old_key[old], total, old_rows[old]
            rows[s, LINK], rows[s, DISTINCT] = first, distinct
    bucket[:] = 0
    rebuild(table)
