"""A client process of a chaos run: several callers, blocking ones in threads or asyncio's, until the time is over.

    python -m tests.chaos.clients '{"endpoint": ..., ...}'      (the fields of ClientSettings)

It asks what its callers want to ask (generator.py), and writes down what each asks and is answered.
"""

import asyncio
import itertools
import json
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from protocol import AsyncClient, Client
from tests.chaos.generator import Asking, Caller, ClientSettings, Together
from tests.chaos.history import Answer, HistoryFile
from tests.chaos.parents import Parents
from tests.chaos.questions import Question, answers_of, start
from utxod.own_daemon import end_with_parent

_PAUSE: Final = 0.06  # seconds between two questions of a caller, at most
_AFTER_A_FAULT: Final = 0.1


class ClientProcess:
    """Drives the callers of this process: asks what each wants to ask, and writes it down."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._parents = Parents(settings.seed)
        self._history = HistoryFile(Path(settings.history))
        self._numbers = itertools.count()

    def run(self) -> None:
        callers = [Caller(self._settings, self._parents, number) for number in range(self._settings.callers)]
        if self._settings.use_asyncio:
            asyncio.run(self._run_in_loop(callers))
            return
        with Client(self._settings.endpoint) as client:
            threads = [threading.Thread(target=self._drive, args=(client, caller)) for caller in callers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    async def _run_in_loop(self, callers: list[Caller]) -> None:
        async with AsyncClient(self._settings.endpoint) as client:
            await asyncio.gather(*(self._drive_in_loop(client, caller) for caller in callers))

    def _drive(self, client: Client, caller: Caller) -> None:
        asking = caller.questions()
        answers: Any = None
        with ThreadPoolExecutor() as threads:
            while (question := _next(asking, answers)) is not None:
                if isinstance(question, Together):
                    answers = list(threads.map(lambda each: self._ask(client, each), question.questions))
                    time.sleep(_pause(caller, answers[0]))
                else:
                    answers = self._ask(client, question)
                    time.sleep(_pause(caller, answers))

    def _ask(self, client: Client, question: Question) -> list[Answer]:
        number = self._asked(question)
        given: Any
        try:
            given = start(client, self._parents, question)
        except Exception as error:
            given = error
        return self._answered(number, question, given)

    async def _drive_in_loop(self, client: AsyncClient, caller: Caller) -> None:
        asking = caller.questions()
        answers: Any = None
        while (question := _next(asking, answers)) is not None:
            if isinstance(question, Together):
                answers = await asyncio.gather(*(self._ask_in_loop(client, each) for each in question.questions))
                await asyncio.sleep(_pause(caller, answers[0]))
            else:
                answers = await self._ask_in_loop(client, question)
                await asyncio.sleep(_pause(caller, answers))

    async def _ask_in_loop(self, client: AsyncClient, question: Question) -> list[Answer]:
        number = self._asked(question)
        given: Any
        try:
            given = await start(client, self._parents, question)
        except Exception as error:
            given = error
        return self._answered(number, question, given)

    def _asked(self, question: Question) -> int:
        number, now = next(self._numbers), time.monotonic()
        self._history.asked(number, question.operation, question.items, now, now + question.timeout)
        return number

    def _answered(self, number: int, question: Question, given: Any) -> list[Answer]:
        now = time.monotonic()
        answers = answers_of(self._parents, question, given)
        self._history.answered(number, answers, now)
        return answers


def _next(asking: Asking, answers: Any) -> Question | Together | None:
    try:
        return next(asking) if answers is None else asking.send(answers)
    except StopIteration:
        return None


def _pause(caller: Caller, answers: Sequence[Answer]) -> float:
    wait = caller.random.uniform(0, _PAUSE)
    return wait if answers[0].code == "OK" else wait + _AFTER_A_FAULT * caller.random.random()


if __name__ == "__main__":
    end_with_parent()
    ClientProcess(ClientSettings(**json.loads(sys.argv[1]))).run()
