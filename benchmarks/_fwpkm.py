"""The peer's side of `peers.py`: fast-weight-product-key-memory, in an environment of its own.

Reads one command a line ("threads 2", "forward", "both"), does it, and answers with a line.
"""

import sys

import torch
from fast_weight_product_key_memory import fwPKM

torch.manual_seed(0)
# Equal to SparseMemory's projections: per head 2 half-queries of 32 and values of 64.
layer = fwPKM(256, heads=4, num_memories=65536, topk=8, dim_queries_keys=128, dim_values=256)
x = torch.randn(1, 1024, 256)
with torch.no_grad():
    _, state = layer(x, return_next_memories=True)  # carried on both sides: no first segment


def both() -> None:
    layer.zero_grad()
    y, _ = layer(x, past_memories=state, return_next_memories=True)
    y.square().mean().backward()


@torch.no_grad()
def forward() -> None:
    layer(x, past_memories=state, return_next_memories=True)


for line in sys.stdin:
    match line.split():
        case ["threads", count]:
            torch.set_num_threads(int(count))
        case ["forward"]:
            forward()
        case ["both"]:
            both()
    print("done", flush=True)
