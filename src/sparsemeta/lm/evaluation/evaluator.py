"""Prequential evaluation: read texts once, from left to right, and score before reading.

All arms read the same stream with the same attention window; they differ in what may adapt to it.
"""

import math
import random
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch

from sparsemeta.errors import require
from sparsemeta.lm.evaluation.adaptations import Adaptation
from sparsemeta.lm.evaluation.arms import Arm
from sparsemeta.lm.reading import Learner, Model, Reader, segments
from sparsemeta.lm.scores import Passage, Reading, Score, opened
from sparsemeta.lm.text import Document, Tokenizer
from sparsemeta.run import Precision, Progress

EXCERPT = 8192
"""Characters of training text that are read in a row, from an empty memory."""


class Evaluator:
    """A model that reads the same texts in one arm after the other, and is left as it was.

    Arguments as of `compare`; the training text is for arms that see some of it beforehand.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        training: Sequence[Document] = (),
        *,
        segment: int = 256,
        precision: Precision = "32-true",
        progress: Progress | None = None,
    ):
        require(segment >= 1, "segment must be at least 1")
        self.model, self.segment = model, segment
        self.precision: Precision = precision
        self.progress = progress or Progress(quiet=True)
        self._tokenizer, self._training = tokenizer, training
        self._prepared: dict[tuple[object, ...], Learner] = {}

    def require_training(self, arms: Sequence[Arm]) -> None:
        """Raise `ConfigError` for an arm that has to see training text, if there is none."""
        for arm in arms:
            require(
                bool(self._training) or not any(part.training_tokens for part in arm.parts),
                f"the arm '{arm}' needs training text, for its gradients",
            )

    def reading(self, arm: Arm, texts: Sequence[Passage]) -> Reading:
        """Let the model read texts in an arm."""
        for part in arm.parts:
            self.prepared(part, arm)
        self.progress.message(f"{arm}:")
        policy = arm.policy(self.model.context, self.model.has_memory)
        return Reading(str(arm), policy, tuple(self.read(arm, texts)), arm.settings())

    def read(self, arm: Arm, texts: Sequence[Passage], *beside: Learner) -> list[Score]:
        """The same, the scores alone; other learners may look on."""
        prepared = [self.prepared(part, arm) for part in arm.parts]
        done, found = 0, []
        with ExitStack() as stack:
            adapt = [
                stack.enter_context(part.adapting(self.model, seen))
                for part, seen in zip(arm.parts, prepared, strict=True)
            ]
            reader = Reader(
                self.model,
                window="stream",
                learners=[*adapt, *beside],
                segment=self.segment,
                precision=self.precision,
            )

            def seen(nats: np.ndarray) -> None:
                nonlocal done
                done += 1
                self.progress.update(done, float(nats.mean()), len(nats))

            with torch.no_grad():  # once, at no text's cost, what a first call has to set up
                next(segments(self.model, texts[0].tokens[:1]))
            parts = (math.ceil((len(text.tokens) - 1) / reader.segment) for text in texts)
            with self.progress.track(0, sum(parts)):
                found = [reader.read(text, seen) for text in texts]
        return found

    def prepared(self, part: Adaptation, arm: Arm) -> Learner | None:
        """What has seen the training text for an adaptation; None if nothing had to.

        Seen once for all arms whose memory is off, and once for all others.
        """
        if not part.training_tokens:
            return None
        self.require_training([arm])
        fixed = [value for name, value in vars(part).items() if name not in part.axes]
        key = (part.name, arm.alone, *fixed)
        if key not in self._prepared:
            excerpts = sample(self._tokenizer, self._training, part.training_tokens)
            count = sum(len(excerpt.tokens) - 1 for excerpt in excerpts)
            self.progress.message(f"{arm}: gradients of {count:,} tokens of training text")
            self._prepared[key] = watch = part.prepare(self.model)
            self.read(arm.alone, excerpts, watch)
        return self._prepared[key]


def sample(
    tokenizer: Tokenizer, documents: Sequence[Document], tokens: int, seed: int = 0
) -> list[Passage]:
    """Excerpts of documents, in an order drawn by the seed, until there are enough tokens.

    The last has as many as are still missing; all of the text is read if it has fewer.
    """
    places = [(text, at) for text in documents for at in range(0, len(text.text), EXCERPT)]
    random.Random(seed).shuffle(places)
    excerpts: list[Passage] = []
    for document, start in places:
        if tokens <= 0:
            break
        found = tokenizer.encode(document.text[start : start + EXCERPT])[:tokens]
        excerpts.append(Passage(document.name, opened(tokenizer, found)))
        tokens -= len(found)
    return excerpts
