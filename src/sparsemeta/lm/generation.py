"""Writing: one token after the other, each read, and so remembered, before the next."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.reading import Model, read_on, start
from sparsemeta.lm.sampling import Sampling
from sparsemeta.lm.scores import opened
from sparsemeta.lm.text import Tokenizer
from sparsemeta.run import Precision

_INCOMPLETE = "\ufffd"


class Writer:
    """Goes on with a prompt: iterate over it for the tokens as they are made, or over `pieces`.

    Args:
        model: on the device it shall run on.
        tokenizer: the model's own.
        prompt: read first, from an empty attention window; a separator opens it.
        memory: of one stream; None is empty. It stays as it is.
        sampling: how tokens are chosen; the text ends at the next separator.
        precision: of the forward pass.

    Attributes:
        state: after the prompt and all tokens so far; what it holds is overwritten by the next.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        prompt: str,
        memory: FastWeights | None = None,
        sampling: Sampling | None = None,
        *,
        precision: Precision = "32-true",
    ):
        self._model, self._tokenizer = model, tokenizer
        self._prompt = opened(tokenizer, tokenizer.encode(prompt))
        self._sampling = sampling or Sampling()
        self._precision, self._random = precision, torch.Generator()
        seed = self._sampling.seed
        self._random.manual_seed(self._random.seed() if seed is None else seed)
        begin = start(model, memory)
        self._logits, self.state = read_on(model, self._prompt, begin, precision=precision)

    def __iter__(self) -> Iterator[int]:
        """Yield each token after it has been read."""
        separator = self._tokenizer.separator
        # A word model opens a text with the end of a line, which has a spelling and ends no text.
        end = None if self._tokenizer.decode([separator]) else separator
        for _ in range(self._sampling.tokens):
            token = choose(self._logits, self._sampling, self._random)
            if token == end:
                return
            options = {"precision": self._precision, "donate": True}
            self._logits, self.state = read_on(self._model, [token], self.state, **options)
            yield token

    def pieces(self) -> Iterator[str]:
        """Yield the text of the tokens as they are made, whole characters only."""
        return as_text(self._tokenizer, self, after=self._prompt[-1:].tolist())


def choose(logits: Tensor, sampling: Sampling, random: torch.Generator) -> int:
    """Choose a token from logits (vocab_size,)."""
    if sampling.greedy:
        return int(logits.argmax())
    # On the CPU, so that a seed means the same on every device.
    probabilities = narrowed(logits, sampling).softmax(-1).cpu()
    return int(torch.multinomial(probabilities, 1, generator=random))


def narrowed(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits (vocab_size,) at the temperature, -inf where top_k or top_p leaves a token out."""
    logits = logits / sampling.temperature
    if sampling.top_k is not None:
        least = logits.topk(min(sampling.top_k, len(logits))).values[-1]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampling.top_p is not None:
        likeliest, order = logits.sort(descending=True)
        probability = likeliest.softmax(-1)
        # The token that crosses the threshold is kept, so one always is.
        left_out = probability.cumsum(-1) - probability >= sampling.top_p
        left_out[0] = False  # be top_p nothing in float32
        logits = logits.masked_fill(left_out.scatter(0, order, left_out), -torch.inf)
    return logits


class Spelling:
    """Turns tokens into text as they come, in pieces that hold whole characters only.

    The first is spelt in the context of the token `after` which they come, if there is one.
    """

    def __init__(self, tokenizer: Tokenizer, after: Sequence[int] = ()):
        self._tokenizer, self._pending = tokenizer, list(after)
        self._shown = tokenizer.decode(self._pending)

    def push(self, token: int) -> str:
        """What one more token adds."""
        self._pending.append(token)
        text = self._tokenizer.decode(self._pending)
        whole = text.removesuffix(_INCOMPLETE)
        piece = whole[len(self._shown) :]
        if piece:
            self._shown = whole
        if whole == text:
            self._pending = self._pending[-1:]
            self._shown = self._tokenizer.decode(self._pending)
        return piece

    def rest(self) -> str:
        """What is left at the end, be it part of a character."""
        return self._tokenizer.decode(self._pending)[len(self._shown) :]


def as_text(
    tokenizer: Tokenizer, tokens: Iterable[int], after: Sequence[int] = ()
) -> Iterator[str]:
    """Turn tokens into text as they come, as `Spelling` does."""
    spelling = Spelling(tokenizer, after)
    yield from filter(None, map(spelling.push, tokens))
    yield spelling.rest()
