"""The settings of the cache and of dynamic evaluation, chosen on validation text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from sparsemeta.config import to_dict
from sparsemeta.errors import require
from sparsemeta.lm.scoring.arms.arm import Arm, Memory
from sparsemeta.lm.scoring.arms.backbone import Backbone
from sparsemeta.lm.scoring.arms.grid import THETAS, WEIGHTS, GridCache, Trial, Tuned, dynamic_points
from sparsemeta.lm.scoring.arms.scorer import Scorer, scoring, stream_of
from sparsemeta.lm.scoring.arms.settings import CacheSettings, DynamicSettings
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenizer import Tokenizer
from sparsemeta.run import Precision, Progress


def tune(
    backbone: Backbone,
    tokenizer: Tokenizer,
    texts: Sequence[Document],
    arms: Sequence[Arm],
    *,
    tokens: int = 40_000,
    scales: Mapping[bool, list[Tensor]] | None = None,
    segment: int = 256,
    precision: Precision = "32-true",
    progress: Progress | None = None,
) -> tuple[list[Arm], list[Tuned]]:
    """Choose settings for the parts of arms, each part tuned by itself.

    Args:
        backbone: the model.
        tokenizer: its own.
        texts: validation texts; never those that will be scored.
        arms: what to tune; an arm without parts stays as it is.
        tokens: how many of the texts' tokens are read for each point of a grid, from their start.
        scales: what `gradient_scales` returned for these arms.
        segment: tokens per forward pass.
        precision: of the forward pass.
        progress: where to show how it goes.

    Returns:
        The arms with the settings that were best for their parts, and the grids.

    Raises:
        ConfigError: there is no token to tune on.
    """
    require(tokens >= 1, "tune_tokens must be at least 1")
    device = next(backbone.model.parameters()).device
    streams = []
    for found in tokenizer.encode_all([text.text for text in texts]):
        streams.append(stream_of(found[:tokens], tokenizer, device))
        tokens -= len(streams[-1]) - 1
    require(any(len(stream) > 1 for stream in streams), "there is no validation text to tune on")
    options = {"segment": segment, "precision": precision}
    grids = _Grids(backbone, streams, scales or {}, options, progress or Progress(quiet=True))
    chosen = [grids.choose(arm) for arm in arms]
    return chosen, list(grids.found.values())


@dataclass(frozen=True)
class _Grids:
    """One model on one validation text; a part that several arms share is tuned once."""

    backbone: Backbone
    streams: Sequence[Tensor]
    scales: Mapping[bool, list[Tensor]]
    options: Mapping[str, Any]
    progress: Progress
    found: dict[tuple[Memory, type], Tuned] = field(default_factory=dict)

    def choose(self, arm: Arm) -> Arm:
        """The arm with the best settings."""
        for name in ("cache", "dynamic"):
            part = getattr(arm, name)
            if part is not None:
                key = arm.memory, type(part)
                if key not in self.found:
                    self.found[key] = self._grid(arm.memory, part)
                arm = replace(arm, **{name: self.found[key].best.settings})
        return arm

    def _grid(self, memory: Memory, part: CacheSettings | DynamicSettings) -> Tuned:
        if isinstance(part, CacheSettings):
            trials = self._cache(memory, part)
        else:
            trials = self._dynamic(memory, part)
        tuned = Tuned(memory, tuple(trials))
        best = ", ".join(f"{k} {v:g}" for k, v in to_dict(tuned.best.settings).items())
        self.progress.message(f"chosen: {best} ({tuned.best.nats:.4f} nats per token)")
        return tuned

    def _cache(self, memory: Memory, settings: CacheSettings) -> list[Trial]:
        """All points in one pass: the model reads alike whatever the cache makes of it."""
        arm = Arm(memory, cache=settings)
        self.progress.message(f"tuning {arm}: {len(THETAS) * len(WEIGHTS)} points in one pass")
        with self._scoring(arm) as scorer:
            scorer.cache = grid = GridCache(settings)
            scorer.read_all(self.streams, self.progress)
        return grid.trials()

    def _dynamic(self, memory: Memory, settings: DynamicSettings) -> list[Trial]:
        """A pass for each point, each from the weights as they were trained."""
        points, trials = dynamic_points(settings), []
        for i, point in enumerate(points, 1):
            arm = Arm(memory, dynamic=point)
            about = f"rate {point.rate:g}, decay {point.decay:g}"
            self.progress.message(f"tuning {arm}: {i}/{len(points)}, {about}")
            with self._scoring(arm) as scorer:
                texts = scorer.read_all(self.streams, self.progress)
            trials.append(Trial(point, float(np.concatenate([t.nats for t in texts]).mean())))
        return trials

    def _scoring(self, arm: Arm) -> AbstractContextManager[Scorer]:
        scale = self.scales.get(arm.memory != "static")
        return scoring(self.backbone, arm, scale=scale, **self.options)
