"""Training an adapter: streams of text read side by side by a frozen model, segment by segment.

The model's own weights need no gradient, so where memories stand at its output alone it runs
without a graph, and a step costs little more than reading.
"""

import time
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sparsemeta import run as engine
from sparsemeta.augmented import Carried, augment, memories, session, write_adapter
from sparsemeta.errors import CheckpointError, ConfigError, require
from sparsemeta.lm import text as texts
from sparsemeta.lm.adapters import AdapterTraining, AugmentRecipe
from sparsemeta.lm.hf.pretrained import PretrainedModel, load_pretrained
from sparsemeta.lm.state import LMState
from sparsemeta.nn import RowMemory, TableMemory


def train_adapter(
    recipe: AugmentRecipe,
    run: str | Path,
    *,
    resume: bool = True,
    progress: engine.Progress | None = None,
) -> Path:
    """Train the memories of a pretrained causal language model, or go on training them.

    A run that is stopped and resumed gives, bit for bit, the weights of one that was not.

    Args:
        recipe: everything that decides the result.
        run: folder of the run: `recipe.toml`, `log.jsonl`, `checkpoints/` and `corpus/`, the text
            as tokens.
        resume: go on from the newest checkpoint in `run`; otherwise begin anew and delete it.
        progress: where to show how it goes; nothing is shown without it.

    Returns:
        An adapter for `load_adapter`: the last checkpoint.

    Raises:
        ConfigError: the recipe names no text, or what its model cannot have.
        CheckpointError: there is no such model, or the checkpoint is damaged.
    """
    run, progress = Path(run), progress or engine.Progress(quiet=True)
    require(bool(recipe.corpus.train), "name text to train on: --corpus.train TEXT...")
    progress.message(f"reading {', '.join(recipe.corpus.train)}")
    corpus = recipe.corpus
    documents, _ = texts.split_holdout(texts.read_documents(corpus.train, corpus), corpus.holdout)
    base, tokenizer = load_base(Path(recipe.model))
    add_memories(base, tokenizer, recipe)

    def begin(saved: engine.Checkpoint | None) -> Learner:
        expected = saved.facts["corpus"] if saved else None
        found = texts.tokenise(documents, tokenizer, run / "corpus", progress, expected=expected)
        return Learner(recipe.training, base, found, saved)

    learner = engine.fit(begin, recipe, run, resume=resume, progress=progress)
    assert learner.latest is not None
    return learner.latest


