"""Prequential evaluation: read texts once, from left to right, and score before reading.

All arms read the same stream with the same attention window; they differ in what may adapt to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from sparsemeta.errors import CorpusError, require
from sparsemeta.lm.scoring.arms.arm import Arm, arms_of
from sparsemeta.lm.scoring.arms.backbone import Backbone, backbone_of
from sparsemeta.lm.scoring.arms.scorer import Text, scoring, stream_of
from sparsemeta.lm.scoring.scores import Reading, Score
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenizer import Tokenizer
from sparsemeta.run import Precision, Progress


def evaluate(
    model: nn.Module,
    tokenizer: Tokenizer,
    texts: Sequence[Document],
    *,
    arms: Sequence[str | Arm] | None = None,
    segment: int = 256,
    precision: Precision = "32-true",
    scales: Mapping[bool, list[Tensor]] | None = None,
    progress: Progress | None = None,
) -> dict[str, Reading]:
    """Let a model read texts in order, once per arm, and score every token before it is read.

    Args:
        model: a `LanguageModel`, or a causal model of the transformers library, on the device it
            shall run on; left as it was.
        tokenizer: the model's own.
        texts: read one after the other as a single stream; a separator opens each.
        arms: names such as `carried+dynamic`, or arms with settings of their own. All that need
            no gradients if None.
        segment: tokens per forward pass (T); it changes speed, not scores. Dynamic arms read in
            segments of their setting.
        precision: of the forward pass; probabilities are float32 always.
        scales: what `gradient_scales` returned, which dynamic arms need.
        progress: where to show how it goes; nothing is shown without it.

    Returns:
        A reading for each arm, by its name, in the order asked for.

    Raises:
        ConfigError: an arm is unknown, or needs a memory or scales that are not there.
        CorpusError: there is nothing to read.
    """
    backbone = backbone_of(model)
    chosen = choose_arms(arms or arms_of(backbone.has_memory), backbone)
    require(segment >= 1, "segment must be at least 1")
    if not texts:
        raise CorpusError("there is no text to read. Name at least one.")
    for arm in chosen:
        require(
            not arm.dynamic or (arm.memory != "static") in (scales or {}),
            f"the arm '{arm}' needs the gradient's mean squares: pass gradient_scales(...)",
        )

    device = next(model.parameters()).device
    tokens = tokenizer.encode_all([text.text for text in texts])
    streams = [stream_of(part, tokenizer, device) for part in tokens]
    progress = progress or Progress(quiet=True)
    readings: dict[str, Reading] = {}
    for arm in chosen:
        progress.message(f"{arm}:")
        scale = (scales or {}).get(arm.memory != "static")
        with scoring(backbone, arm, segment=segment, precision=precision, scale=scale) as scorer:
            scorer.warm_up(streams[0])
            found = scorer.read_all(streams, progress)
        scores = tuple(map(_score, texts, found))
        policy = arm.policy(backbone.context, backbone.has_memory)
        readings[str(arm)] = Reading(str(arm), policy, scores, arm.settings())
    return readings


def choose_arms(arms: Sequence[str | Arm], backbone: Backbone) -> tuple[Arm, ...]:
    """Arms by name or as they are, each once.

    Raises:
        ConfigError: an arm is unknown, or needs a memory that the model does not have.
    """
    chosen = [arm if isinstance(arm, Arm) else Arm.parse(arm) for arm in arms]
    for arm in chosen:
        require(
            backbone.has_memory or arm.memory == "static",
            f"the arm '{arm}' needs a memory and this model has none: its arms are static, cache, "
            "dynamic and cache+dynamic. Ask for those, or train a model with model.memory_layers.",
        )
    return tuple(dict.fromkeys(chosen))


def _score(text: Document, read: Text) -> Score:
    words = len(text.text.split())
    lines = text.text.count("\n") + bool(text.text.rpartition("\n")[2])
    size = len(text.text.encode("utf-8"))
    return Score(text.name, read.nats, words, words + lines, size, read.seconds, read.nbytes)
