"""Models for EleutherAI's lm-evaluation-harness, with a state that no window boundary cuts.

import lm_eval
import sparsemeta.lm.harness  # makes the name "sparsemeta" known
lm_eval.simple_evaluate("sparsemeta", model_args="path=runs/demo", tasks=["lambada_openai"])
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparsemeta.errors import ConfigError, MissingExtra, require
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.checkpoint import load_model
from sparsemeta.lm.generation import Writer
from sparsemeta.lm.reading import Reader, read_on, segments, start
from sparsemeta.lm.sampling import Sampling
from sparsemeta.lm.scores import opened, passages
from sparsemeta.lm.text import Document
from sparsemeta.run import Precision

try:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import CacheHook, TemplateLM
    from lm_eval.api.registry import register_model
    from tqdm import tqdm
except ImportError:
    raise MissingExtra("lm_eval", "eval") from None


@register_model("sparsemeta")
class SparseMetaHarness(TemplateLM):
    """A sparsemeta model as the harness sees it, one request at a time.

    The stock adapters cut a document into windows and forget everything between them. Here each
    request is read from its start to its end with the state carried, however long it is.

    Args:
        path: a model folder, or the folder of a run.
        memory: a memory that every request begins with; None is empty.
        carry: in rolling requests the memory goes on from document to document, in their order.
        segment: tokens per forward pass (T); it changes speed, not scores.
        precision: of the forward pass.
        batch_size: 1, as documents adapt the memory one after the other.
        max_batch_size: not used.
        device: where it runs; cuda, if there is one, if None.
    """

    def __init__(
        self,
        path: str,
        memory: str | None = None,
        *,
        carry: bool = False,
        segment: int = 256,
        precision: Precision = "32-true",
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        device: str | None = None,
    ):
        super().__init__()
        require(
            str(batch_size) == "1",
            f"batch_size = {batch_size}: a memory adapts to one text after the other. Set it to 1.",
        )
        require(
            os.environ.get("WORLD_SIZE", "1") == "1",
            "several processes would each read a part of the texts, and score them with a memory "
            "that lacks the others. Run the harness in one process.",
        )
        model, self._tokenizer = load_model(Path(path))
        self._memory = FastWeights.load(memory, model) if memory else None
        self._model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._carry = carry
        self._options: dict[str, Any] = {"segment": segment, "precision": precision}

    @property
    def eot_token_id(self) -> int:
        """The separator, which opens every text."""
        return self._tokenizer.separator

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """The tokens of a string, without a separator."""
        return self._tokenizer.encode(string).tolist()

    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Refuse the harness's cache of answers."""
        raise ConfigError(
            "use_cache finds answers by the text of a request alone, but a memory makes them "
            "depend on what was read before. Leave it out."
        )

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-likelihood of each text, read in one go."""
        texts = [Document("request", request.args[0]) for request in requests]
        reader, found = Reader(self._model, self._memory, **self._options), []
        for text in tqdm(passages(self._tokenizer, texts), disable=disable_tqdm, desc="reading"):
            if not self._carry:
                reader = Reader(self._model, self._memory, **self._options)
            found.append(-reader.read(text).nats)
        return found

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **_: Any,
    ) -> list[tuple[float, bool]]:
        """Log-likelihood of each continuation, and whether greedy decoding would write it."""
        found: list[tuple[float, bool]] = []
        context, after = None, (torch.empty(0), None)
        opening = start(self._model, self._memory)
        shown = tqdm(requests, disable=disable_tqdm, desc="reading")
        for (text, _continuation), before, follows in shown:
            if before != context:
                # Instead of no context the harness gives the separator itself.
                tokens = opened(self._tokenizer, before) if text else before
                context, after = before, read_on(self._model, tokens, opening, **self._options)
            found.append(self._score(*after, follows))
        return found

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """What the model writes after each context, up to the first stop sequence."""
        found = []
        for request in tqdm(requests, disable=disable_tqdm, desc="writing"):
            arguments: tuple[Any, ...] = request.args
            (sampling, until), text = _sampling(arguments[1]), ""
            begin = self._model, self._tokenizer, arguments[0], self._memory
            writer = Writer(*begin, sampling, precision=self._options["precision"])
            for piece in writer.pieces():
                text += piece
                if any(stop in text for stop in until):
                    break
            for stop in until:
                text = text.partition(stop)[0]
            found.append(text)
        return found

    @torch.inference_mode()
    def _score(self, logits: Tensor, state: Any, follows: Sequence[int]) -> tuple[float, bool]:
        """Score a continuation; the state stays as it is, for the next one."""
        more = segments(self._model, follows[:-1], state, steps=0, **self._options)
        predicted = [logits[None], *(part.predicted.float() for part in more)]
        log_p = torch.cat(predicted).log_softmax(-1)
        targets = torch.tensor(follows, device=log_p.device)
        greedy = bool((log_p.argmax(-1) == targets).all())
        return log_p.gather(-1, targets[:, None]).double().sum().item(), greedy


def _sampling(options: dict[str, Any]) -> tuple[Sampling, list[str]]:
    """The harness's options of generation: how to write, and the sequences that end it."""
    options = {**options}
    until = options.pop("until", None) or []
    until = [stop for stop in ([until] if isinstance(until, str) else until) if stop]
    sampled, temperature = bool(options.pop("do_sample", False)), options.pop("temperature", 1.0)
    kept = {"top_k": options.pop("top_k", None), "top_p": options.pop("top_p", None)}
    tokens = options.pop("max_gen_toks", 256)
    sampling = Sampling(tokens, temperature if sampled else 1.0, **kept, greedy=not sampled)
    require(not options, f"this model knows no option {', '.join(options)}. Leave it out.")
    return sampling, until