def load_base(folder: Path) -> tuple[Any, texts.Tokenizer]:
    """A causal language model of transformers, and its tokenizer.

    Raises:
        CheckpointError: there is none.
        ConfigError: it has memories of its own.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: holds no model (no config.json). Give the local folder of a causal "
            "language model of transformers."
        )
    read, tokenizer = load_pretrained(folder)
    if not isinstance(read, PretrainedModel):
        raise ConfigError(
            f"{folder}: is a model of sparsemeta, exported. Give the run that it was exported from "
            "to `sparsemeta train` as training.base."
        )
    return read.model, tokenizer


def add_memories(base: Any, tokenizer: texts.Tokenizer, recipe: AugmentRecipe) -> None:
    """Augment a model as a recipe says, and tell its tables how tokens are spelt."""
    longest = getattr(base.config, "max_position_embeddings", None)
    segment = recipe.training.segment
    require(
        longest is None or segment <= longest,
        f"training.segment = {segment}, but this model reads {longest} tokens at most at once",
    )
    torch.manual_seed(recipe.training.seed)
    output = [getattr(recipe, name) for name in recipe.output]
    augment(base, recipe.memory, targets=recipe.targets, output=output)
    for layer in memories(base).modules():
        if isinstance(layer, TableMemory):
            layer.spell(torch.from_numpy(tokenizer.endings(layer.spelling.shape[1])))


class Adapter(nn.Module):
    """The memories of a model as a module of their own: what is trained and saved, without it."""

    def __init__(self, base: nn.Module):
        super().__init__()
        self.memories = memories(base)
        self._base = (base,)  # not a child

    @property
    def base(self) -> nn.Module:
        """The whole model."""
        return self._base[0]

    def forward(
        self, tokens: Tensor, targets: Tensor, reset: Tensor | None, carried: Carried | None
    ) -> tuple[Tensor, Carried]:
        """Read tokens (B, T): log p (B, T) of targets, and what goes on to the next segment."""
        with session(self.base, carried, reset=reset) as now:
            now.targets = targets
            self.base(tokens, use_cache=False)
        return cast(Tensor, now.log_p), cast(Carried, now.carried)


class Learner(engine.Learner[Adapter, AdapterTraining]):
    """An adapter in training, and its place in the text; `carried` is what streams have taught."""

    def __init__(
        self,
        config: AdapterTraining,
        base: nn.Module,
        corpus: texts.Tokenised,
        saved: engine.Checkpoint | None = None,
    ):
        runner = engine.Engine(precision=config.precision, seed=config.seed)
        base.to(runner.device).eval()
        episodes = None
        if config.emptied:
            classes = cast(Any, base).config.vocab_size
            episodes = texts.Episodes(config.emptied, config.renamed, classes, config.seed)
        sizes = {"streams": config.streams, "segment": config.segment}
        self.streams = texts.Streams(corpus.tokens, **sizes, episodes=episodes)
        self._corpus, self._seconds = corpus.fingerprint, 0.0
        self.carried: Carried | None = None
        optimizer = partial(make_optimizer, output_rate=config.output_rate)
        super().__init__(Adapter(base), optimizer, config, runner, saved)
        if saved:
            self._seconds, self.streams.position = saved.facts["seconds"], saved.facts["position"]
            if tensors := saved.tensors("own"):
                state = LMState.from_tensors(tensors).to(runner.device)
                self.carried = Carried(state.memory, state.pending)

    def take_step(self) -> dict[str, Any]:
        """One optimizer step on the next segment of every stream; the loss in nats per token."""
        began, rate = time.perf_counter(), self.set_rate()
        batch = self.streams.next_batch().to(self.engine.device)
        log_p, carried = self.forward(*batch, self.carried)
        loss = -log_p.mean()
        loss.backward()
        norm, self.carried = self.descend(loss.item()), carried.detach()
        seconds = time.perf_counter() - began
        self.step += 1
        self._seconds += seconds
        return {
            "step": self.step,
            "loss": loss.item(),
            "learning_rate": rate,
            "grad_norm": norm,
            "seconds": round(self._seconds, 3),
            "tokens_per_second": round(log_p.numel() / seconds, 1),
        }

    def status(self, record: dict[str, Any]) -> str:
        """Its loss, and how fast it reads."""
        return f"loss {record['loss']:.3f}  {record['tokens_per_second']:,.0f} tokens/s"

    def facts(self) -> dict[str, Any]:
        """The place in the text, and which text it is."""
        place = {"seconds": self._seconds, "position": self.streams.position}
        return {**place, "corpus": self._corpus}

    def tensors(self) -> dict[str, Tensor]:
        """What the streams have taught."""
        if self.carried is None:
            return {}
        state = LMState(self.carried.memory, pending=self.carried.pending)
        return {name: tensor.cpu() for name, tensor in state.tensors().items()}

    def write(self, folder: Path) -> None:
        """Make the checkpoint an adapter."""
        write_adapter(self.model.base, folder)


def make_optimizer(model: Adapter, output_rate: float) -> torch.optim.AdamW:
    """AdamW without decay; memories at the output have a learning rate of their own."""
    output = {
        weight
        for layer in model.modules()
        if isinstance(layer, (RowMemory, TableMemory))
        for weight in layer.parameters()
    }
    every = [weight for weight in model.parameters() if weight.requires_grad]
    inside, at_the_end = ([w for w in every if (w in output) is end] for end in (False, True))
    groups = [{"params": inside}, {"params": at_the_end, "share": output_rate}]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0)
