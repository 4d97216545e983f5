"""Which weights of a language model are trained how."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from sparsemeta import run as engine
from sparsemeta.lm.attention import WindowAttention
from sparsemeta.lm.config import TrainingConfig
from sparsemeta.lm.modelling import MLP
from sparsemeta.nn import RowMemory, TableMemory


def make_optimizer(model: nn.Module, config: TrainingConfig) -> engine.Muon:
    """Muon for the matrices of attention and MLP, if they have a rate; AdamW for the rest."""
    groups = parameter_groups(model, config)
    return engine.Muon(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=True)


def parameter_groups(model: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """Decay the matrices; leave embeddings, gains, biases and output memories alone.

    Those memories have a learning rate of their own, in proportion to that of the rest, and so have
    the matrices that Muon trains.
    """
    kinds = nn.Embedding, RowMemory, TableMemory
    kept = {p: m for m in model.modules() if isinstance(m, kinds) for p in m.parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    muon: dict[int, list[Tensor]] = {}
    for weight, parts in _matrices(model) if config.matrix_rate else ():
        if weight.requires_grad:
            muon.setdefault(parts, []).append(weight)
    by_muon = {weight for weights in muon.values() for weight in weights}
    output = [p for p in trained if isinstance(kept.get(p), RowMemory | TableMemory)]
    decayed = [p for p in trained if p.ndim >= 2 and p not in kept and p not in by_muon]
    others = [p for p in trained if p not in {*output, *decayed, *by_muon}]
    share = config.matrix_rate / config.learning_rate
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
        {"params": output, "weight_decay": 0.0, "share": config.output_rate},
    ]
    for parts, weights in muon.items():
        shared = {"weight_decay": config.weight_decay, "share": share}
        groups.append({"params": weights, "parts": parts, **shared})
    return [group for group in groups if group["params"]]


def _matrices(model: nn.Module) -> Iterator[tuple[Tensor, int]]:
    """The weights of attention and MLP, and of how many matrices each is made."""
    for module in model.modules():
        if isinstance(module, WindowAttention):
            yield from ((module.qkv.weight, 3), (module.output.weight, 1))
        elif isinstance(module, MLP):
            yield from ((module.input.weight, 2 if module.gated else 1), (module.output.weight, 1))
