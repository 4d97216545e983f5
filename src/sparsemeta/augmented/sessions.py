"""`session`: whose memory an augmented model reads and writes, for as long as a block lasts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor, nn

from sparsemeta.augmented.attached import Augmentation
from sparsemeta.augmented.passes import Carried, Pass
from sparsemeta.errors import ConfigError, require
from sparsemeta.fast_weights import FastWeights

ATTRIBUTE = "_augmentation"
"""Of an augmented network: what it shares with its memories."""
TOLD = ("feedback", "mask", "reset", "write", "targets")
"""What a session tells a pass."""
FORGOTTEN = (
    "this model has a memory, and nobody has said whose: it would be lost. Call it inside "
    "`with session(model, memory) as s:` and go on with s.memory{cache}; or inside "
    "`with memory_off(model):` for the model without"
)


def augmentation(model: nn.Module) -> Augmentation:
    """What an augmented network shares with its memories.

    Raises:
        ConfigError: it is not augmented.
    """
    found = unwrapped(model).__dict__.get(ATTRIBUTE)
    if found is None:
        raise ConfigError(f"this {type(model).__name__} is not augmented: see `augment`")
    return found


def taken_over(owner: Augmentation, memory: FastWeights | Carried | None) -> Carried | None:
    """What a memory's new holder carries, each part of it where it is used.

    Raises:
        StateError: it is another network's.
    """
    if memory is None:
        return None
    before = memory if isinstance(memory, Carried) else Carried(memory)
    return before._replace(memory=owner.own(before.memory))


def unwrapped(model: nn.Module) -> nn.Module:
    """A network; of a `PeftModel`, the one that it wraps, whose layers have its adapters."""
    inside = getattr(model, "get_base_model", None)
    return inside() if inside else model


class Session:
    """What an augmented model goes by; every pass of the model moves `memory` on.

    Attributes:
        feedback: (B, T, F), what was revealed at each step of the next pass about the prediction
            before it; a language model sees that by itself. None: what the module hands out.
        mask: (B, T) bool, True where a step is real; others write nothing.
        reset: (B, T) bool, True empties the memory before a step.
        write: whether what comes is written, or for which of the streams (B,) bool.
        streams: B, for modules where streams and steps share an axis; that of the memory, or else
            as many as there are rows, if None.
        targets: of a causal language model, (B, T) int64, the token that follows each, where its
            log p is all that is wanted of the next pass: that is cheaper than whole distributions.
        log_p: (B, T) of those targets, after that pass. Its logits are those without tables.
        carried: `memory`, and what tables expect of the next token, by which their gate learns.
            Another session, or cache, that is given it goes on exactly.
    """

    def __init__(self, owner: Augmentation, memory: FastWeights | Carried | None):
        self._owner, self.carried = owner, taken_over(owner, memory)
        self.feedback: Tensor | None = None
        self.mask: Tensor | None = None
        self.reset: Tensor | None = None
        self.write: bool | Tensor = True
        self.streams: int | None = None
        self.targets: Tensor | None = None
        self.log_p: Tensor | None = None

    @property
    def memory(self) -> FastWeights | None:
        """What the streams have taught the model; None before anything was read."""
        return self.carried and self.carried.memory

    @memory.setter
    def memory(self, memory: FastWeights | None) -> None:
        self.carried = taken_over(self._owner, memory)

    def detach(self) -> None:
        """Go on from the same memory without its gradients: the end of a truncated segment."""
        self.carried = self.carried and self.carried.detach()

    def start(self) -> Pass:
        """A pass of the model, as this session stands."""
        before = self.carried
        known = self.streams or (before.memory.batch if before else None)
        told = {name: getattr(self, name) for name in TOLD}
        return Pass(self, before, known, **told)

    def commit(self, after: Carried, log_p: Tensor | None) -> None:
        """Take over what a pass has left."""
        self.carried, self.log_p, self.targets = after, log_p, None

    def abandon(self) -> None:
        """Stay as it was before a pass that has failed."""


_sessions: ContextVar[Mapping[Augmentation, Session] | None] = ContextVar("sessions", default=None)


def current_session(owner: Augmentation) -> Session | None:
    """The innermost session of a model, here."""
    return (_sessions.get() or {}).get(owner)


@contextmanager
def session(
    model: nn.Module,
    memory: FastWeights | Carried | None = None,
    *,
    feedback: Tensor | None = None,
    mask: Tensor | None = None,
    reset: Tensor | None = None,
    write: bool | Tensor = True,
    streams: int | None = None,
) -> Iterator[Session]:
    """Let an augmented model read and write a memory, for as long as this block lasts.

    Sessions nest, the innermost counts; threads and asyncio tasks see their own only. A pass that
    raises leaves the memory as it was before it.

    Args:
        model: the model, which is called itself, and not a part of it.
        memory: what it begins with, or what another session `carried`; None is an empty memory.
        feedback: this and the others are the attributes of the `Session`, which may be set anew
            before each pass.
        mask: as there.
        reset: as there.
        write: as there.
        streams: as there.

    Yields:
        The session; `memory` of it is what was learned so far.

    Raises:
        ConfigError: the model is not augmented.
        StateError: the memory is another model's.
    """
    owner = augmentation(model)
    made = Session(owner, memory)
    made.feedback, made.mask, made.reset = feedback, mask, reset
    made.write, made.streams = write, streams
    require(streams is None or streams > 0, f"streams = {streams} must be positive")
    token = _sessions.set({**(_sessions.get() or {}), owner: made})
    try:
        yield made
    finally:
        _sessions.reset(token)
