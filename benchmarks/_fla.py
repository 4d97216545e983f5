"""The peers' side of `gpu.py`: dense delta rules of flash-linear-attention, beside our torch.

Reads one command a line, "NAME B T H K rounds", and answers with milliseconds and peak bytes of a
forward pass, then of forward and backward, in bfloat16 as they are meant to be used.
"""

import sys

import torch
from _device import measure
from fla.ops.delta_rule import chunk_delta_rule
from fla.ops.gated_delta_rule import chunk_gated_delta_rule
from fla.ops.kda import chunk_kda
from torch.nn.functional import logsigmoid, normalize

RULES = {"deltanet": chunk_delta_rule, "gdn": chunk_gated_delta_rule, "kda": chunk_kda}

for line in sys.stdin:
    name, *numbers = line.split()
    batch, time, heads, width, rounds = map(int, numbers)
    like = {"device": "cuda", "dtype": torch.bfloat16}
    q, k, v = (torch.randn(batch, time, heads, width, **like) for _ in range(3))
    given = {"q": q, "k": normalize(k, dim=-1), "v": v}
    given["beta"] = torch.rand(batch, time, heads, **like)
    if name == "gdn":
        given["g"] = logsigmoid(torch.randn(batch, time, heads, device="cuda") + 4)
    if name == "kda":
        given["g"] = logsigmoid(torch.randn(batch, time, heads, width, device="cuda") + 4)
    leaves = {key: x.requires_grad_() for key, x in given.items()}
    upstream = torch.randn(batch, time, heads, width, **like)

    def forward(rule=RULES[name], leaves=leaves):
        with torch.no_grad():
            rule(**leaves, output_final_state=True)

    def both(rule=RULES[name], leaves=leaves, upstream=upstream):
        out = rule(**leaves, output_final_state=True)[0]
        torch.autograd.grad(out, list(leaves.values()), upstream)

    taken = [x for work in (forward, both) for x in measure(work, rounds)]
    print(*taken, flush=True)
