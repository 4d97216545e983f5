"""What no form of the update could compute, and what no memory should be given, is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

from sparsemeta.errors import ScanError
from sparsemeta.ops.types import Segment

_checked: ContextVar[bool] = ContextVar("checked", default=False)


@contextmanager
def checked() -> Iterator[None]:
    """Inside this block `scan` also looks at the values that it is given.

    Shapes and slot indices are always checked. NaN, infinity, rates outside [0, 1] and retentions
    above 1 are not: looking costs a pass over every input.
    """
    token = _checked.set(True)
    try:
        yield
    finally:
        _checked.reset(token)


def check(segment: Segment, slots: int, initial: Tensor, mask: Tensor | None, rule: str) -> None:
    """Raise `ScanError`, in the caller's terms."""
    write, value, rate, log_retention, read = segment
    batch, time, heads, _ = write.index.shape
    if time == 0:
        raise ScanError("the segment has no steps (T = 0)")
    expected = {
        "write.weight": (write.weight, write.index.shape),
        "read.weight": (read.weight, read.index.shape),
        "value": (value, (batch, time, heads, value.shape[-1])),
        "rate": (rate, (batch, time, heads)),
        "initial": (initial, (batch, heads, slots, value.shape[-1])),
    }
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ScanError(f"{name} has shape {tuple(tensor.shape)}, expected {tuple(shape)}")
        if tensor.dtype != value.dtype:
            raise ScanError(f"{name} is {tensor.dtype} but value is {value.dtype}; use one dtype")
    if rule not in ("delta", "hebbian"):
        raise ScanError(f"rule is {rule!r}; choose 'delta' or 'hebbian'")
    for name, address in (("write", write), ("read", read)):
        low, high = (int(bound) for bound in address.index.aminmax())
        if low < 0 or high >= slots:
            raise ScanError(
                f"{name}.index holds slots {low} to {high}, outside [0, {slots}): "
                "pass slots= as large as the addresses need"
            )
    if _checked.get():
        floats = {name: tensor for name, (tensor, _) in expected.items()}
        if log_retention is not None:
            floats["log_retention"] = log_retention
        _check_values(floats, mask)


def _check_values(floats: dict[str, Tensor], mask: Tensor | None) -> None:
    """Refuse values that would spoil a memory; what stands at masked steps does not matter."""
    for name, tensor in floats.items():
        real = tensor if mask is None or name == "initial" else tensor[mask]
        wrong = real.isnan() if name == "log_retention" else ~real.isfinite()  # -inf forgets all
        if wrong.any():
            raise ScanError(
                f"{name} holds {int(wrong.sum())} values that are NaN or infinite: find where they "
                "come from; a memory that has taken them in has to be emptied"
            )
        if name == "rate" and not ((real >= 0) & (real <= 1)).all():
            raise ScanError("rate leaves [0, 1]: pass it through a sigmoid")
        if name == "log_retention" and (real > 0).any():
            raise ScanError("log_retention is above 0, so rows would grow: use a log-sigmoid")
