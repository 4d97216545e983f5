"""Table memory as compiled loops over one hash table, for CPUs.

A row is either a slot, whose key is the slot's number and whose token is -1 - head, or an entry of
it, whose key is the slot's row. The weight of a slot is the sum of its entries, and LINK leads from
it through all of them. Row 0 is never used. Decay is lazy: AT says how often the slot had been
written when the entry last was; of the slot itself, how often it has been written.

Here a table is (key (R,) int64, weight (R,), rows (R, COLUMNS) int32, used (2,) int64, bucket (M,)
int32): the rows, how many of them are used, how many tokens were read, and where to look for a row,
M being a power of two. All are updated in place.
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
def find_slots(number, slot, table):
    """Set the row of each head's slot (H,), 0 where there is none, from its number (H,)."""
    bucket = table[4]
    for h in range(len(number)):
        slot[h] = bucket[find(number[h], -1 - h, table)] if number[h] >= 0 else 0


@compiled
def find_entries(token, slot, entry, p, log_keep, table):
    """Set the row of a token in each head's slot (H,), 0 where it is not, and its probability."""
    _, weight, rows, _, bucket = table
    for h in range(len(slot)):
        s, e = slot[h], 0
        p[h] = 0.0
        if s != 0:
            e = bucket[find(s, token, table)]
            if e != 0:
                left = kept(log_keep[h], rows[s, AT] - rows[e, AT])
                p[h] = weight[e] * left / weight[s]
        entry[h] = e


@compiled
def list_tokens(slot, share, log_keep, table, places):
    """Add share[h] * p_h(y) to sums, for every token y of every head's slot.

    The lists are followed side by side: so many rows are waited for at once.

    Args:
        slot: (H,) int64, their rows, 0 where there is none.
        share: (H,).
        log_keep: (H,).
        table: as above.
        places: (sums (V,), tokens (V,) int64): the tokens whose sum was 0 before are listed.

    Returns:
        How many tokens are listed.
    """
    (_, weight, rows, _, _), (sums, tokens) = table, places
    heads, next_entry = np.empty(len(slot), np.int64), np.empty(len(slot), np.int64)
    scale, active, listed = np.empty(len(slot)), 0, 0
    for h in range(len(slot)):
        if slot[h] != 0:
            heads[active], next_entry[active] = h, rows[slot[h], LINK]
            scale[active] = share[h] / weight[slot[h]]
            active += 1
    while active > 0:
        i = 0
        while i < active:
            e, h = next_entry[i], heads[i]
            if e == 0:  # the last list takes its place
                active -= 1
                heads[i], next_entry[i], scale[i] = heads[active], next_entry[active], scale[active]
                continue
            y = rows[e, TOKEN]
            p = scale[i] * weight[e]
            if log_keep[h] != 0:
                p *= kept(log_keep[h], rows[slot[h], AT] - rows[e, AT])
            if sums[y] == 0 and p > 0:
                tokens[listed] = y
                listed += 1
            sums[y] += p
            next_entry[i] = rows[e, LINK]
            i += 1
    return listed


@compiled
def write(token, number, slot, entry, links, table):
    """Learn that a token came, in contexts of these numbers, slots and entries, all (H,).

    Links are (log keep, longer, shorter), each (H,). Of `entry` it is lost which were found.
    """
    log_keep, longer, shorter = links
    _, weight, rows, used, _ = table
    used[1] += 1
    for h in range(len(number) - 1, -1, -1):  # what a longer context knew, all shorter ones know
        if longer[h] >= 0 and entry[longer[h]] != 0:
            entry[h] = EXCLUDED
    for h in range(len(number)):
        s, e = slot[h], entry[h]
        waits = s == 0 and shorter[h] >= 0 and slot[shorter[h]] == 0
        if number[h] < 0 or e == EXCLUDED or waits:
            continue
        if s == 0:
            s = _claim(number[h], -1 - h, table)
        if e == 0:
            e = _claim(s, token, table)
            rows[e, AT], rows[e, LINK], rows[s, LINK] = rows[s, AT], rows[s, LINK], e
            rows[s, DISTINCT] += 1
        rows[s, AT] += 1
        weight[s] = weight[s] * kept(log_keep[h], 1) + 1
        weight[e] = weight[e] * kept(log_keep[h], rows[s, AT] - rows[e, AT]) + 1
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
    """Drop the quarter of all entries with the least weight per step since last written."""
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
