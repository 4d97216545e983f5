"""Prequential evaluation: read texts once, from left to right, and score before reading.

The logits at step t predict token t + 1 from a memory that knows tokens up to t alone. All arms
read the same stream with the same attention window; only the life of the memory differs.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sparsemeta.config import require
from sparsemeta.engine import Precision, Progress
from sparsemeta.errors import CorpusError
from sparsemeta.lm.corpus import Document
from sparsemeta.lm.modelling import LanguageModel, LMState
from sparsemeta.lm.scores import ARMS, Reading, Score
from sparsemeta.lm.tokenizer import Tokenizer
from sparsemeta.nn import memory_off

_MEMORY = {"static": "off", "document": "emptied at each text", "carried": "never emptied"}


def arms_of(model: LanguageModel) -> tuple[str, ...]:
    """The arms that a model can be read in: `static` alone if it has no memory."""
    return ARMS if model.config.memory_layers else ("static",)


def policy(model: LanguageModel, arm: str) -> str:
    """What an arm's predictions can draw on, in words."""
    memory = _MEMORY[arm] if model.config.memory_layers else "none"
    window = model.config.window
    return (
        "one pass, left to right, each token scored before it is read; "
        f"attention: last {window} tokens, across texts; memory: {memory}"
    )


def evaluate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    texts: Sequence[Document],
    *,
    arms: Sequence[str] | None = None,
    segment: int = 256,
    precision: Precision = "32-true",
    progress: Progress | None = None,
) -> dict[str, Reading]:
    """Let a model read texts in order, once per arm, and score every token before it is read.

    Args:
        model: on the device it shall run on.
        tokenizer: the model's own.
        texts: read one after the other as a single stream; a separator opens each.
        arms: what becomes of the memory: `static` off, `document` emptied at each text's
            separator, `carried` never emptied. All that the model has if None.
        segment: tokens per forward pass (T); it changes speed, not scores.
        precision: of the forward pass; probabilities are float32 always.
        progress: where to show how it goes; nothing is shown without it.

    Returns:
        A reading for each arm, in the order asked for.

    Raises:
        ConfigError: an arm is unknown, or needs a memory that the model does not have.
        CorpusError: there is nothing to read.
    """
    chosen = tuple(dict.fromkeys(arms)) if arms else arms_of(model)
    _require_arms(chosen, model)
    require(segment >= 1, "segment must be at least 1")
    if not texts:
        raise CorpusError("there is no text to read. Name at least one.")

    device = next(model.parameters()).device
    tokens = tokenizer.encode_all([text.text for text in texts])
    opening = np.array([tokenizer.separator], np.int64)
    streams = [torch.from_numpy(np.concatenate([opening, part])).to(device) for part in tokens]
    progress = progress or Progress(quiet=True)
    steps = itertools.count(1)

    def seen(nats: Tensor) -> None:
        progress.update(next(steps), nats.sum().item() / max(1, len(nats)), len(nats))

    readings: dict[str, Reading] = {}
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"),
        progress.track(0, len(chosen) * sum(math.ceil(len(s) / segment) for s in streams)),
    ):
        for arm in chosen:
            with memory_off(model) if arm == "static" else nullcontext():
                model(streams[0][None, :1])  # what a first call has to set up is no text's cost
                scores, state = [], None
                for text, stream in zip(texts, streams, strict=True):
                    began = time.perf_counter()
                    nats, state = _read(model, stream, state, segment, arm == "document", seen)
                    seconds = time.perf_counter() - began
                    size = state.nbytes - (state.memory.nbytes if arm == "static" else 0)
                    scores.append(_score(text, nats, seconds, size))
            readings[arm] = Reading(arm, policy(model, arm), tuple(scores))
    return readings


def _read(
    model: LanguageModel,
    stream: Tensor,
    state: LMState | None,
    segment: int,
    empty: bool,
    seen: Callable[[Tensor], None],
) -> tuple[np.ndarray, LMState]:
    """Read one text, its separator first; return the nats of each token and the state after.

    The last token is read, as context of the next text, but predicts nothing here.
    """
    nats = []
    for start in range(0, len(stream), segment):
        tokens = stream[None, start : start + segment]
        reset = None
        if empty:
            reset = torch.zeros_like(tokens, dtype=torch.bool)
            reset[:, 0] = start == 0
        logits, state = model(tokens, state, reset=reset, overwrite=True)
        targets = stream[start + 1 : start + segment + 1]
        loss = cross_entropy(logits[0, : len(targets)].float(), targets, reduction="none")
        nats.append(loss.cpu())
        seen(nats[-1])
    assert state is not None  # a stream holds its separator at least
    return torch.cat(nats).numpy(), state


def _score(text: Document, nats: np.ndarray, seconds: float, state_bytes: int) -> Score:
    words = len(text.text.split())
    lines = text.text.count("\n") + bool(text.text.rpartition("\n")[2])
    size = len(text.text.encode("utf-8"))
    return Score(text.name, nats, words, words + lines, size, seconds, state_bytes)


def _require_arms(arms: Sequence[str], model: LanguageModel) -> None:
    for arm in arms:
        require(arm in ARMS, f"unknown arm {arm!r}. The arms are {', '.join(ARMS)}.")
        require(
            arm in arms_of(model),
            f"the arm {arm!r} needs a memory and this model has none: its only arm is 'static'. "
            "Ask for that, or train a model with model.memory_layers.",
        )
