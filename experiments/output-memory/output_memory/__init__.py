"""Memory where outcomes are predicted, as far as it is tried: prototypes for a room of `ops`.

types.py             what the row memory's forms speak of: `Outcomes`, `Rows`, `Scores`; the axes
rows_reference.py    the row memory as a plain loop: the truth
rows_chunked.py      the same, exactly, for a whole segment at once
"""

from output_memory.rows_chunked import rows_chunked
from output_memory.rows_reference import rows_reference
from output_memory.types import EPOCH, Outcomes, Rows, Scores

__all__ = ["EPOCH", "Outcomes", "Rows", "Scores", "rows_chunked", "rows_reference"]
