"""A call of an augmented network: where a pass begins and ends, however it ends."""

from inspect import Signature, signature
from types import MethodType
from typing import Any

from torch import nn

from sparsemeta.augmented.attached import Augmentation
from sparsemeta.augmented.causal import is_causal, start_causal
from sparsemeta.augmented.passes import Carried, Pass, begin_pass, end_pass
from sparsemeta.augmented.sessions import ATTRIBUTE, FORGOTTEN, current_session
from sparsemeta.errors import ConfigError, require


class Forward:
    """The `forward` of an augmented network: a pass around the one of its class.

    It is an attribute of the network, which shadows the method, and no hook: peft calls `forward`,
    which no hook sees. A copy of the network has its own.

    Args:
        model: the network; what it was called by before, if it was not its class, is called here.
    """

    def __init__(self, model: nn.Module):
        self.model, self.before = model, model.__dict__.get("forward")
        self._names = tuple(self.__signature__.parameters)

    @property
    def __signature__(self) -> Signature:
        """That of the network's own; `generate` and `Trainer` ask for it."""
        return signature(self.own)

    @property
    def own(self) -> Any:
        """What the network does without memories."""
        return self.before or MethodType(type(self.model).forward, self.model)

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Call it; its session or cache takes over what was learned, if all went well."""
        owner = self.model.__dict__.get(ATTRIBUTE)
        if owner is None or not any(layer.enabled for layer in owner.named_layers.values()):
            return self.own(*args, **given)
        named = dict(zip(self._names, args, strict=False)) | given
        now = _start(owner, self.model, named)
        begin_pass(owner, now)
        try:
            output = self.own(*args, **given)
            require(
                bool(now.made),
                f"no memory was reached: none of {', '.join(owner.homes)} was called through its "
                "hooks",
            )
        except BaseException:
            now.holder.abandon()
            raise
        finally:
            end_pass(owner)
        memory = owner.state(now.made, now.before.memory if now.before else None)
        now.holder.commit(Carried(memory, now.pending), now.log_p)
        return output

    def remove(self) -> None:
        """Let the network be called as before; no more than that if somebody wrapped this since."""
        if self.model.__dict__.get("forward") is self:
            del self.model.forward
            if self.before is not None:
                self.model.forward = self.before


def _start(owner: Augmentation, model: nn.Module, given: dict[str, Any]) -> Pass:
    if is_causal(model):
        return start_causal(owner, model, given)
    session = current_session(owner)
    if session is None:
        raise ConfigError(FORGOTTEN.format(cache=""))
    return session.start()
