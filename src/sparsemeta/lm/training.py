"""Training a language model: streams of text read side by side, segment by segment.

Gradients stop at the start of each segment, the state does not: truncated back-propagation through
time. Several processes read a share of the streams each, and average their gradients.
"""

import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsemeta import run as engine
from sparsemeta.errors import require
from sparsemeta.lm import text as texts
from sparsemeta.lm.checkpoint import find_model, load_model, write_model
from sparsemeta.lm.config import Recipe, TrainingConfig
from sparsemeta.lm.loss import own_losses
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.negatives import Negatives, chances
from sparsemeta.lm.optimizer import make_optimizer
from sparsemeta.lm.state import LMState
from sparsemeta.lm.validation import Best, validate
from sparsemeta.nn import AdaptiveLayer, usage_losses


def train(
    recipe: Recipe, run: str | Path, *, resume: bool = True, progress: engine.Progress | None = None
) -> Path:
    """Train a language model, or go on training it.

    A run that is stopped and resumed gives, bit for bit, the weights of one that was not. With
    `training.devices` the running command is started once more for each further process.

    Args:
        recipe: everything that decides the result.
        run: folder of the run: `recipe.toml`, `log.jsonl`, `checkpoints/` and `corpus/`, the text
            as tokens; `tensorboard/` if asked for.
        resume: go on from the newest checkpoint in `run`; otherwise begin anew and delete it.
        progress: where to show how it goes; nothing is shown without it.

    Returns:
        A model folder for `load_model`: the checkpoint that read `corpus.validation` best, or the
        last one if there is no validation.
    """
    run = Path(run)
    progress = progress if progress and engine.is_main() else engine.Progress(quiet=True)
    progress.message(f"reading {', '.join(recipe.corpus.train)}")
    text = read_text(recipe)  # before the folder is made: bad text or base leaves no trace
    if recipe.training.base:
        find_model(Path(recipe.training.base))

    def begin(saved: engine.Checkpoint | None) -> Learner:
        return Learner(recipe, text, run / "corpus", progress, saved)

    engine.fit(begin, recipe, run, resume=resume, progress=progress)
    return find_model(run)


def read_text(recipe: Recipe) -> tuple[list[texts.Document], list[texts.Document]]:
    """The documents to train on, and those to validate on."""
    corpus = recipe.corpus
    documents, _ = texts.split_holdout(texts.read_documents(corpus.train, corpus), corpus.holdout)
    validates = recipe.training.validate_every > 0
    return documents, texts.read_documents(corpus.validation, corpus) if validates else []


