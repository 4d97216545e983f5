"""What a forward pass of a causal language model tells its memories.

Its hooks: the model itself begins a pass; the embedding shows what was observed, the decoder what
the output layer reads; the output layer is where tokens are predicted.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, rms_norm

from sparsemeta.augmented.attached import CHILD, Augmentation
from sparsemeta.augmented.passes import Pass, current_pass, uncompiled
from sparsemeta.augmented.sessions import FORGOTTEN, current_session
from sparsemeta.augmented.steps import take_tensor
from sparsemeta.errors import ConfigError, StateError, require

OR_CACHE = ", or with past_key_values=MemoryCache(model, memory)"


def is_causal(model: nn.Module) -> bool:
    """Whether it is a causal language model of transformers, decoder only."""
    perhaps: Any = model
    return bool(getattr(model, "can_generate", bool)()) and not perhaps.config.is_encoder_decoder


def start_causal(owner: Augmentation, model: Any, given: dict[str, Any]) -> Pass:
    """A pass of a causal language model, by the arguments that it was called with, by name.

    Raises:
        ConfigError: nobody has said whose memory it is, or it would be lost.
    """
    from sparsemeta.augmented.cache import MemoryCache

    session, held = current_session(owner), given.get("past_key_values")
    cache = held if isinstance(held, MemoryCache) else None
    if session is None and cache is None:
        lost = "" if held is None else f"a {type(held).__name__} keeps no memory. "
        raise ConfigError(lost + FORGOTTEN.format(cache=OR_CACHE))
    require(
        session is None or held is None,
        f"a session holds the memory, and past_key_values, a {type(held).__name__}, would hold "
        "another or lose it: give past_key_values=MemoryCache(model, s.memory) outside the session",
    )
    rereads = given.get("use_cache") is False and not torch.is_grad_enabled()
    require(
        not rereads,
        "with use_cache=False, `generate` reads the whole text again for each token, and would "
        "write it again: leave it out" + OR_CACHE,
    )
    tokens = given.get("input_ids")
    if not isinstance(tokens, Tensor) or tokens.dim() != 2:
        raise ConfigError(
            "a memory learns which token came: call the model with input_ids (streams, steps), and "
            "not with inputs_embeds"
        )
    mask = _real(given.get("attention_mask"), tokens)
    if session is None:
        assert cache is not None
        now = cache.start(model, tokens, mask)
    else:
        now = session.start()
        now.mask = mask if now.mask is None else now.mask if mask is None else now.mask & mask
    now.tokens, now.streams = tokens, len(tokens)
    _require_streams(now, tokens)
    kept = given.get("logits_to_keep", 0)
    now.kept = kept if isinstance(kept, Tensor) else slice(-kept or None, None)
    require(
        now.targets is None or now.kept == slice(None),
        "targets are those of all steps: leave logits_to_keep out",
    )
    _require_outside_checkpoints(owner, model)
    return now


def see_embedding(owner: Augmentation, module: nn.Module, args: tuple, output: Tensor) -> None:
    """Note what was observed: the embedding of each token, of unit size. A hook."""
    now = current_pass(owner)
    if now is not None and now.feedback is None:
        now.feedback = rms_norm(output, output.shape[-1:])


def see_hidden(owner: Augmentation, module: nn.Module, args: tuple, output: Any) -> None:
    """Note what the output layer is going to read. A hook."""
    now = current_pass(owner)
    if now is not None:
        now.hidden, _ = take_tensor(output, type(module).__name__)


def read_output(owner: Augmentation, module: nn.Module, args: tuple, logits: Tensor) -> Any:
    """Let what is remembered speak where tokens are predicted, and score targets. A hook."""
    now = current_pass(owner)
    if now is None:
        return None
    memory = getattr(module, CHILD, None)
    if memory is not None:
        logits = uncompiled(memory)(logits, module, now)
    if now.targets is not None and now.log_p is None:
        flat = logits.flatten(0, 1).to(torch.promote_types(logits.dtype, torch.float32))
        nats = cross_entropy(flat, now.targets.flatten(), reduction="none")
        now.log_p = -nats.view_as(now.targets)
    return logits


def _real(attention_mask: Any, tokens: Tensor) -> Tensor | None:
    """Which tokens (B, T) are no padding; None where all are."""
    if attention_mask is None:
        return None
    require(
        isinstance(attention_mask, Tensor) and attention_mask.dim() == 2,
        "a memory is told of padding by an attention_mask (streams, steps): give no other",
    )
    mask = attention_mask[:, -tokens.shape[1] :].bool()
    return None if mask.all() else mask


def _require_streams(now: Pass, tokens: Tensor) -> None:
    if now.before is not None and now.before.memory.batch != len(tokens):
        raise StateError(
            f"the memory holds {now.before.memory.batch} streams but input_ids has {len(tokens)} "
            "rows: give one row for each stream, or `select` streams of the memory"
        )


def _require_outside_checkpoints(owner: Augmentation, model: nn.Module) -> None:
    """A module inside a checkpointed block is called again in the backward pass."""
    for target in owner.config.targets if model.training else ():
        parts = target.split(".")
        around = (model.get_submodule(".".join(parts[:n])) for n in range(1, len(parts)))
        require(
            not any(m.__dict__.get("gradient_checkpointing") and _is_block(m) for m in around),
            f"{target} lies inside a block that is checkpointed, and would write again in the "
            "backward pass: augment the whole block, or call activation_checkpointing_disable()",
        )


def _is_block(module: nn.Module) -> bool:
    """Whether checkpointing computes all of it again."""
    return hasattr(module, "_can_checkpoint_with_cache")
