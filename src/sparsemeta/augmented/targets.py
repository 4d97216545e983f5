"""Which modules of a network get a memory, and how wide what they hand out is."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from torch import nn

from sparsemeta.errors import ConfigError, require

Target = str | re.Pattern[str] | type[nn.Module]
Targets = Target | Sequence[Target] | None

WIDTHS = ("out_features", "out_channels", "embedding_dim", "embed_dim", "nf")
"""What modules call the width of what they hand out; `nf` is a Conv1D of transformers."""


def find_targets(model: nn.Module, targets: Targets = None) -> dict[str, nn.Module]:
    """Modules by name.

    Args:
        model: the network.
        targets: names; ends of names, at a dot; regular expressions of whole names; types. None is
            the block in the middle of the longest `ModuleList` of modules of one class.

    Raises:
        ConfigError: one matches nothing, or a module that cannot be listened to.
    """
    names: dict[nn.Module, list[str]] = defaultdict(list)
    for name, module in model.named_modules(remove_duplicate=False):
        names[module].append(name)
    given = [targets] if isinstance(targets, (str, re.Pattern, type)) else targets
    chosen = (
        [_middle_block(model)] if given is None else [m for t in given for m in _match(names, t)]
    )
    found: dict[str, nn.Module] = {}
    for module in map(_last_of_sequence, chosen):
        name = names[module][0]
        require(
            len(names[module]) == 1,
            f"{', '.join(names[module])} are one module, shared: at one step it would write twice. "
            "Name a module around each of its uses",
        )
        require(
            not isinstance(module, (nn.ModuleList, nn.ModuleDict)),
            f"{name} is a {type(module).__name__}, which is never called. Name what it holds",
        )
        found[name] = module
    return found


def width_of(module: nn.Module, otherwise: int | None = None) -> int | None:
    """D of what a module hands out; `otherwise` if the module itself does not say, or a guess."""
    if isinstance(module, nn.RNNBase):
        return (module.proj_size or module.hidden_size) * (1 + module.bidirectional)
    for name in WIDTHS:
        if isinstance(found := getattr(module, name, None), int):
            return found
    weight = getattr(module, "weight", None)
    if weight is not None and weight.dim() == 1:  # of a norm
        return len(weight)
    if otherwise is not None:
        return otherwise
    inside = map(width_of, reversed(list(module.children())))
    return next((width for width in inside if width is not None), None)


def _match(names: dict[nn.Module, list[str]], target: Target) -> list[nn.Module]:
    every = {name: module for module, called in names.items() for name in called}
    if isinstance(target, type):
        found = [module for module in names if isinstance(module, target)]
        kinds = {type(module).__name__ for module in names}
        require(
            bool(found),
            f"no module is a {target.__name__}. There are: {', '.join(sorted(kinds))}",
        )
        return found
    if isinstance(target, re.Pattern):
        found, text = [m for name, m in every.items() if target.fullmatch(name)], target.pattern
    else:
        found, text = _by_name(every, target), target
    require(bool(found), f"no module is called {text!r}. {_near(text, every)}")
    return list(dict.fromkeys(found))


def _by_name(every: dict[str, nn.Module], text: str) -> list[nn.Module]:
    """Those of this name, or else of this end of a name, or else those that it describes."""
    if text in every:
        return [every[text]]
    if found := [module for name, module in every.items() if name.endswith(f".{text}")]:
        return found
    try:
        pattern = re.compile(text)
    except re.error:
        return []
    return [module for name, module in every.items() if pattern.fullmatch(name)]


def _near(text: str, names: Iterable[str]) -> str:
    named = [name for name in names if name]
    ends = {name.rpartition(".")[2]: name for name in reversed(named)}
    near = difflib.get_close_matches(text, named, n=5) or [
        ends[end] for end in difflib.get_close_matches(text, ends, n=5)
    ]
    if near:
        return f"Near it: {', '.join(near)}"
    return f"Some names: {', '.join(named[:8])}" + (" ..." if len(named) > 8 else "")


def _middle_block(model: nn.Module) -> nn.Module:
    lists = list(_lists_of_blocks(model))
    if not lists:
        raise ConfigError(
            f"a {type(model).__name__} has no list of blocks of one kind: say which modules get a "
            "memory, as targets='NAME' or targets=nn.Linear, or none, as targets=()"
        )
    longest = max(lists, key=len)
    return longest[len(longest) // 2]


def _lists_of_blocks(model: nn.Module) -> Iterator[nn.ModuleList]:
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len({type(block) for block in module}) == 1:
            yield module


def _last_of_sequence(module: nn.Module) -> nn.Module:
    """A `Sequential` would call a memory as one more layer; what its last hands out is its own."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    return module
