"""The mathematics of sparse fast weights, as pure functions on tensors.

types.py     what they speak of: `Address` and `Segment`, and the axes of all tensors
address/     from queries and keys to addresses
update/      retain, write, read: what a segment does to a memory, in several exact forms
table/       a table that holds only the rows of slots that were written
compiled.py  whether compiled loops can be used, and running them on several threads
"""

from sparsemeta.ops.address.kinds import (
    ADDRESSINGS,
    Kind,
    dense_address,
    nearest,
    product_address,
    signed_address,
    topk_address,
)
from sparsemeta.ops.compiled import usable
from sparsemeta.ops.table.slots import Held, locate
from sparsemeta.ops.types import Address, Segment
from sparsemeta.ops.update.scan import BACKENDS, Backend, checked, scan

__all__ = [
    "ADDRESSINGS",
    "BACKENDS",
    "Address",
    "Backend",
    "Held",
    "Kind",
    "Segment",
    "checked",
    "dense_address",
    "locate",
    "nearest",
    "product_address",
    "scan",
    "signed_address",
    "topk_address",
    "usable",
]
