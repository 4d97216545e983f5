"""`augment` gives modules of a network a memory, `strip` takes it away again.

Each module gets a child, and a hook that adds what the child remembers to what the module hands
out; the network itself a `Forward`, a pass around its own. No module is replaced, so classes, names
and weights of the network stay. Hooks find memories through their modules: a copy of the network
has memories of its own.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from sparsemeta.augmented.attached import (
    CHILD,
    OUTPUT,
    ROWS,
    TABLES,
    Augmentation,
    AugmentConfig,
    HiddenMemory,
    OutputMemory,
)
from sparsemeta.augmented.calls import Forward
from sparsemeta.augmented.causal import (
    is_causal,
    read_output,
    see_embedding,
    see_hidden,
)
from sparsemeta.augmented.passes import Pass, current_pass, uncompiled
from sparsemeta.augmented.sessions import (
    ATTRIBUTE,
    FORGOTTEN,
    augmentation,
    current_session,
    unwrapped,
)
from sparsemeta.augmented.steps import as_steps, take_tensor
from sparsemeta.augmented.targets import Targets, find_targets, width_of
from sparsemeta.config import MemoryConfig, RowsConfig, TablesConfig
from sparsemeta.errors import ConfigError, require
from sparsemeta.nn import AdaptiveLayer

Model = TypeVar("Model", bound=nn.Module)
Output = str | RowsConfig | TablesConfig


def augment(
    model: Model,
    memory: MemoryConfig | None = None,
    *,
    targets: Targets = None,
    output: Sequence[Output] | None = None,
    feedback: int | None = None,
    frozen: bool = True,
) -> Model:
    r"""Give modules of a network a memory, each its own: $y = h + \mathrm{memory}(h)$.

    Until it is trained the network computes what it did, bit for bit, and so it does inside
    `memory_off` and after `strip`; but tables need no training, and speak as soon as they hold
    something. From here on the network is called inside a `session`; a causal language model of
    transformers also with a `MemoryCache`.

    Args:
        model: any network; it is changed, and returned. Of a `PeftModel`, what it wraps: then with
            frozen=False, if its adapters are to be trained, too.
        memory: settings of each hidden memory.
        targets: the modules that get one, see `find_targets`: names, ends of names, patterns,
            types; `()` for none. If None, the middle one of its blocks; but none of a causal
            language model, where output memories bring more and cost less.
        output: of a causal language model, the memories where tokens are predicted: "rows" and
            "tables", which are also the default, or their settings; `()` for none.
        feedback: the width of what a session reveals, if that is not the width of each target. A
            language model reveals tokens, by itself.
        frozen: whether the network's own weights stop requiring gradients.

    Raises:
        ConfigError: a target or an output memory that cannot be, or the network has one already.
    """
    given, model = model, cast(Model, unwrapped(model))
    _require_plain(model)
    causal: Any = model if is_causal(model) else None
    found = find_targets(model, () if targets is None and causal is not None else targets)
    rows, tables = _output(output, causal is not None)
    if causal is not None:
        feedback = causal.get_input_embeddings().weight.shape[1]
    config = AugmentConfig(tuple(found), memory or MemoryConfig(), rows, tables, feedback)
    require(bool(found or rows or tables), "nothing to add: name targets, or output memories")

    owner = Augmentation(config)
    made: dict[str, tuple[nn.Module, HiddenMemory | OutputMemory]] = {}
    for name, module in found.items():
        made[name.replace(".", "/") or "/"] = module, _hidden(name, module, model, config)
    if rows or tables:
        made[OUTPUT] = _at_the_output(model, config)
    for name, weight in model.named_parameters() if frozen else ():
        if weight.requires_grad:
            owner.frozen.append(name)
            weight.requires_grad_(False)
    for key, (module, child) in made.items():
        _put(module, child, model)
        owner.memories[key], owner.homes[key] = child, module
        if key != OUTPUT:
            told = partial(_read_target, key, owner)
            owner.handles.append(module.register_forward_hook(told))
    if causal is not None:
        shows = (causal.get_input_embeddings(), see_embedding), (causal.base_model, see_hidden)
        for module, see in (*shows, (causal.get_output_embeddings(), read_output)):
            if module is not None:
                owner.handles.append(module.register_forward_hook(partial(see, owner)))
    owner.forward = model.forward = Forward(model)
    setattr(model, ATTRIBUTE, owner)
    return given


def strip(model: Model) -> Model:
    """Take the memories away again: the network is what it was before `augment`.

    Raises:
        ConfigError: it is not augmented.
    """
    owner, given, model = augmentation(model), model, cast(Model, unwrapped(model))
    for handle in owner.handles:
        handle.remove()
    if owner.forward is not None:
        owner.forward.remove()
    for module in owner.homes.values():
        delattr(module, CHILD)
    for name, weight in model.named_parameters():
        if name in owner.frozen:
            weight.requires_grad_(True)
    delattr(model, ATTRIBUTE)
    return given


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """What training an augmented network would change, by name: with a frozen base, its memories.

    Raises:
        ConfigError: it is not augmented.
    """
    augmentation(model)
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def memories(model: nn.Module) -> nn.ModuleDict:
    """The memories of an augmented network by themselves, without the network.

    A `FastWeights` is saved and loaded for these: `state.save(path, memories(model))`. Its
    fingerprint is then that of what was trained, and does not change with the base's dtype.

    Raises:
        ConfigError: it is not augmented.
    """
    return nn.ModuleDict(augmentation(model).memories)


def named_memories(model: nn.Module) -> dict[str, AdaptiveLayer]:
    """Every memory of an augmented network, by what it is called in a state.

    Raises:
        ConfigError: it is not augmented.
    """
    return augmentation(model).named_layers


def _read_target(key: str, owner: Augmentation, module: nn.Module, args: tuple, output: Any) -> Any:
    """After a target was called: what it handed out, and what is remembered, together."""
    child: HiddenMemory = getattr(module, CHILD)
    if not child.memory.enabled:
        return None
    now = _require_pass(owner, key)
    require(
        key not in now.made,
        f"{key} was called twice in one pass, and would write twice at one step. Name a module "
        "around each of its uses, or inside it",
    )
    tensor, put = take_tensor(output, key)
    x, back = as_steps(module, tensor, now.streams, key)
    return put(tensor + back(uncompiled(child)(x, key, now)).to(tensor.dtype))


def _require_pass(owner: Augmentation, key: str) -> Pass:
    now = current_pass(owner)
    if now is not None:
        return now
    require(
        current_session(owner) is None,
        f"{key} was called by itself: call the whole augmented model, so that its session sees "
        "where a pass begins and ends. (Or it was computed again in a backward pass, by "
        "checkpointing around it: augment the whole block that is checkpointed)",
    )
    raise ConfigError(FORGOTTEN.format(cache=""))


def _require_plain(model: nn.Module) -> None:
    augmented = [name for name, m in model.named_modules() if hasattr(m, CHILD)]
    require(
        not augmented,
        f"this network has a memory already, at {', '.join(augmented[:3])}: `strip` it first, and "
        "name all targets at once",
    )


def _output(output: Sequence[Output] | None, causal: bool) -> tuple[Any, Any]:
    """The settings of rows and tables, or None."""
    if output is None:
        output = (ROWS, TABLES) if causal else ()
    require(
        causal or not output,
        "output memories are for causal language models of transformers: leave output out",
    )
    defaults = {ROWS: RowsConfig(), TABLES: TablesConfig(bytes=())}
    chosen: dict[type, Any] = {}
    for item in output:
        config = defaults.get(item) if isinstance(item, str) else item
        require(config is not None, f"output = {item!r} is not one of {', '.join(defaults)}")
        chosen[type(config)] = config
    return chosen.get(RowsConfig), chosen.get(TablesConfig)


def _hidden(name: str, module: nn.Module, model: nn.Module, config: AugmentConfig) -> HiddenMemory:
    settings = getattr(model, "config", None)
    text = getattr(settings, "get_text_config", None)
    block = any(True for _ in module.children())
    width = width_of(module, getattr(text(), "hidden_size", None) if text and block else None)
    if width is None:
        raise ConfigError(
            f"{name}: a {type(module).__name__} does not say how wide what it hands out is. Name a "
            "module inside it that does, such as a Linear"
        )
    return HiddenMemory(width, config.memory, None if config.feedback == width else config.feedback)


def _at_the_output(model: Any, config: AugmentConfig) -> tuple[nn.Module, OutputMemory]:
    """The output layer of a causal language model, and a memory for it."""
    head = model.get_output_embeddings()
    width, classes = model.config.get_text_config().hidden_size, model.config.vocab_size
    if head is None or config.feedback != width:
        raise ConfigError(
            "output memories need an output layer, and embeddings as wide as its input: leave "
            "them out, as output=()"
        )
    return head, OutputMemory(width, classes, config.rows, config.tables)


def _put(module: nn.Module, child: nn.Module, model: nn.Module) -> None:
    """Make it a child: where the module is, and as the network is; never coarser than float32."""
    floats = [w for w in (*module.parameters(), *model.parameters()) if w.is_floating_point()]
    like: Tensor = floats[0] if floats else torch.empty(0)
    child.to(like.device, torch.promote_types(like.dtype, torch.float32))
    module.add_module(CHILD, child.train(model.training))
