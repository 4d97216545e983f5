"""The mathematics of sparse fast weights, as pure functions on tensors.

Axes, everywhere: B batch, T time, H heads, N slots per head, A active slots of an address,
V width of what a slot holds.

    reference.py   equations (3)-(5) as a plain loop: the truth
    chunked.py     the same, exactly, parallel over chunks of time
    native.py      the same, exactly, as a compiled loop for CPUs
    compact.py     from a table of N slots to the rows that a segment touches, and back
    scan.py        the one entry: checks its input, then picks a form
    addressing.py  from queries and keys to addresses
    nearest.py     the address of a few contexts in one loop, compiled for CPUs
    top.py         the best pairs of half-keys, compiled for CPUs
    scores.py      the scores of chosen keys, compiled for CPUs
    slots.py       a table that holds only the rows of slots that were written
    hashing.py     its search for a slot's row, compiled for CPUs
    compiled.py    whether compiled loops can be used, and running them on several threads
"""

from sparsemeta.ops.addressing import dense_address, product_address, signed_address, topk_address
from sparsemeta.ops.scan import checked, scan

__all__ = ["checked", "dense_address", "product_address", "scan", "signed_address", "topk_address"]
