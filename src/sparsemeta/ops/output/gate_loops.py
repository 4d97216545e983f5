"""The fast gate as compiled loops; equations in `gate_reference`."""

import math

import numpy as np

from sparsemeta.ops.compiled import compiled
from sparsemeta.ops.output.gate_reference import (
    DEPTHS,
    EVIDENCE,
    GENTLY,
    LEVELS,
    LIMIT,
    RECENT,
)
from sparsemeta.ops.output.tables_loops import DISTINCT

LEVEL = np.array([0] + [min(n.bit_length(), LEVELS - 1) for n in range(1, 2 ** (LEVELS - 2) + 1)])
"""The level of a count, up to the first that is of the last level."""
LEAST = -600.0
"""Below this, a log-probability is taken for it where shares are compared."""


@compiled
def weigh(where, head, held, gate, table, places):
    """Set how far each head speaks, by its evidence, and the weights of model and heads.

    Args:
        where: (slot (P,), the row of each, 0 where there is none; share (P,)).
        head: (P,), whose they are.
        held: what the cache knows, which is then the first head; 0 is nothing.
        gate: (start (H, EVIDENCE), theta (H, SETS), slow (H,)), whose sum is the logit.
        table: as of `tables_loops`.
        places: (chosen (H,) int64, sets by evidence; shared (3,) int64, the other sets, of which
            the first is set, and `choose` has set the rest; mass (H,), 0 where a head abstains;
            speak (H,); weights (1 + H,)), all of them set.
    """
    (slot, share), (start, theta, slow) = where, gate
    chosen, shared, mass, speak, weights = places
    _, weight, rows, _, _ = table
    depth, last, i = 0, len(LEVEL) - 1, len(slot) - 1
    for h in range(len(chosen) - 1, -1, -1):
        mass[h], distinct, chosen[h] = 0.0, 0.0, 0
        while i >= 0 and head[i] == h:
            if slot[i] != 0:
                mass[h] += share[i] * weight[slot[i]]
                distinct += share[i] * rows[slot[i], DISTINCT]
            i -= 1
        if h == 0 and held > 0:
            mass[h], distinct = held, 1.0
        if mass[h] > 0:
            known = LEVEL[max(1, int(min(mass[h], last)))]
            chosen[h] = known * LEVELS + LEVEL[max(1, int(min(distinct, last)))]
            depth += 1
    shared[0], left = EVIDENCE + min(depth, DEPTHS - 1), 1.0
    for h in range(len(chosen) - 1, -1, -1):
        speak[h] = 0.0
        if mass[h] > 0:
            logit = start[h, chosen[h]] + theta[h, chosen[h]] + slow[h]
            for s in shared:
                logit += theta[h, s]
            speak[h] = 1 / (1 + np.exp(-min(max(logit, -LIMIT), LIMIT)))
        weights[h + 1] = left * speak[h]
        left *= 1 - speak[h]
    weights[0] = left


@compiled
def choose(recent, shared):
    """Set which sets of the gate's weights go by the last tokens, newest last; -1 is none."""
    first = EVIDENCE + DEPTHS
    shared[1] = first + recent[-1] % RECENT[0]
    shared[2] = first + RECENT[0] + recent[-2] % RECENT[1]


@compiled
def mix(log_p, p, speak, weights, mixed, gradient):
    """Mix the probabilities of a token; returns log q.

    Args:
        log_p: the model's log-probability.
        p: (H,), by the heads.
        speak: (H,), as `weigh` sets it.
        weights: (1 + H,), likewise.
        mixed: (H,), scratch.
        gradient: (1 + H,), set to that of log q by log_p and by each head's logit.
    """
    heads, heard, q = len(p), 0.0, np.exp(max(log_p, LEAST))
    for h in range(heads):
        heard += weights[h + 1] * p[h]
        mixed[h] = q
        q = (1 - speak[h]) * q + speak[h] * p[h]
    share = 1 / q  # what all up to a head would have if they had p = 1
    for h in range(heads - 1, -1, -1):
        gradient[h + 1] = share * speak[h] * (1 - speak[h]) * (p[h] - mixed[h])
        share *= 1 - speak[h]
    gradient[0] = share * np.exp(max(log_p, LEAST))
    model = log_p + np.log(weights[0])
    if heard == 0:
        return model
    heard = np.log(heard)
    return max(model, heard) + np.log1p(np.exp(-abs(model - heard)))


@compiled
def by_shares(log_q, where, places, said, table, gradient):
    """Set the gradient (L,) of log q of a token by the shares of the first look-ups.

    Of p = sum of share C / mass, it is (C - p |C|) / mass.
    """
    (slot, head), (_, _, mass, _, weights), (_, count, p) = where, places, said
    _, weight, _, _, _ = table
    for i in range(len(gradient)):
        s, h, gradient[i] = slot[i], head[i], 0.0
        if s != 0 and mass[h] > 0:
            by_p = weights[h + 1] * np.exp(-max(log_q, LEAST))
            gradient[i] = by_p * (count[i] - p[h] * weight[s]) / mass[h]


@compiled
def by_cache(log_q, weights):
    """The gradient of log q of a token by the probability that the first head gives it."""
    return weights[1] * np.exp(-max(log_q, LEAST))


@compiled
def mix_all(log_p, log_q, weight, listed, places):
    """Set log q (V,) = log(weight p + sums) of all tokens; where sums are listed they become 0."""
    sums, tokens = places
    log_weight = np.log(weight)
    for y in range(len(log_p)):
        log_q[y] = log_p[y] + log_weight
    for i in range(listed):
        y = tokens[i]
        log_q[y] = np.log(np.exp(np.float64(log_q[y])) + sums[y])
        sums[y] = 0


@compiled
def move(places, gradient, gate, moved, rates):
    """Move what the gate has learned along the gradient of log q of the token that came."""
    (start, theta, _), (chosen, shared, mass, _, _) = gate, places
    for h in range(len(mass)):
        if mass[h] > 0:
            begun = start[h, chosen[h]]
            _step(h, chosen[h], begun, gradient[h + 1], (theta, moved), rates)
            for s in shared:
                _step(h, s, 0.0, GENTLY * gradient[h + 1], (theta, moved), rates)


@compiled
def _step(h, s, begun, gradient, weights, rates):
    """Move one weight, which begins at a trained value."""
    (theta, moved), (first, least) = weights, rates
    moved[h, s] += 1
    rate = max(least, first / math.sqrt(moved[h, s]))
    theta[h, s] = min(max(begun + theta[h, s] + rate * gradient, -LIMIT), LIMIT) - begun
