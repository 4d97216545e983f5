"""`compiled`: a loop compiled by numba or, where numba is missing, the same in plain Python."""

from typing import Any


def compiled(loop: Any) -> Any:
    """The loop in machine code; else as it is: slow, and right."""
    try:
        from numba import njit
    except ImportError:
        return loop
    return njit(nogil=True, cache=True)(loop)
