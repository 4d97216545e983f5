"""Tensors of which each process holds a share."""

from __future__ import annotations

from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which each process holds a share; any other tensor is whole already."""
    from torch.distributed.tensor import DTensor  # slow, and only training needs it

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def share(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The inverse of `whole`: a tensor shared among the processes as a parameter is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(parameter, DTensor):
        return tensor
    return distribute_tensor(
        tensor.to(parameter.device), parameter.device_mesh, parameter.placements
    )
