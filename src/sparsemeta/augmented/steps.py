"""What a module hands out, as steps of streams (B, T, D), and back."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from sparsemeta.errors import require

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Steps(NamedTuple):
    """A tensor as steps.

    Attributes:
        x: (B, T, D).
        back: what is to be added to x -> what is to be added to the tensor.
    """

    x: Tensor
    back: Callable[[Tensor], Tensor]


def take_tensor(output: Any, where: str) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """The first tensor of what a module returned, and how to return another in its place.

    It is a tensor; or a tuple, list, mapping or dataclass whose first entry is one.

    Raises:
        ConfigError: it is anything else.
    """
    first, put = output, _put_alone
    if isinstance(output, Mapping) and output:
        key, first = next(iter(output.items()))
        put = partial(_put_item, output, key)
    elif isinstance(output, (tuple, list)) and output:
        first, put = output[0], partial(_put_first, output)
    elif dataclasses.is_dataclass(output):
        name = dataclasses.fields(output)[0].name
        first, put = getattr(output, name), partial(_put_field, output, name)
    require(
        isinstance(first, Tensor),
        f"{where} returns a {type(output).__name__} that does not begin with a tensor, so nothing "
        "can be added to it. Name a module inside it that returns one",
    )
    return first, put


def _put_alone(tensor: Tensor) -> Any:
    return tensor


def _put_item(output: Any, key: Any, tensor: Tensor) -> Any:
    made = copy.copy(output)
    made[key] = tensor
    return made


def _put_first(output: Any, tensor: Tensor) -> Any:
    kind, rest = type(output), output[1:]
    return kind(tensor, *rest) if hasattr(output, "_fields") else kind([tensor, *rest])


def _put_field(output: Any, name: str, tensor: Tensor) -> Any:
    return dataclasses.replace(output, **{name: tensor})


def as_steps(module: nn.Module, tensor: Tensor, streams: int | None, where: str) -> Steps:
    """What a module handed out, as steps.

    | of | shape | steps |
    |---|---|---|
    | a convolution over time | (B, D, T) | along T |
    | one over space | (B * T, D, ...) | one for each image, of its mean over space |
    | a recurrent layer, a block | (B, T, D), or (T, B, D) if it is not `batch_first` | along T |
    | any other | (B, T, D) or (B * T, D) | along T |

    Args:
        module: what made it.
        tensor: what it made.
        streams: B, where streams and steps share an axis; if None, each row is a stream.
        where: the module's name.

    Raises:
        ConfigError: of another shape.
    """
    if isinstance(module, CONVOLUTIONS):
        lone = tensor.dim() == 1 + len(module.kernel_size)
        whole = tensor[None] if lone else tensor
        if isinstance(module, nn.Conv1d):
            return Steps(whole.mT, lambda y: y.mT[0] if lone else y.mT)
        around = (1,) * len(module.kernel_size)
        x = _split(whole.flatten(2).mean(-1), streams, where)
        return Steps(x, lambda y: y.reshape(*tensor.shape[: 1 if lone else 2], *around))
    if isinstance(module, nn.RNNBase) and tensor.dim() == 2:  # one stream, without its axis
        return Steps(tensor[None], lambda y: y[0])
    require(
        tensor.dim() in (2, 3),
        f"{where} returns a tensor of shape {tuple(tensor.shape)}; a memory needs (streams, steps, "
        "width) or (streams * steps, width). Name a module whose output has such a shape",
    )
    if tensor.dim() == 2:
        return Steps(_split(tensor, streams, where), lambda y: y.flatten(0, 1))
    attention = getattr(module, "self_attn", None)
    if not getattr(module, "batch_first", getattr(attention, "batch_first", True)):
        return Steps(tensor.transpose(0, 1), lambda y: y.transpose(0, 1))
    return Steps(tensor, lambda y: y)


def _split(rows: Tensor, streams: int | None, where: str) -> Tensor:
    """(B * T, D) as (B, T, D)."""
    streams = len(rows) if streams is None else streams
    require(
        len(rows) % streams == 0,
        f"{where} returns {len(rows)} rows, which are no whole number of steps of {streams} "
        "streams. Pass as many rows for each stream, one stream after the other",
    )
    return rows.unflatten(0, (streams, -1))
