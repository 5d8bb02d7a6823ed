"""A client process of a chaos run: several callers, blocking ones in threads or asyncio's, until the time is over.

    python -m bench.chaos_clients '{"endpoint": ..., ...}'      (the fields of ClientSettings)

The callers of all processes want the same coins, so that they are rivals; each writes down what it asks and what it is
answered. One whose answer is `unknown` asks again, mostly, and takes back what is left of a transaction that it can't
have as a whole. An output is spent for one spender by one caller only, one call after the other.
"""

import asyncio
import itertools
import json
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from protocol.aio import AsyncClient
from protocol.client import Client
from utxod.daemon import end_with_parent

from .chaos_asking import Question, answers_of, start
from .chaos_history import Answer, HistoryFile, Item
from .chaos_lots import UTXO_BATCH_SIZE, Lots

# New lots per second, and how many of the newest are created, and spent.
LOTS_PER_SECOND: Final = 15.0
_CREATED_AMONG: Final = 60
_SPENT_AMONG: Final = 150
_TIMEOUT: Final = 3.0
_SHORT_TIMEOUTS: Final = (0.02, 0.4)
_PAUSE: Final = 0.06  # seconds between two questions of a caller, at most
_AFTER_A_FAULT: Final = 0.1
_TRIES: Final = 3
_REMEMBERED: Final = 40

Asking = Generator[Question, list[Answer], None]
Inner = Generator[Question, list[Answer], list[Answer]]


@dataclass(frozen=True)
class ClientSettings:
    """slot: which of `slots` processes; name: of this one. started, until: seconds, monotonic."""

    endpoint: str
    history: str
    name: str
    slot: int
    slots: int
    callers: int
    use_asyncio: bool
    seed: int
    started: float
    until: float


