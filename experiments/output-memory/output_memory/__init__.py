"""Memory where outcomes are predicted, as far as it is tried: prototypes for a room of `ops`.

types.py             what the row memory's forms speak of: `Outcomes`, `Rows`, `Scores`; the axes
rows_reference.py    the row memory as a plain loop: the truth
rows_chunked.py      the same, exactly, for a whole segment at once
tables_reference.py  the table memory, by dictionaries: the truth
tables.py            the same by hash tables, compiled for CPUs (tables_native.py)
contexts.py          addresses: the last n tokens, or bytes
gate_reference.py    a mixture of model and tables whose weights learn while it reads: the truth
gate.py              the same, compiled (gate_native.py)
compiling.py         numba's decorator where it is installed
"""

from output_memory.rows_chunked import rows_chunked
from output_memory.rows_reference import rows_reference
from output_memory.types import EPOCH, Outcomes, Rows, Scores

__all__ = ["EPOCH", "Outcomes", "Rows", "Scores", "rows_chunked", "rows_reference"]
