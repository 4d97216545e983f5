"""The gradient's mean squares over training text, which dynamic evaluation needs beforehand."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from sparsemeta.errors import require
from sparsemeta.lm.scoring.arms.arm import Arm
from sparsemeta.lm.scoring.arms.backbone import Backbone
from sparsemeta.lm.scoring.arms.dynamic import MeanSquares
from sparsemeta.lm.scoring.arms.scorer import scoring, stream_of
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenizer import Tokenizer
from sparsemeta.run import Precision, Progress

EXCERPT = 8192
"""Characters of training text that are read in a row, from an empty memory."""


def gradient_scales(
    backbone: Backbone,
    tokenizer: Tokenizer,
    training: Sequence[Document],
    arms: Sequence[Arm],
    *,
    precision: Precision = "32-true",
    progress: Progress | None = None,
) -> dict[bool, list[Tensor]]:
    """What the dynamic arms among `arms` divide their gradients by.

    Args:
        backbone: the model.
        tokenizer: its own.
        training: the text it was trained on; `DynamicSettings.samples` segments of it are read,
            in excerpts chosen by a fixed seed.
        arms: those to be read; all dynamic ones have the same segment and samples.
        precision: of the forward pass.
        progress: where to show how it goes.

    Returns:
        By whether the memory is on, see `MeanSquares.root`; empty if no arm is dynamic.

    Raises:
        ConfigError: there is a dynamic arm, but no training text.
    """
    dynamic = [arm for arm in arms if arm.dynamic]
    progress = progress or Progress(quiet=True)
    scales: dict[bool, list[Tensor]] = {}
    for arm in dynamic:
        memory = arm.memory != "static"
        if memory not in scales:
            require(bool(training), f"the arm '{arm}' needs training text, for its gradients")
            scales[memory] = _scale(backbone, tokenizer, training, arm, precision, progress)
    return scales


def _scale(
    backbone: Backbone,
    tokenizer: Tokenizer,
    training: Sequence[Document],
    arm: Arm,
    precision: Precision,
    progress: Progress,
) -> list[Tensor]:
    settings = arm.dynamic
    assert settings is not None
    device = next(backbone.model.parameters()).device
    excerpts = sample(tokenizer, training, settings.samples * settings.segment)
    streams = [stream_of(tokens, tokenizer, device) for tokens in excerpts]
    meter = MeanSquares(backbone.model, settings.segment)
    alone = Arm("static" if arm.memory == "static" else "document")
    progress.message(f"{arm}: gradients of {sum(map(len, excerpts)):,} tokens of training text")
    with scoring(
        backbone, alone, segment=settings.segment, precision=precision, learner=meter
    ) as scorer:
        scorer.read_all(streams, progress)
    return meter.root()


def sample(
    tokenizer: Tokenizer, documents: Sequence[Document], tokens: int, seed: int = 0
) -> list[np.ndarray]:
    """Excerpts of documents, in an order drawn by the seed, until there are enough tokens.

    Args:
        tokenizer: the model's own.
        documents: the training text.
        tokens: how many, all of the text if it has fewer.
        seed: the same one gives the same excerpts.

    Returns:
        The tokens of each excerpt; of the last, as many as are still missing.
    """
    places = [
        (document.text, start)
        for document in documents
        for start in range(0, len(document.text), EXCERPT)
    ]
    random.Random(seed).shuffle(places)
    excerpts: list[np.ndarray] = []
    for text, start in places:
        if tokens <= 0:
            break
        excerpts.append(tokenizer.encode(text[start : start + EXCERPT])[:tokens])
        tokens -= len(excerpts[-1])
    return excerpts
