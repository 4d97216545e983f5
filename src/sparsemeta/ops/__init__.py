"""The mathematics of sparse fast weights, as pure functions on tensors.

types.py     what they speak of: `Address` and `Segment`, and the axes of all tensors
address/     from queries and keys to addresses
update/      retain, write, read: what a segment does to a memory, in several exact forms
table/       a table that holds only the rows of slots that were written
output/      memory where outcomes are predicted
logits.py    log p of single tokens
compiled.py  whether compiled loops can be used, and running them on several threads
"""

from sparsemeta.ops.address.kinds import (
    ADDRESSINGS as ADDRESSINGS,
    Kind as Kind,
    dense_address as dense_address,
    nearest as nearest,
    product_address as product_address,
    signed_address as signed_address,
    topk_address as topk_address,
)
from sparsemeta.ops.compiled import at_hand as at_hand, usable as usable
from sparsemeta.ops.logits import fine as fine, log_p as log_p
from sparsemeta.ops.output.cache import recall_one as recall_one
from sparsemeta.ops.output.gate_reference import EVIDENCE as EVIDENCE, SETS as SETS
from sparsemeta.ops.output.heads import BYTES as BYTES, Heads as Heads
from sparsemeta.ops.output.rows import run_all_rows as run_all_rows, run_rows as run_rows
from sparsemeta.ops.output.tables import (
    check_tokens as check_tokens,
    predict as predict,
    roomy as roomy,
    score as score,
)
from sparsemeta.ops.output.tables_types import (
    Came as Came,
    Gate as Gate,
    Memory as Memory,
    Recalled as Recalled,
    Rules as Rules,
    Tables as Tables,
)
from sparsemeta.ops.output.trust import (
    belief as belief,
    by_evidence as by_evidence,
    number_all as number_all,
    trust as trust,
)
from sparsemeta.ops.output.types import (
    EPOCH as EPOCH,
    Outcomes as Outcomes,
    Rows as Rows,
    Scores as Scores,
)
from sparsemeta.ops.table.slots import Held as Held, locate as locate
from sparsemeta.ops.types import Address as Address, Function as Function, Segment as Segment
from sparsemeta.ops.update.backends import BACKENDS as BACKENDS, Backend as Backend
from sparsemeta.ops.update.scan import checked as checked, scan as scan
