"""Prequential evaluation: read texts once, from left to right, and score before reading.

All arms read the same stream with the same attention window; they differ in what may adapt to it.
"""

import math
import random
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from sparsemeta.errors import require
from sparsemeta.lm.evaluation.adaptations import Adaptation
from sparsemeta.lm.evaluation.arms import Arm
from sparsemeta.lm.protocols import Learner, Model
from sparsemeta.lm.reading import Passage, Reader, opened
from sparsemeta.lm.scores import Reading, Score
from sparsemeta.lm.text import Document, Tokenizer
from sparsemeta.run import Precision, Progress

EXCERPT = 8192
"""Characters of training text that are read in a row, from an empty memory."""


class Evaluator:
    """A model that reads the same texts in one arm after the other, and is left as it was.

    Args:
        model: on the device it shall run on.
        tokenizer: the model's own.
        training: the text it was trained on, for arms that have to see some of it beforehand.
        segment: tokens per forward pass (T); it changes speed, not scores. Dynamic arms read in
            segments of their setting.
        precision: of the forward pass; probabilities are float32 always.
        progress: where to show how it goes; nothing is shown without it.
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
        """Refuse arms that have to see training text, if there is none.

        Raises:
            ConfigError: there is such an arm.
        """
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

            reader.warm_up(texts[0])
            segments = (math.ceil((len(text.tokens) - 1) / reader.segment) for text in texts)
            with self.progress.track(0, sum(segments)):
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

    Args:
        tokenizer: the model's own.
        documents: the training text.
        tokens: how many, all of the text if it has fewer.
        seed: the same one gives the same excerpts.

    Returns:
        The excerpts; of the last, as many tokens as are still missing.
    """
    places = [
        (document, start)
        for document in documents
        for start in range(0, len(document.text), EXCERPT)
    ]
    random.Random(seed).shuffle(places)
    excerpts: list[Passage] = []
    for document, start in places:
        if tokens <= 0:
            break
        found = tokenizer.encode(document.text[start : start + EXCERPT])[:tokens]
        excerpts.append(Passage(document.name, opened(tokenizer, found)))
        tokens -= len(found)
    return excerpts
