"""The settings of memories: of any layer, of rows, and of tables."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from typing_extensions import override

from sparsemeta.config.settings import Above, AtLeast, Count, Settings, Within
from sparsemeta.errors import require

AddressKind = Literal["topk", "product", "signed", "dense"]


@dataclass(frozen=True)
class MemoryConfig(Settings, section="memory"):
    """The fast-weight memory of one adapted layer."""

    slots: Count = 512
    """Slots per head (N)."""
    active: Count = 8
    """Slots that one address touches (A)."""
    heads: Count = 4
    """Independent memories side by side (H)."""
    key_width: Count = 64
    """Width of the query that is compared with the slots' keys, per head."""
    value_width: Count = 64
    """Width of what a slot holds, per head (V)."""
    addressing: AddressKind = "topk"
    """topk: the A best of N keys; product: the A best of N pairs of half-keys, for large N;
    signed: the A of N keys that fit or oppose the most, with weights of either sign, where opposite
    contexts teach opposite things; dense: all N so, the control of every comparison."""
    rule: Literal["delta", "hebbian"] = "delta"
    """delta: a write corrects what its address already recalls; hebbian: it only adds."""
    retention: bool = False
    """Whether the meta-learner may also forget: scale down the rows it is about to write."""
    initial: Literal["empty", "learned"] = "empty"
    """learned: a memory that nothing was written to recalls something too, as trained; with product
    addressing it is factorised like the keys."""
    capacity: int | None = None
    """Rows held in memory per head at most, in a table that grows with what is written. If left
    out, there is no bound, and up to 16,384 slots there is a row for every slot from the start."""
    backend: str = "auto"
    """The form of the memory's update: native, a loop compiled for CPUs; triton, kernels for
    GPUs; chunked, parallel over time; reference, a plain loop; auto takes what is fastest."""

    @override
    def check(self) -> None:
        _check_address(self)
        if self.capacity is not None:
            require(
                self.active <= self.capacity <= self.slots and self.addressing != "dense",
                f"memory.capacity = {self.capacity} must lie between memory.active = {self.active} "
                f"and memory.slots = {self.slots}, and helps with no dense addressing: that "
                "writes every slot. Leave it out to set no bound",
            )


@dataclass(frozen=True)
class RowsConfig(Settings, section="rows"):
    """Fast weights of an output layer: a row for each class that came."""

    half_lives: tuple[Annotated[float, AtLeast(0)], ...] = (70.0, 700.0, 0.0)
    """After how many steps half of a row is left, for each head; 0 never forgets."""
    key_width: Annotated[int, AtLeast(2)] = 32
    """Width of a row, per head (K)."""
    rate: Annotated[float, Within(0, 1, open_low=True, open_high=True)] = 0.5
    """How strongly a row is written before training changes it."""

    @override
    def check(self) -> None:
        require(bool(self.half_lives), "rows.half_lives names no head: name one at least")


@dataclass(frozen=True)
class TablesConfig(Settings, section="tables"):
    """Tables of what followed contexts, and the gate that mixes them into a prediction."""

    orders: tuple[Annotated[int, AtLeast(0)], ...] = (0, 1, 2, 3, 4, 6, 8, 12, 16)
    """A head for each: its context is the last n tokens."""
    fading_orders: tuple[Annotated[int, AtLeast(0)], ...] = (0, 0, 1, 3)
    """Heads of the same kind that forget, as `fading` says."""
    fading: tuple[Annotated[float, Within(0, 1)], ...] = (0.99, 0.95, 0.95, 0.8)
    """What a slot of each of those keeps of its weights when it is written."""
    bytes: tuple[Count, ...] = (1, 2, 3)
    """A head for each: its context is the last n bytes, which are more general than a token."""
    learned: tuple[Annotated[float, Within(0, 1)], ...] = ()
    """A head for each, whose context is the slots that trained keys find: what a slot keeps."""
    slots: Count = 4096
    """Slots of a learned head (N)."""
    active: Count = 8
    """Slots that it writes and reads at once (A)."""
    key_width: Count = 32
    """Width of the query that is compared with their keys."""
    addressing: Literal["topk", "product"] = "topk"
    """As `memory.addressing`."""
    cache: Annotated[int, AtLeast(0)] = 0
    """A head that knows the last so many hidden states, and what followed each: a neural cache (W).
    It is worth much on text like that of training, little on other text; 0 is none."""
    cache_width: Count = 128
    """Width of a hidden state as it is kept there, if the model's is greater."""
    capacity: Annotated[int, AtLeast(4096)] = 2**22
    """Rows held at most for each stream, of 48 bytes; beyond, what is oldest and rarest goes."""
    rate: Annotated[float, Above(0)] = 8.0
    """The gate moves by this, divided by the root of how often it was moved ..."""
    least_rate: Annotated[float, AtLeast(0)] = 0.1
    """... but never by less than this."""

    @override
    def check(self) -> None:
        require(
            len(self.fading_orders) == len(self.fading),
            f"tables.fading_orders names {len(self.fading_orders)} heads and tables.fading what "
            f"{len(self.fading)} of them keep: give one value for each",
        )
        heads = (*self.orders, *self.fading_orders, *self.bytes, *self.learned)
        require(bool(heads), "tables has no head: name some in tables.orders")
        for name in ("orders", "bytes"):
            given = getattr(self, name)
            require(
                list(given) == sorted(set(given)),
                f"tables.{name} = {list(given)} must rise: name each context once, in order",
            )
        _check_address(self)


def _check_address(config: MemoryConfig | TablesConfig) -> None:
    """Raise `ConfigError` unless slots can be found as these settings say."""
    slots, active, width = (config.key(name) for name in ("slots", "active", "key_width"))
    few = f"{active} is {config.active} but there are only {config.slots} slots ({slots})"
    require(config.active <= config.slots, few)
    side = math.isqrt(config.slots)
    require(
        config.addressing != "product" or (side**2 == config.slots and config.key_width % 2 == 0),
        f"product addressing needs a square number of slots and an even key_width, not "
        f"{slots} = {config.slots}, {width} = {config.key_width}; "
        f"the nearest squares are {side**2} and {(side + 1) ** 2}",
    )
