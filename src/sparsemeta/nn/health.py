"""How well a memory is used: watched while a model runs, reported in numbers and in plain words.

And a remedy against slots that fall out of use: a loss to train with, beside the model's own.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sparsemeta.nn.parts import Addressing
from sparsemeta.nn.sparse_memory import SparseMemory


@dataclass
class Health:
    """What was seen of one memory, over all steps watched."""

    uses: Tensor
    """(H, N) int64, how often an address named each slot."""
    _sums: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, name: str, values: Tensor) -> None:
        """Take values into the mean of that name."""
        total, count = self._sums.get(name, (0.0, 0))
        self._sums[name] = total + values.double().sum().item(), count + values.numel()

    def _mean(self, name: str) -> float:
        total, count = self._sums.get(name, (math.nan, 1))
        return total / count

    @property
    def occupancy(self) -> float:
        """Share of the slots that were addressed at least once; the rest are dead."""
        return (self.uses > 0).double().mean().item()

    @property
    def entropy(self) -> float:
        """Entropy of use as a share of its maximum, log N: 1 is even, 0 is a single slot."""
        share = self.uses.double() / self.uses.sum(-1, keepdim=True).clamp(min=1)
        return torch.special.entr(share).sum(-1).mean().item() / math.log(max(2, share.shape[-1]))

    @property
    def hot(self) -> float:
        """Share of all uses that went to the busiest 1 % of the slots."""
        top = self.uses.topk(max(1, self.uses.shape[-1] // 100), dim=-1).values
        return (top.sum() / self.uses.sum().clamp(min=1)).item()

    rate = property(lambda self: self._mean("rate"), doc="Mean write strength.")
    write_norm = property(
        lambda self: self._mean("write_norm"),
        doc="Mean norm of what a step writes before it is corrected, rate times value.",
    )
    gate = property(lambda self: self._mean("gate"), doc="Mean openness of the read gate.")
    contribution = property(
        lambda self: self._mean("contribution"),
        doc="Norm of what the memory adds, relative to the norm of the layer's input.",
    )

    def warnings(self) -> list[str]:
        """What is wrong, in plain words, and what may help; nothing if all is well."""
        found = []
        if self.contribution < 0.01:
            found.append(
                f"the model ignores this memory: it adds {self.contribution:.1%} of its input's "
                "norm. Train longer, narrow the attention window, or move it to another layer."
            )
        if self.rate < 0.01:
            found.append(f"hardly anything is written: the mean write strength is {self.rate:.2%}.")
        uses_per_slot = self.uses.double().sum(-1).mean().item() / self.uses.shape[-1]
        if uses_per_slot > 10 and self.occupancy < 0.1:
            found.append(
                f"its slots have collapsed: {1 - self.occupancy:.0%} were never addressed. "
                "Use fewer slots, or more active ones."
            )
        return found

    def __str__(self) -> str:
        numbers = (
            f"{self.occupancy:.0%} of slots addressed, entropy {self.entropy:.2f}, "
            f"busiest 1 % take {self.hot:.0%}; write strength {self.rate:.2f}, "
            f"norm {self.write_norm:.2f}, gate {self.gate:.2f}, "
            f"adds {self.contribution:.0%} of its input's norm"
        )
        return "\n".join([numbers, *(f"warning: {text}" for text in self.warnings())])


@contextmanager
def observe(model: nn.Module) -> Iterator[dict[str, Health]]:
    """Watch every memory of a model while it runs inside this block; masked steps like others.

    Yields the health of each `SparseMemory`, by its name in the model; filled as the model runs.

    >>> from sparsemeta.nn import MemoryConfig
    >>> layer = SparseMemory(16, MemoryConfig(slots=64))
    >>> with observe(layer) as health:
    ...     _ = layer(torch.randn(1, 100, 16))
    >>> 0 < health[""].occupancy <= 1
    True
    >>> health[""].warnings()[0][:34]
    'the model ignores this memory: it '
    """
    found: dict[str, Health] = {}
    with ExitStack() as hooks:
        for name, layer in model.named_modules():
            if isinstance(layer, SparseMemory):
                uses = torch.zeros(layer.config.heads, layer.config.slots, dtype=torch.int64)
                found[name] = Health(uses)
                _watch(layer, found[name], hooks)
        yield found


def _watch(layer: SparseMemory, health: Health, hooks: ExitStack) -> None:
    def addressed(_module, _inputs, address):
        index = address.index.detach().cpu().movedim(2, 0).flatten(1)
        health.uses.scatter_add_(1, index, torch.ones_like(index))

    def generated(_module, _inputs, made):
        health.add("rate", made.rate.detach())
        health.add("write_norm", made.rate.detach() * made.value.detach().norm(dim=-1))

    def gated(_module, _inputs, logits):
        health.add("gate", logits.detach().sigmoid())

    def contributed(_module, inputs, outputs):
        x, y = inputs[0].detach().float(), outputs[0].detach().float()
        health.add("contribution", y.norm(dim=-1) / x.norm(dim=-1).clamp(min=1e-12))

    parts = (layer.addressing, layer.meta_learner, layer.gate, layer)
    for part, seen in zip(parts, (addressed, generated, gated, contributed), strict=True):
        hooks.callback(part.register_forward_hook(seen).remove)


@contextmanager
def usage_losses(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the `Addressing.usage_loss` of every memory of a model that runs inside this block.

    Masked steps count like others. Signed and dense addresses, no softmax, have no loss. Leave the
    block after the backward pass: a model that recomputes its activations then runs once more.
    Yields a scalar for each memory and run, as it runs; add a little of their sum to the loss.

    >>> from sparsemeta.nn import MemoryConfig
    >>> layer = SparseMemory(16, MemoryConfig(slots=64))
    >>> with usage_losses(layer) as losses:
    ...     y, _ = layer(torch.randn(1, 100, 16))
    ...     (y.square().mean() + 0.01 * sum(losses)).backward()
    >>> len(losses), layer.addressing.keys.grad.any().item()
    (1, True)
    """
    losses: list[Tensor] = []

    def used(addressing: Addressing, inputs: tuple[Tensor], _output: object) -> None:
        losses.append(addressing.usage_loss(*inputs))

    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, Addressing) and module.kind.softmax:
                hooks.callback(module.register_forward_hook(used).remove)
        yield losses