class Learner(engine.Learner[LanguageModel, TrainingConfig]):
    """A language model in training, and its place in the text (of `read_text`, which it empties).

    Its `folder` keeps tokenizer and tokens; `state` is what the `streams` left in the model.
    """

    kept = 2

    def __init__(
        self,
        recipe: Recipe,
        text: tuple[list[texts.Document], list[texts.Document]],
        folder: Path,
        progress: engine.Progress,
        saved: engine.Checkpoint | None = None,
    ):
        config, (documents, self._texts) = recipe.training, text
        base = load_model(config.base) if config.base else None
        self._tokenizer = _tokenizer(recipe, documents, folder, saved, base and base[1])
        expected = saved.facts["corpus"] if saved else None
        corpus = texts.tokenise(documents, self._tokenizer, folder, progress, expected=expected)
        documents.clear()  # they may be large, and are on the disk as tokens
        where: Any = {"devices": config.devices, "strategy": config.strategy}
        runner = engine.Engine(precision=config.precision, seed=config.seed, **where)
        episodes = None
        if config.emptied:
            often = config.emptied, config.renamed
            episodes = texts.Episodes(*often, self._tokenizer.vocab_size, config.seed)
        self.streams = texts.Streams(
            corpus.tokens,
            streams=config.streams,
            segment=config.segment,
            rank=runner.rank,
            world=runner.world,
            episodes=episodes,
        )
        model = LanguageModel(recipe.model, self._tokenizer.vocab_size, config.dropout)
        model.recompute = config.recompute
        if model.tables is not None:
            endings = self._tokenizer.endings(model.tables.spelling.shape[1])
            model.tables.spell(torch.from_numpy(endings))
        self._chances: Tensor | None = None
        if recipe.model.bias or config.negatives:
            counts = torch.from_numpy(np.bincount(corpus.tokens, minlength=model.vocab_size))
            if recipe.model.bias:
                model.head.bias.data = (counts.clamp(min=1) / counts.sum()).log()
            if config.negatives:
                self._chances = chances(counts, config.negatives).to(runner.device)
        if base:
            take_over(model, base[0], frozen=config.frozen)
        self._corpus, self._seconds = corpus.fingerprint, 0.0
        self._best: Best | None = None
        self.state: LMState | None = None
        steps = math.ceil(self.streams.steps_per_epoch / config.accumulate)
        progress.message(
            f"{len(corpus.documents)} document{'s' * (len(corpus.documents) != 1)}, "
            f"{self.streams.tokens:,} tokens: {steps} steps to read once; "
            f"{sum(p.numel() for p in model.parameters()):,} parameters"
        )
        optimizer = partial(make_optimizer, config=config)
        super().__init__(model, optimizer, config, runner, saved)
        if saved:
            self._restore(saved)

    def take_step(self) -> dict[str, Any]:
        """One optimizer step on the next segments of every stream; the loss in nats per token.

        Tokens and seconds are since the first step, tokens_per_second of this one.
        """
        began, rate = time.perf_counter(), self.set_rate()
        nats = self.add_gradients().item()
        norm = self.descend(nats)
        seconds = time.perf_counter() - began
        self.step += 1
        self._seconds += seconds
        tokens = self.config.streams * self.config.segment * self.config.accumulate
        return {
            "step": self.step,
            "loss": nats,
            "learning_rate": rate,
            "grad_norm": norm,
            "tokens": self.step * tokens,
            "seconds": round(self._seconds, 3),
            "tokens_per_second": round(tokens / seconds, 1),
        }

    def add_gradients(self) -> Tensor:
        """Leave the gradients of a step's mean loss, in nats per token, in the parameters.

        Returns it over all processes, without those of uneven use and of the model by itself.
        """
        config, losses = self.config, []
        for left in reversed(range(config.accumulate)):
            tokens, targets, reset = self.streams.next_batch().to(self.engine.device)
            usage = usage_losses(self.model) if config.usage_weight else nullcontext([])
            own = (
                own_losses(self.model.head, targets)
                if self.model.config.output
                else nullcontext([])
            )
            with self.engine.unsynchronised(left > 0), usage as uneven, own as alone:
                options = {"targets": targets, "reset": reset, "donate": True}
                if self._chances is not None:
                    options["negatives"] = Negatives.draw(self._chances)
                log_p, state = self.forward(tokens, self.state, **options)
                loss = -log_p.mean()
                total = sum((config.usage_weight * term for term in uneven), loss) + sum(alone)
                (total / config.accumulate).backward()
            self.state = state.detach()
            losses.append(loss.detach())
        return self.engine.mean(torch.stack(losses).mean())

    def status(self, record: dict[str, Any]) -> str:
        """Its loss, and how fast it reads."""
        return f"loss {record['loss']:.3f}  {record['tokens_per_second']:,.0f} tokens/s"

    def review(self) -> tuple[dict[str, Any], str] | None:
        """Read the validation text, if it is time; streams, memory and random state stay."""
        every = self.config.validate_every
        if not every or (self.step % every and self.step != self.config.steps):
            return None
        model, precision = self._whole_model(), self.config.precision
        reader = validate, model.eval(), self._tokenizer, self._texts, precision
        found = self.engine.once(partial(*reader))
        model.train()
        self._best = Best.after(self._best, self.step, found["bits_per_byte"])
        words = f"step {self.step}: validation {found['bits_per_byte']:.3f} bits per byte, "
        words += f"perplexity {found['perplexity']:.2f}{self._best}"
        words += ": stopping early" if self._early else ""
        return {"step": self.step, "validation": found}, words

    @property
    def best(self) -> int | None:
        """The step that read the validation text best."""
        return self._best.step if self._best else None

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or the last readings were no better."""
        return super().finished or self._early

    @property
    def _early(self) -> bool:
        return self._best is not None and 0 < self.config.patience <= self._best.since

    def facts(self) -> dict[str, Any]:
        """The place in the text, which text it is, and the best reading."""
        best = asdict(self._best) if self._best else None
        place = {"seconds": self._seconds, "position": self.streams.position}
        return {**place, "corpus": self._corpus, "best": best}

    def tensors(self) -> dict[str, Tensor]:
        """The state of all processes' streams side by side, in the main process."""
        mine = self.state.tensors() if self.state else {}
        parts = self.engine.gather({name: tensor.cpu() for name, tensor in mine.items()})
        if len(parts) < 2:
            return parts[0] if parts else {}
        return LMState.concat([LMState.from_tensors(part) for part in parts]).tensors()

    def write(self, folder: Path) -> None:
        """Make the checkpoint a model folder."""
        write_model(folder, self.model.config, self._tokenizer)

    def _restore(self, saved: engine.Checkpoint) -> None:
        self._seconds, self.streams.position = saved.facts["seconds"], saved.facts["position"]
        self._best = Best(**saved.facts["best"]) if saved.facts["best"] else None
        if tensors := saved.tensors("own"):
            share = self.config.streams // self.engine.world
            mine = slice(self.engine.rank * share, (self.engine.rank + 1) * share)
            self.state = LMState.from_tensors(tensors).select(mine).to(self.engine.device)

    def _whole_model(self) -> LanguageModel:
        """The model, or a copy that has all its weights where each process holds a share."""
        if self.engine.strategy != "fsdp":
            return self.model
        weights = engine.weights_of(self.model)
        with torch.random.fork_rng(devices=[]):
            copy = LanguageModel(self.model.config, self.model.vocab_size)
        copy.load_state_dict(weights, strict=False)  # a tied weight has one of its names
        return copy.to(self.engine.device)


