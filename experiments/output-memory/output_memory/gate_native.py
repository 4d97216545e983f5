"""The fast gate as a compiled loop, for CPUs; equations in `gate_reference`."""

import math

import numpy as np

from output_memory.compiling import compiled
from output_memory.gate_reference import LIMIT


@compiled
def gate(
    log_p, p, mass, sets, slow, theta, count, first, least, log_q, weights, gradient,
):  # fmt: skip
    """Mix a segment; arguments as `gate_reference`, with the sets (T, H) that it calls evidence.

    theta and count are updated in place; log_q (T,), weights and gradient (T, 1 + H) are set.
    """
    time, heads = p.shape
    mixed, speak = np.empty(heads + 1, p.dtype), np.empty(heads, p.dtype)
    for t in range(time):
        mixed[0] = np.exp(log_p[t])
        for h in range(heads):
            speak[h] = 0.0
            if mass[t, h] > 0:
                logit = theta[h, sets[t, h]] + slow[t, h]
                speak[h] = 1 / (1 + np.exp(-min(max(logit, -LIMIT), LIMIT)))
            mixed[h + 1] = (1 - speak[h]) * mixed[h] + speak[h] * p[t, h]
        log_q[t] = np.log(mixed[heads])
        left, share = 1.0, 1 / mixed[heads]  # share: what all up to h would have if they had p = 1
        for h in range(heads - 1, -1, -1):
            weights[t, h + 1] = left * speak[h]
            gradient[t, h + 1] = share * speak[h] * (1 - speak[h]) * (p[t, h] - mixed[h])
            left, share = left * (1 - speak[h]), share * (1 - speak[h])
            if mass[t, h] > 0:
                s = sets[t, h]
                count[h, s] += 1
                rate = max(least, first / math.sqrt(count[h, s]))
                moved = theta[h, s] + rate * gradient[t, h + 1]
                theta[h, s] = min(max(moved, -LIMIT), LIMIT)
        weights[t, 0], gradient[t, 0] = left, share * mixed[0]
