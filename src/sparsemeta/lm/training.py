"""Training: set up, then step, log, validate and save until done.

Streams of text are read side by side. Gradients stop at the start of each segment, the state does
not: truncated back-propagation through time. Several processes read a share of the streams each,
and average their gradients.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sparsemeta.config import write_toml
from sparsemeta.errors import TrainingError
from sparsemeta.lm.checkpoint import find_model
from sparsemeta.lm.config import Recipe, TrainingConfig
from sparsemeta.lm.session import REMEDY, Session
from sparsemeta.lm.setup import read_text, set_up
from sparsemeta.lm.validation import validate
from sparsemeta.nn import usage_losses
from sparsemeta.run import (
    Interrupted,
    JsonlLog,
    Progress,
    TensorBoardLog,
    is_main,
    locked,
    prune,
    signals_deferred,
)


def train(
    recipe: Recipe, run: str | Path, *, resume: bool = True, progress: Progress | None = None
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

    Raises:
        ConfigError: the newest checkpoint was trained with another recipe, or there is no text to
            validate on.
        CorpusError: the text cannot be read, or is not the one that the run began with.
        CheckpointError: the newest checkpoint is damaged, or a new one cannot be written.
        TrainingError: the loss or its gradient is not finite, or another process trains in `run`.
        Interrupted: Ctrl-C or SIGTERM; what was done is saved.
    """
    run = Path(run)
    progress = progress if progress and is_main() else Progress(quiet=True)
    text = read_text(recipe, progress)  # before the folder is made: bad text leaves no trace
    with locked(run) if is_main() else nullcontext():
        session = set_up(recipe, run, text, resume=resume, progress=progress)
        del text  # it may be large, and is on the disk as tokens
        if not session.finished:
            _step_until_finished(session, progress)
    return find_model(run)


def _step_until_finished(session: Session, progress: Progress) -> None:
    config, stopped = session.recipe.training, False
    if is_main():
        if session.latest is None:
            prune(session.run / "checkpoints", keep=0)
        write_toml(session.run / "recipe.toml", session.recipe)
    with ExitStack() as stack:
        stop = stack.enter_context(signals_deferred())
        logs = [stack.enter_context(log) for log in _open_logs(session)]
        stack.enter_context(progress.track(session.step, config.steps))
        while not (stopped or session.finished):
            records = [take_step(session)]
            progress.update(session.step, records[0]["loss"], _tokens(config))
            if _due(session.step, config):
                records.append(validate(session))
                progress.message(_told(session, records[-1]["validation"]))
            for log in logs:
                for record in records:
                    log.write(record)
            stopped = session.engine.any(stop.made)
            best = session.best is not None and session.best.step == session.step
            regular = session.step % config.checkpoint_every == 0
            if best or regular or stopped or session.finished:
                session.save()
    if not session.finished:
        raise Interrupted(
            f"Stopped after step {session.step} of {config.steps}; saved in {session.latest}. "
            "Run the same command (without --restart) to go on."
        )


def take_step(session: Session) -> dict[str, Any]:
    """One optimizer step on the next segments of every stream.

    Args:
        session: what is trained; its state is carried into the step and out of it.

    Returns:
        The step's line of the log; loss in nats per token, learning_rate, grad_norm before
        clipping, tokens and seconds since the first step, tokens_per_second of this one.

    Raises:
        TrainingError: the loss or its gradient is not finite; no weight has been changed.
    """
    began = time.perf_counter()
    config, engine = session.recipe.training, session.engine
    rate = learning_rate(session.step + 1, config)
    for group in session.optimizer.param_groups:
        group["lr"] = rate

    loss = add_gradients(session)
    norm = engine.clip_gradients(config.clip)
    nats = loss.item()
    if not (math.isfinite(nats) and math.isfinite(norm)):
        raise _diverged(session, nats, norm)
    engine.step()

    seconds = time.perf_counter() - began
    session.step += 1
    session.seconds += seconds
    return {
        "step": session.step,
        "loss": nats,
        "learning_rate": rate,
        "grad_norm": norm,
        "tokens": session.step * _tokens(config),
        "seconds": round(session.seconds, 3),
        "tokens_per_second": round(_tokens(config) / seconds, 1),
    }


def add_gradients(session: Session) -> Tensor:
    """Read a step's segments, and leave the gradients of their mean loss in the parameters.

    To the loss of the tokens comes that of uneven use, each segment's and process's own.

    Returns:
        The loss of the tokens, over the streams of all processes: scalar, in nats per token.
    """
    config, engine = session.recipe.training, session.engine
    losses = []
    for left in reversed(range(config.accumulate)):
        batch = session.streams.next_batch()
        tokens, targets = batch.tokens.to(engine.device), batch.targets.to(engine.device)
        usage = usage_losses(session.model) if config.usage_weight else nullcontext([])
        with engine.unsynchronised(left > 0), usage as uneven:
            logits, state = session.forward(tokens, session.state, donate=True)
            loss = cross_entropy(logits.float().flatten(0, 1), targets.flatten())
            total = sum((config.usage_weight * term for term in uneven), loss)
            engine.backward(total / config.accumulate)
        session.state = state.detach()
        losses.append(loss.detach())
    return engine.mean(torch.stack(losses).mean())


def learning_rate(step: int, config: TrainingConfig) -> float:
    """The rate of a step counted from 1: linear warm-up, then half a cosine to the final rate."""
    if step <= config.warmup:
        return config.learning_rate * step / config.warmup
    part = (step - config.warmup) / (config.steps - config.warmup)
    fraction = config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * part)) / 2
    return config.learning_rate * fraction


def _open_logs(session: Session) -> Iterator[JsonlLog | TensorBoardLog]:
    """The run's logs, where this process is the one that writes them."""
    if is_main():
        yield JsonlLog(session.run / "log.jsonl", step=session.step)
        if session.recipe.training.tensorboard:
            yield TensorBoardLog(session.run / "tensorboard", step=session.step)


def _tokens(config: TrainingConfig) -> int:
    """How many tokens a step reads."""
    return config.streams * config.segment * config.accumulate


def _due(step: int, config: TrainingConfig) -> bool:
    """Whether a step is followed by a reading of the validation text."""
    every = config.validate_every
    return every > 0 and (step % every == 0 or step == config.steps)


def _told(session: Session, found: dict[str, Any]) -> str:
    """A reading in words."""
    best, line = session.best, f"step {session.step}: validation "
    line += f"{found['bits_per_byte']:.3f} bits per byte, perplexity {found['perplexity']:.2f}"
    assert best is not None  # there has been a reading
    if best.step == session.step:
        return f"{line}, the best so far"
    line += f"; the best was {best.bits_per_byte:.3f} at step {best.step}"
    return f"{line}: stopping early" if session.early else line


def _diverged(session: Session, loss: float, norm: float) -> TrainingError:
    latest = session.latest
    kept = f"{latest}, the last good checkpoint, is untouched" if latest else "nothing was saved"
    lower = session.recipe.training.learning_rate / 2
    return TrainingError(
        f"step {session.step + 1}: the loss is {loss} and the norm of its gradient {norm}, so "
        f"training stopped; {kept}. Try --training.learning-rate {lower:.2g}: {REMEDY}."
    )
