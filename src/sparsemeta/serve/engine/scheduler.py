"""Which tokens the model reads next: segments of long texts between the steps of those who write.

A turn is one segment of one reader, and one token of every writer. Readers take turns, so a text
of any length delays a short one by a segment only.
"""

from collections import deque
from typing import Any

import torch
from torch import Tensor

from sparsemeta.errors import ConfigError
from sparsemeta.lm import LanguageModel, Tokenizer
from sparsemeta.serve.engine.cohort import Cohort
from sparsemeta.serve.engine.jobs import Job, choice
from sparsemeta.serve.engine.joining import joined, parted
from sparsemeta.serve.engine.tasks import Choice, Event, Read, Task

ALONE, BESIDE = 256, 32
"""Tokens of a segment while nobody writes, and beside somebody who waits for his next token."""

TOGETHER = 8
"""Readers of short texts who read at once."""

Told = list[tuple[Task, Event | Exception]]


class Scheduler:
    """Does tasks, a turn at a time; in one thread.

    Args:
        model: on the CPU.
        tokenizer: the model's own.
        batch: how many streams are decoded side by side at most.
    """

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, batch: int = 64):
        self._model, self._tokenizer, self._batch = model, tokenizer, batch
        self._readers: deque[Job] = deque()
        self._ready: deque[Job] = deque()
        self._cohorts: dict[int, Cohort] = {}

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._readers or self._ready or self._cohorts)

    def add(self, task: Task) -> None:
        """Take on a task."""
        self._readers.append(Job(task, self._tokenizer))

    @torch.inference_mode()
    def turn(self) -> Told:
        """Do a little of everything: what is to be told of it."""
        told: Told = []
        for queue in (self._readers, self._ready):
            for job in [job for job in queue if job.task.cancelled]:
                queue.remove(job)
        told += self._read()
        self._gather()
        for kin, cohort in list(self._cohorts.items()):
            try:
                told += self._decode(cohort)
            except Exception as error:  # the states of all may be half written
                told += [(job.task, error) for job in cohort.members]
                cohort.leave(cohort.members)
            if not len(cohort):
                del self._cohorts[kin]
        return told

    def _gather(self) -> None:
        """Let those who are gone leave, and those who are ready join."""
        for kin, cohort in list(self._cohorts.items()):
            cohort.leave([job for job in cohort.members if job.task.cancelled])
            if not len(cohort):
                del self._cohorts[kin]
        room = self._batch - sum(map(len, self._cohorts.values()))
        while self._ready and room > 0:
            job = self._ready.popleft()
            self._cohorts.setdefault(_kin(job), Cohort(self._model)).join(job)
            room -= 1

    def _decode(self, cohort: Cohort) -> Told:
        """One token of each of a cohort."""
        told: Told = []
        done = set()
        for job, stream, log_p in cohort.step():
            try:
                events, reason = job.hear(log_p)
            except Exception as error:
                told.append((job.task, error))
                done.add(job)
                continue
            if reason:
                events.append(job.finish(cohort.state(stream), log_p.clone(), reason))
                done.add(job)
            told += [(job.task, event) for event in events]
        cohort.leave(done)
        return told

    def _read(self) -> Told:
        """A segment of the next reader, or of several whose texts are short."""
        told: Told = []
        while self._readers:
            jobs = self._next()
            try:
                found = self._together(jobs) if len(jobs) > 1 else [self._alone(jobs[0])]
                for job, tokens in zip(jobs, found, strict=True):
                    told += self._go_on(job, tokens)
            except Exception as error:
                return [*told, *((job.task, error) for job in jobs)]
            if any(job.own for job in jobs):  # the model was asked
                break
        return told

    def _next(self) -> list[Job]:
        """The next reader, and others whose texts are about as short."""
        first = self._readers.popleft()
        if not first.together:
            return [first]
        alike = [job for job in self._readers if job.together == first.together]
        most = 4 * BESIDE // first.left if self._cohorts else TOGETHER
        alike = alike[: min(most, TOGETHER) - 1] if most else []
        for job in alike:
            self._readers.remove(job)
        return [first, *alike]

    def _go_on(self, job: Job, found: list[Choice]) -> Told:
        """What comes after a segment: the last token is read with those who write."""
        task = job.task
        if not len(task.tokens):
            return self._heard(job, _known(task))
        told: Told = [(task, Read(tuple(found)))]
        if job.left:
            self._readers.append(job)
        elif task.sampling.tokens and job.state is not None and job.state.window[0][0].shape[2]:
            self._ready.append(job)
        else:  # nobody is to be joined before his first token: nothing was predicted for it
            last = torch.as_tensor(task.tokens[-1:], dtype=torch.int64)
            told += self._heard(job, self._advance(job, last, steps=1)[-1])
        return told

    def _alone(self, job: Job) -> list[Choice]:
        """How likely the tokens of a segment were, with the first of all."""
        found = job.opening()
        if job.left > 0:
            found += self._segment(job, BESIDE if self._cohorts else ALONE)
        return found

    def _together(self, jobs: list[Job]) -> list[list[Choice]]:
        """The same of several, whose texts are read to the last token but one."""
        sizes = [job.left for job in jobs]
        tokens = torch.zeros(len(jobs), max(sizes) + 1, dtype=torch.int64)
        for row, job, many in zip(tokens, jobs, sizes, strict=True):
            row[: many + 1] = torch.as_tensor(job.task.tokens[job.position :])
        real = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
        begin = joined([job.state for job in jobs if job.state is not None])
        options = {"targets": tokens[:, 1:], "mask": real, "donate": True}
        log_p, _, state = self._model.predict(tokens[:, :-1], begin, **options)
        found = []
        for i, (job, many) in enumerate(zip(jobs, sizes, strict=True)):
            scored = zip(tokens[i, 1 : many + 1].tolist(), log_p[i, :many].tolist(), strict=True)
            found.append([*job.opening(), *(Choice(*one) for one in scored)])
            job.state, job.own, job.position = parted(state, i), True, job.position + many
        return found

    def _segment(self, job: Job, most: int) -> list[Choice]:
        """Read tokens: how likely each was that comes after one of them."""
        many, start = min(most, job.left), job.position
        tokens = torch.as_tensor(job.task.tokens[start : start + many + 1], dtype=torch.int64)
        if not job.task.top:
            log_p = self._advance(job, tokens[:-1], targets=tokens[None, 1:])
            return [Choice(*one) for one in zip(tokens[1:].tolist(), log_p.tolist(), strict=True)]
        log_p = self._advance(job, tokens[:-1]).float().log_softmax(-1)
        return [
            choice(int(token), p, job.task.top) for token, p in zip(tokens[1:], log_p, strict=True)
        ]

    def _heard(self, job: Job, predicted: Tensor) -> Told:
        """Go on by itself, with what is predicted (V,)."""
        log_p = predicted.float().log_softmax(-1)
        events, reason = job.hear(log_p)
        assert job.state is not None
        if reason:
            events.append(job.finish(job.state, log_p, reason))
        else:
            self._ready.append(job)
        return [(job.task, event) for event in events]

    def _advance(self, job: Job, tokens: Tensor, **options: Any) -> Tensor:
        """Let the model read tokens (T,) of one stream: what it predicts, (T,) or (steps, V)."""
        options["donate"] = job.own
        predicted, _, job.state = self._model.predict(tokens[None], job.state, **options)
        job.position, job.own = job.position + len(tokens), True
        return predicted[0]


def _known(task: Task) -> Tensor:
    """What is predicted (V,) where nothing is to be read."""
    if task.begin is None or task.begin.log_p is None:
        raise ConfigError("there is nothing to go on from: give a token at least")
    return task.begin.log_p


def _kin(job: Job) -> int:
    """Streams of one number are joined: none is padded to more than four times its size."""
    assert job.state is not None
    return job.state.nbytes.bit_length() // 2