class Caller:
    """One caller's questions, as a generator that is sent the answers: its driver does the rest."""

    def __init__(self, settings: ClientSettings, lots: Lots, number: int) -> None:
        self._settings = settings
        self._lots = lots
        self._number = number
        self.random = random.Random(f"{settings.seed}:{settings.name}:{number}")  # noqa: S311 (no secrets here)
        self._spenders = itertools.count()
        self._mine: deque[list[Item]] = deque(maxlen=_REMEMBERED)
        self._created: set[int] = set()

    def questions(self) -> Asking:
        acts = {
            self._create: 20, self._spend: 16, self._spend_again: 4, self._spend_twice: 5, self._spend_record: 14,
            self._transaction: 14, self._abandon: 6, self._get: 10, self._outpoint: 8, self._lock: 5,
        }  # fmt: skip
        while time.monotonic() < self._settings.until:
            (act,) = self.random.choices(list(acts), list(acts.values()))
            yield from act()

    # ---- what a caller does

    def _create(self) -> Asking:
        wanted = {self._newest(_CREATED_AMONG) for _ in range(self.random.randint(1, 6))} - self._created
        if not wanted:
            return
        items: list[Item] = [(number,) for number in wanted]
        for (number,), answer in zip(items, (yield from self._insist("create", items)), strict=True):
            if answer.code in ("OK", "TX_EXISTS"):
                self._created.add(number)

    def _spend(self) -> Asking:
        coins = {self._coin() for _ in range(self.random.choice((1, 1, 1, 5, 10)))}
        yield from self._spend_coins(list(coins))

    def _spend_record(self) -> Asking:
        """All of one record, or of a whole transaction: so that records, and transactions, become fully spent."""
        lot = self._lots.lot(self._newest(_SPENT_AMONG))
        record = self.random.randint(0, lot.children)
        whole = self.random.random() < 0.4
        coins = [(lot.number, vout) for vout in lot.outputs if whole or vout // UTXO_BATCH_SIZE == record]
        if coins and self.random.random() < 0.5:
            yield from self._spend_as_transaction(coins)
        elif coins:
            yield from self._spend_coins(coins)

    def _transaction(self) -> Asking:
        yield from self._spend_as_transaction(list({self._coin() for _ in range(self.random.randint(2, 5))}))

    def _spend_again(self) -> Asking:
        if self._mine:
            yield from self._insist("spend", self.random.choice(self._mine))

    def _spend_twice(self) -> Asking:
        """For another spender what this one has."""
        if self._mine:
            yield from self._spend_coins([(lot, vout) for lot, vout, *_ in self.random.choice(self._mine)])

    def _abandon(self) -> Asking:
        if self._mine:
            items = self.random.choice(self._mine)
            self._mine.remove(items)
            yield from self._insist("abandon", items)

    def _get(self) -> Asking:
        numbers = [self._newest(_SPENT_AMONG) for _ in range(self.random.choice((1, 1, 8)))]
        yield from self._insist("get", [(number,) for number in numbers])

    def _outpoint(self) -> Asking:
        yield from self._insist("outpoint", [self._coin() for _ in range(self.random.choice((1, 1, 8)))])

    def _lock(self) -> Asking:
        """A lot is locked by one caller of all, so that the last one is known. Mostly it is unlocked again."""
        settings = self._settings
        callers, mine = settings.slots * settings.callers, settings.slot * settings.callers + self._number
        newest = self._newest(1)
        last = range(max(0, newest - _SPENT_AMONG), newest)
        lockable = [number for number in last if number % callers == mine and self._lots.lot(number).lockable]
        if not lockable:
            return
        number = self.random.choice(lockable)
        yield from self._insist("set_locked", [(number, True)])
        if self.random.random() < 0.9:
            yield from self._get()
            yield from self._insist("set_locked", [(number, False)])

    # ---- and how

    def _spend_coins(self, coins: list[tuple[int, int]]) -> Asking:
        items = self._for_a_spender(coins)
        answers = yield from self._insist("spend", items)
        self._keep([item for item, answer in zip(items, answers, strict=True) if answer.code == "OK"])

    def _spend_as_transaction(self, coins: list[tuple[int, int]]) -> Asking:
        items = self._for_a_spender(coins)
        doubtful = False
        for _ in range(_TRIES):
            answers = yield self._question("transaction", items)
            if answers[0].executed != "unknown":
                break
            doubtful = True
        if answers[0].code == "OK":
            self._keep(items)
        elif doubtful:
            yield from self._insist("abandon", items)

    def _insist(self, operation: str, items: list[Item]) -> Inner:
        """Asks; and mostly asks again for what is unknown."""
        answers = list((yield self._question(operation, items)))
        for _ in range(_TRIES):
            open_ones = [index for index, answer in enumerate(answers) if answer.executed == "unknown"]
            if not open_ones or self.random.random() < 0.3:
                break
            again = yield self._question(operation, [items[index] for index in open_ones])
            for index, answer in zip(open_ones, again, strict=True):
                answers[index] = answer
        return answers

    def _question(self, operation: str, items: list[Item]) -> Question:
        timeout = self.random.uniform(*_SHORT_TIMEOUTS) if self.random.random() < 0.1 else _TIMEOUT
        return Question(operation, items, timeout)

    def _keep(self, items: list[Item]) -> None:
        if items:
            self._mine.append(items)

    def _for_a_spender(self, coins: list[tuple[int, int]]) -> list[Item]:
        name = f"{self._settings.seed}:{self._settings.name}:{self._number}:{next(self._spenders)}"
        spender = sha256(name.encode()).hexdigest()
        return [(lot, vout, spender, vin) for vin, (lot, vout) in enumerate(coins)]

    def _newest(self, among: int) -> int:
        newest = int((time.monotonic() - self._settings.started) * LOTS_PER_SECOND) + 1
        return self.random.randint(max(0, newest - among), newest)

    def _coin(self) -> tuple[int, int]:
        number = self._newest(_SPENT_AMONG)
        return number, self.random.choice(list(self._lots.lot(number).outputs))


class Drivers:
    """Asks what the callers want to ask, and writes it down."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._lots = Lots(settings.seed)
        self._history = HistoryFile(Path(settings.history))
        self._numbers = itertools.count()

    def run(self) -> None:
        callers = [Caller(self._settings, self._lots, number) for number in range(self._settings.callers)]
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
        asking, answers = caller.questions(), None
        while (question := _next(asking, answers)) is not None:
            number = self._asked(question)
            given: Any
            try:
                given = start(client, self._lots, question)
            except Exception as error:
                given = error
            answers = self._answered(number, question, given)
            time.sleep(_pause(caller, answers))

    async def _drive_in_loop(self, client: AsyncClient, caller: Caller) -> None:
        asking, answers = caller.questions(), None
        while (question := _next(asking, answers)) is not None:
            number = self._asked(question)
            given: Any
            try:
                given = await start(client, self._lots, question)
            except Exception as error:
                given = error
            answers = self._answered(number, question, given)
            await asyncio.sleep(_pause(caller, answers))

    def _asked(self, question: Question) -> int:
        number, now = next(self._numbers), time.monotonic()
        self._history.asked(number, question.operation, question.items, now, now + question.timeout)
        return number

    def _answered(self, number: int, question: Question, given: Any) -> list[Answer]:
        now = time.monotonic()
        answers = answers_of(question, given)
        self._history.answered(number, answers, now)
        return answers


def _next(asking: Asking, answers: list[Answer] | None) -> Question | None:
    try:
        return next(asking) if answers is None else asking.send(answers)
    except StopIteration:
        return None


def _pause(caller: Caller, answers: list[Answer]) -> float:
    wait = caller.random.uniform(0, _PAUSE)
    return wait if answers[0].code == "OK" else wait + _AFTER_A_FAULT * caller.random.random()


if __name__ == "__main__":
    end_with_parent()
    Drivers(ClientSettings(**json.loads(sys.argv[1]))).run()