def _tokenizer(
    recipe: Recipe,
    documents: list[texts.Document],
    folder: Path,
    saved: engine.Checkpoint | None,
    given: texts.Tokenizer | None,
) -> texts.Tokenizer:
    """The checkpoint's, or that of the base, or a new one, left beside the tokens for others."""
    if saved or not engine.is_main():
        return texts.load_tokenizer(saved.folder if saved else folder)
    tokenizer = given or texts.train_tokenizer(recipe.tokenizer, documents)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder)
    return tokenizer


def take_over(model: LanguageModel, base: LanguageModel, *, frozen: bool) -> None:
    """Begin with the weights of a base; if they are frozen, train its memories alone, and new ones.

    Raises:
        ConfigError: the base has weights that the model has not, or in other shapes.
    """
    given, own = base.state_dict(), model.state_dict()
    other = [k for k, weight in given.items() if k not in own or own[k].shape != weight.shape]
    require(
        not other,
        f"training.base is no model of this recipe: {', '.join(other[:3])} "
        f"{'is' if len(other) == 1 else 'are'} not in it, or of another shape. Give [model] the "
        "base's own settings, and memories beside.",
    )
    model.load_state_dict(given, strict=False)
    adaptive = (m for m in model.modules() if isinstance(m, AdaptiveLayer))
    memories = {weight for layer in adaptive for weight in layer.parameters()}
    for name, weight in model.named_parameters():
        weight.requires_grad_(not frozen or weight in memories or name not in given)
