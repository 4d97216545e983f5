"""An optimizer's running statistics as named tensors, and back."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from sparsemeta.errors import CheckpointError
from sparsemeta.run.shards import share, whole


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's running statistics as `parameter index.key`; its settings are not in it.

    Where they are shared among processes, all of them have to call this.
    """
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": whole(value)
        for index, kept in state.items()
        for key, value in kept.items()
    }


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned.

    Raises:
        CheckpointError: the tensors belong to other parameters.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)] if int(index) < len(parameters) else None
        expected = None if parameter is None else parameter.shape
        if value.ndim > 0 and value.shape != expected:
            raise CheckpointError(
                f"the optimizer's {name} has shape {tuple(value.shape)}, but this model needs "
                f"{tuple(expected or ())}. Put back the files that were saved together."
            )
        shared = share(value, parameter) if value.ndim > 0 and parameter is not None else value
        state.setdefault(int(index), {})[key] = shared
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
