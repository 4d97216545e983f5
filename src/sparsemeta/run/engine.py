"""What a run computes on."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from sparsemeta.errors import SparseMetaError, require
from sparsemeta.run.config import Precision, Strategy

T = TypeVar("T")
_MEETING = "SPARSEMETA_MEETING"


def _place(name: str, alone: int = 0) -> int:
    """This process's place among others, as the environment has it."""
    return int(os.environ.get(name, alone))


def _rank() -> int:
    return _place("RANK", _place("LOCAL_RANK"))


def _launched() -> int:
    """How many processes torchrun started, on all machines; 0 if it started none."""
    return _place("WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in os.environ else 0


def wait_for_main() -> None:
    """Wait until the main process has prepared what all read; for those that torchrun started."""
    if _launched() and not is_main():
        _join(_rank(), _launched(), _device(_launched()))


def is_main() -> bool:
    """Whether this process writes files: the first, or only, one; its environment says so."""
    return _rank() == 0


class Engine:
    """A device, a precision, and the processes that train together.

    With several devices the running command is started once more for each further process, if
    torchrun has not started them. In all of them, every method must be called in the same order.

    Args:
        precision: bf16-mixed runs the forward pass under autocast; weights stay float32.
        devices: processes, each with a device of the machine's best kind.
        strategy: ddp has all weights in every process, fsdp a share of them; auto is ddp.
        seed: of torch's random generators.

    Attributes:
        device: where batches belong.
        rank: which of the `world` processes this is, counted from 0.
        strategy: the one in use, never `auto`; None with one device.
    """

    def __init__(
        self,
        *,
        precision: Precision = "32-true",
        devices: int = 1,
        strategy: Strategy = "auto",
        seed: int = 0,
    ):
        require(
            _launched() in (0, devices),
            f"training.devices = {devices}, but torchrun started {_launched()} processes: give "
            "both the same number",
        )
        self.rank, self.world, self._precision = _rank(), devices, precision
        self.strategy = None if devices == 1 else strategy.replace("auto", "ddp")
        self.device = _device(devices)
        if devices > 1 and not distributed.is_initialized():
            _join(self.rank, devices, self.device)
        torch.manual_seed(seed)

    def setup(self, model: nn.Module) -> Callable[..., Any]:
        """Move the model, or a share of it, to the device; its forward pass in the precision."""
        self._model: Any = model.to(self.device)
        if self.strategy == "fsdp":
            _shard(model, self.device, self.world)
        elif self.strategy == "ddp":
            self._model = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
        mixed = self._precision == "bf16-mixed"
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=mixed)
        return autocast(self._model.__call__)

    def random_state(self) -> dict[str, Tensor]:
        """The random generators' states: torch's own, and the device's if it is another."""
        found = {"generator": torch.get_rng_state()}
        if self.device.type != "cpu":
            found["device"] = torch.get_device_module(self.device).get_rng_state(self.device)
        return found

    def set_random_state(self, found: dict[str, Tensor]) -> None:
        """Go on from what `random_state` found."""
        torch.set_rng_state(found["generator"])
        if self.device.type != "cpu" and "device" in found:
            torch.get_device_module(self.device).set_rng_state(found["device"], self.device)

    def unsynchronised(self, enabled: bool) -> AbstractContextManager[None]:
        """Where gradients are only added up: forward and backward without those of the others."""
        if self.strategy == "fsdp":
            self._model.set_requires_gradient_sync(not enabled)
        return self._model.no_sync() if self.strategy == "ddp" and enabled else nullcontext()

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        if self.world == 1:
            return value
        total = value.clone()
        distributed.all_reduce(total)
        return total / self.world

    def any(self, flag: bool) -> bool:
        """Whether it is so in any of the processes."""
        if self.world == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def gather(self, value: T) -> list[T]:
        """The values of all processes in their order, for the main one; none for the others."""
        if self.world == 1:
            return [value]
        found: list[Any] | None = [None] * self.world if self.rank == 0 else None
        distributed.gather_object(value, found)
        return found or []

    def once(self, work: Callable[[], T]) -> T:
        """Let the main process do some work; all return its result, or raise its error."""
        if self.world == 1:
            return work()
        answer: list[Any] = [None]
        if self.rank == 0:
            try:
                answer = [work()]
            except SparseMetaError as raised:
                answer = [raised]
        distributed.broadcast_object_list(answer)
        if isinstance(answer[0], SparseMetaError):
            raise answer[0]
        return answer[0]


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which each process holds a share; any other tensor is whole already."""
    from torch.distributed.tensor import DTensor  # slow, and only training needs it

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def share(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The inverse of `whole`: a tensor shared among the processes as a parameter is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(parameter, DTensor):
        return tensor
    mesh, placements = parameter.device_mesh, parameter.placements
    return distribute_tensor(tensor.to(parameter.device), mesh, placements)


def _device(devices: int) -> torch.device:
    """The process's own device of the machine's best kind; any number of processes share a CPU."""
    rank, devices = _place("LOCAL_RANK"), _place("LOCAL_WORLD_SIZE", devices)
    best = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if best is None:
        return torch.device("cpu")
    there = torch.accelerator.device_count()
    require(
        devices <= there,
        f"training.devices = {devices} cannot be had: this machine has {there} of kind "
        f"{best.type}. Ask for as many as it has.",
    )
    return torch.device(best.type, rank)


def _join(rank: int, world: int, device: torch.device) -> None:
    """Meet the other processes: where torchrun says, or by a file, and the main one starts them."""
    if _launched():
        given, *_ = next(rendezvous("env://"))
        # torchrun keeps what those before a restart left there: their addresses, of all things.
        met = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), given)
        where: dict[str, Any] = {"store": met}
    elif rank == 0:
        meeting = tempfile.mkdtemp(prefix="sparsemeta-")
        atexit.register(shutil.rmtree, meeting, ignore_errors=True)
        _start_others(world, meeting)
        where = {"init_method": f"file://{meeting}/store"}
    else:
        where = {"init_method": f"file://{os.environ[_MEETING]}/store"}
    backend = "gloo"
    if device.type != "cpu":
        torch.accelerator.set_device_index(device.index)
        own = distributed.get_default_backend_for_device(device.type)
        backend = f"cpu:gloo,{device.type}:{own}"
    distributed.init_process_group(backend, rank=rank, world_size=world, **where)
    atexit.register(distributed.destroy_process_group)


def _start_others(world: int, meeting: str) -> None:
    """Start the running command once more for each further process; they end with this one."""
    require(
        not hasattr(sys, "ps1"),
        f"training.devices = {world} starts the running command again for each further process, "
        "which an interactive session cannot. Use `sparsemeta train`, or one device.",
    )
    for rank in range(1, world):
        place = os.environ | {"LOCAL_RANK": str(rank), _MEETING: meeting}
        atexit.register(subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=place).kill)


def _shard(model: nn.Module, device: torch.device, world: int) -> None:
    """Leave every process a share of each weight, and so of its statistics."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # Fully sharded modules return views; nothing is written into ours.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    fully_shard(model, mesh=init_device_mesh(device.type, (world,)))
