"""One arm's way through a stream: read a segment, score it, and only then learn from it.

The logits at step t predict token t + 1 from what is known after token t.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from sparsemeta.lm.scoring.arms.arm import Arm
from sparsemeta.lm.scoring.arms.backbone import Backbone
from sparsemeta.lm.scoring.arms.cache import NeuralCache
from sparsemeta.lm.scoring.arms.dynamic import Learner, RMSUpdate
from sparsemeta.lm.text.tokenizer import Tokenizer
from sparsemeta.nn import memory_off
from sparsemeta.run import Precision, Progress


class Text(NamedTuple):
    """What came of reading one text."""

    nats: np.ndarray  # (tokens,) float32, -log p of each token
    seconds: float
    nbytes: int  # of all that is carried after it


class Scorer:
    """Reads texts one after the other as a single stream, and scores every token once.

    Made by `scoring`, which sets the model up for the arm.

    Args:
        backbone: the model.
        arm: what adapts.
        segment: tokens per forward pass.
        precision: of the forward pass; probabilities are float32 always.
        learner: told of every segment after it has been scored.
    """

    def __init__(
        self,
        backbone: Backbone,
        arm: Arm,
        *,
        segment: int,
        precision: Precision = "32-true",
        learner: Learner | None = None,
    ):
        self.backbone, self.arm, self.learner = backbone, arm, learner
        self.segment = min(segment, backbone.longest or segment)
        self.cache = NeuralCache(arm.cache) if arm.cache else None
        self.state: Any = None
        self._bf16 = precision == "bf16-mixed"

    @property
    def nbytes(self) -> int:
        """Size in bytes of all that is carried: state, cache and changed weights."""
        size = self.backbone.nbytes(self.state, memory=self.arm.memory != "static")
        return size + sum(part.nbytes for part in (self.cache, self.learner) if part)

    def warm_up(self, stream: Tensor) -> None:
        """Do once, at no text's cost, what a first call has to set up."""
        with torch.no_grad():
            self.backbone.read(stream[:1], None, empty=False)

    def read_all(self, streams: Sequence[Tensor], progress: Progress) -> list[Text]:
        """Read texts in order, showing how it goes."""
        done, found = 0, []
        with progress.track(0, sum(math.ceil((len(s) - 1) / self.segment) for s in streams)):
            for stream in streams:
                began, nats = time.perf_counter(), [torch.zeros(0)]
                for part in self.read(stream):
                    done += 1
                    nats.append(part.cpu())
                    progress.update(done, nats[-1].mean().item(), len(part))
                seconds = time.perf_counter() - began
                found.append(Text(torch.cat(nats).numpy(), seconds, self.nbytes))
        return found

    def read(self, stream: Tensor) -> Iterator[Tensor]:
        """Read a text (tokens,), its separator first; yield the nats of each segment's tokens.

        The last token is read, as context of the next text, but predicts nothing here.
        """
        for start in range(0, len(stream), self.segment):
            tokens = stream[start : start + self.segment]
            targets = stream[start + 1 : start + self.segment + 1]
            logits, hidden = self._forward(tokens, empty=start == 0)
            if not len(targets):
                continue
            logits, hidden = logits[: len(targets)], hidden[: len(targets)].detach()
            yield nll_loss(self._log_p(logits.detach(), hidden, targets), targets, reduction="none")
            if self.cache:
                self.cache.remember(hidden, targets)
            if self.learner:
                self.learner.learn(logits, targets)

    def _forward(self, tokens: Tensor, empty: bool) -> tuple[Tensor, Tensor]:
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self._bf16):
            logits, hidden, state = self.backbone.read(
                tokens, self.state, empty=empty and self.arm.memory == "document"
            )
        self.state = self.backbone.detach(state) if self.learner else state
        return logits, hidden

    def _log_p(self, logits: Tensor, hidden: Tensor, targets: Tensor) -> Tensor:
        """The distribution (T, V) that is scored."""
        log_p = logits.float().log_softmax(-1)
        return self.cache.mix(log_p, hidden, targets) if self.cache else log_p


@contextmanager
def scoring(
    backbone: Backbone,
    arm: Arm,
    *,
    segment: int,
    precision: Precision = "32-true",
    scale: list[Tensor] | None = None,
    learner: Learner | None = None,
) -> Iterator[Scorer]:
    """Set a model up for an arm, and leave it as it was, whatever happens inside the block.

    Args:
        backbone: the model.
        arm: what adapts. A dynamic arm reads in segments of its own setting.
        segment: tokens per forward pass.
        precision: of the forward pass.
        scale: what a dynamic arm divides its gradients by, see `RMSUpdate`.
        learner: something else that learns from the segments.
    """
    with ExitStack() as stack:
        if arm.memory == "static":
            stack.enter_context(memory_off(backbone.model))
        if arm.dynamic:
            assert scale is not None  # the callers see to it
            update = RMSUpdate(backbone.model, scale, arm.dynamic)
            learner, segment = stack.enter_context(update.undone()), arm.dynamic.segment
        stack.enter_context(torch.enable_grad() if learner else torch.inference_mode())
        yield Scorer(backbone, arm, segment=segment, precision=precision, learner=learner)


def stream_of(tokens: np.ndarray, tokenizer: Tokenizer, device: torch.device) -> Tensor:
    """A text as it is read, int64: the separator, then its tokens."""
    opening = np.array([tokenizer.separator], np.int64)
    return torch.from_numpy(np.concatenate([opening, tokens], dtype=np.int64)).to(device)
