"""The model in a thread of its own, and tasks given to it from an event loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from queue import Empty, SimpleQueue
from typing import Self

from sparsemeta.lm import LanguageModel, Tokenizer
from sparsemeta.serve.engine.scheduler import Scheduler, Told
from sparsemeta.serve.engine.tasks import Event, Finished, Task

Answers = asyncio.Queue[Event | Exception]


class Engine:
    """Does the tasks of many users with one model; an asynchronous context.

    Args:
        model: on the CPU.
        tokenizer: the model's own.
        batch: how many streams are decoded side by side at most.

    Attributes:
        model: as given.
        tokenizer: as given.
    """

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, *, batch: int = 64):
        self.model, self.tokenizer = model, tokenizer
        self._scheduler = Scheduler(model, tokenizer, batch)
        self._inbox: SimpleQueue[Task | None] = SimpleQueue()
        self._answers: dict[Task, Answers] = {}  # of the event loop alone
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    @property
    def waiting(self) -> int:
        """How many tasks are not done."""
        return len(self._answers)

    @property
    def alive(self) -> bool:
        """Whether tasks will be done."""
        return self._thread.is_alive()

    async def run(self, task: Task) -> AsyncGenerator[Event]:
        """Do a task: yields what is told of it, `Finished` as the last.

        Whoever stops listening cancels the task. Close it, by `contextlib.aclosing`, lest that be
        noticed late.
        """
        answers: Answers = asyncio.Queue()
        self._answers[task] = answers
        self._inbox.put(task)
        try:
            while True:
                event = await answers.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            task.cancelled = True
            del self._answers[task]

    def _work(self) -> None:
        """In the engine's thread."""
        while self._take():
            if told := self._scheduler.turn():
                self._loop.call_soon_threadsafe(self._tell, told)

    def _take(self) -> bool:
        """Take on what was asked; wait for it if there is nothing else to do. False is the end."""
        try:
            while True:
                task = self._inbox.get(block=self._scheduler.idle)
                if task is None:
                    return False
                self._scheduler.add(task)
        except Empty:
            return True

    def _tell(self, told: Told) -> None:
        """In the event loop: hand on what happened in a turn, to those who still listen."""
        for task, event in told:
            if answers := self._answers.get(task):
                answers.put_nowait(event)
