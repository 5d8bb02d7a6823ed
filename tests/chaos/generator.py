"""What the callers of a chaos run want to ask, each as a generator of questions that is sent the answers.

The callers of all processes want the same coins, so that they are rivals. One whose answer is `unknown` asks again,
mostly, and gives back what is left of a transaction that it can't have as a whole. Twins are one transaction asked for
twice at the same moment, early and in time; a shared one is asked for by whoever comes by at that moment, and nobody
gives it back.
"""

import itertools
import random
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from tests.chaos.claims import Coin, named
from tests.chaos.history import Answer, Item
from tests.chaos.parents import UTXO_BATCH_SIZE, Parents
from tests.chaos.questions import Question

# New parents per second, and how many of the newest are created, and spent.
PARENTS_PER_SECOND: Final = 15.0
_CREATED_AMONG: Final = 60
_SPENT_AMONG: Final = 150
_TIMEOUT: Final = 3.0
_SHORT_TIMEOUTS: Final = (0.02, 0.4)
SHARED_PER_SECOND: Final = 8.0
_TRIES: Final = 3
_REMEMBERED: Final = 40


class Together(NamedTuple):
    """Questions to be asked at the same moment. Their answers come as a list for each."""

    questions: Sequence[Question]


Asking = Generator[Question | Together, Any, None]
Inner = Generator[Question | Together, Any, list[Answer]]


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

    def __init__(self, settings: ClientSettings, parents: Parents, number: int) -> None:
        self._settings = settings
        self._parents = parents
        self._number = number
        self.random = random.Random(f"{settings.seed}:{settings.name}:{number}")
        self._spenders = itertools.count()
        self._mine: deque[list[Item]] = deque(maxlen=_REMEMBERED)
        self._created: set[int] = set()

    def questions(self) -> Asking:
        acts = {
            self._create: 20, self._spend: 16, self._spend_again: 4, self._spend_twice: 5, self._spend_record: 14,
            self._transaction: 10, self._twins: 8, self._shared: 8, self._unspend: 6, self._get: 10, self._outpoint: 8,
            self._lock: 5, self._increment: 3,
        }  # fmt: skip
        yield from self._create()  # also where the time was over before this process had come
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
        parent = self._parents.parent(self._newest(_SPENT_AMONG))
        record = self.random.randint(0, parent.children)
        whole = self.random.random() < 0.4
        coins = [(parent.number, vout) for vout in parent.outputs if whole or vout // UTXO_BATCH_SIZE == record]
        if coins and self.random.random() < 0.5:
            yield from self._spend_as_transaction(coins)
        elif coins:
            yield from self._spend_coins(coins)

    def _transaction(self) -> Asking:
        yield from self._spend_as_transaction(list({self._coin() for _ in range(self.random.randint(2, 5))}))

    def _twins(self) -> Asking:
        """The same transaction at the same moment, early and in time, its inputs in any order."""
        items = self._for_a_spender(list({self._coin() for _ in range(self.random.randint(2, 5))}))
        times = [True, False, self.random.random() < 0.5][: self.random.choice((2, 2, 3))]
        questions = [self._question("transaction", self._at(items, early)) for early in times]
        answers: list[list[Answer]] = yield Together(questions)
        first = [attempt[0] for attempt in answers]
        if any(answer.code == "OK" for answer in first):
            self._keep(items)
        else:
            yield from self._give_back(items, first)

    def _shared(self) -> Asking:
        """A transaction that others ask for too."""
        settings = self._settings
        number = int((time.monotonic() - settings.started) * SHARED_PER_SECOND)
        name = f"{settings.seed}:shared:{number}"
        chance = random.Random(name)
        newest = int(number / SHARED_PER_SECOND * PARENTS_PER_SECOND) + 1
        coins = {self._coin_of(chance, newest) for _ in range(chance.randint(2, 5))}
        items = _items(name, sorted(coins))
        yield from self._insist("transaction", self._at(items, self.random.random() < 0.5))

    def _spend_again(self) -> Asking:
        if self._mine:
            yield from self._insist("spend", self.random.choice(self._mine))

    def _spend_twice(self) -> Asking:
        """For another spender what this one has."""
        if self._mine:
            yield from self._spend_coins([(parent, vout) for parent, vout, *_ in self.random.choice(self._mine)])

    def _unspend(self) -> Asking:
        if self._mine:
            items = self.random.choice(self._mine)
            self._mine.remove(items)
            yield from self._insist("unspend", items)

    def _get(self) -> Asking:
        numbers = [self._newest(_SPENT_AMONG) for _ in range(self.random.choice((1, 1, 8)))]
        yield from self._insist("get", [(number,) for number in numbers])

    def _outpoint(self) -> Asking:
        yield from self._insist("outpoint", [self._coin() for _ in range(self.random.choice((1, 1, 8)))])

    def _increment(self) -> Asking:
        """Counters are recounted, whatever is asked for."""
        numbers = {self._newest(_SPENT_AMONG) for _ in range(4)}
        items = [
            (number, self.random.choice((-1, 0, 1))) for number in numbers if self._parents.parent(number).children
        ]
        if items:
            yield from self._insist("increment", items)

    def _lock(self) -> Asking:
        """A parent is locked by one caller of all, so that the last one is known. Mostly it is unlocked again."""
        settings = self._settings
        callers, mine = settings.slots * settings.callers, settings.slot * settings.callers + self._number
        newest = self._newest(1)
        last = range(max(0, newest - _SPENT_AMONG), newest)
        lockable = [number for number in last if number % callers == mine and self._parents.parent(number).lockable]
        if not lockable:
            return
        number = self.random.choice(lockable)
        yield from self._insist("set_locked", [(number, True)])
        if self.random.random() < 0.9:
            yield from self._get()
            yield from self._insist("set_locked", [(number, False)])

    # ---- and how

    def _spend_coins(self, coins: list[Coin]) -> Asking:
        items = self._at(self._for_a_spender(coins), self.random.random() < 0.1)
        answers = yield from self._insist("spend", items)
        self._keep([item for item, answer in zip(items, answers, strict=True) if answer.code == "OK"])

    def _spend_as_transaction(self, coins: list[Coin]) -> Asking:
        items = self._for_a_spender(coins)
        told: list[Answer] = []
        for _ in range(_TRIES):
            (answer, *_) = yield self._question("transaction", self._at(items, self.random.random() < 0.1))
            told.append(answer)
            if answer.executed != "unknown":
                break
        if told[-1].code == "OK":
            self._keep(items)
        else:
            yield from self._give_back(items, told)

    def _give_back(self, items: list[Item], told: Sequence[Answer]) -> Asking:
        """What may be left of a transaction, as its answers say; or mostly so: nobody must."""
        is_doubtful = any(answer.executed == "unknown" for answer in told)
        left = {coin for answer in told for coin in named(answer)}
        held = [item for item in items if is_doubtful or item[:2] in left]
        if held and (is_doubtful or self.random.random() < 0.7):
            yield from self._insist("unspend", held)

    def _insist(self, operation: str, items: list[Item]) -> Inner:
        """Asks; and mostly asks again for what is unknown."""
        answers: list[Answer] = list((yield self._question(operation, items)))
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

    def _for_a_spender(self, coins: list[Coin]) -> list[Item]:
        settings = self._settings
        return _items(f"{settings.seed}:{settings.name}:{self._number}:{next(self._spenders)}", coins)

    def _at(self, items: Sequence[Item], early: bool) -> list[Item]:
        """The same spends at that height, in any order."""
        return [(*item[:4], early) for item in self.random.sample(items, len(items))]

    def _newest(self, among: int) -> int:
        newest = int((time.monotonic() - self._settings.started) * PARENTS_PER_SECOND) + 1
        return self.random.randint(max(0, newest - among), newest)

    def _coin(self) -> Coin:
        number = self._newest(_SPENT_AMONG)
        return number, self.random.choice(list(self._parents.parent(number).outputs))

    def _coin_of(self, chance: random.Random, newest: int) -> Coin:
        number = chance.randint(max(0, newest - _SPENT_AMONG), newest)
        return number, chance.choice(list(self._parents.parent(number).outputs))


def _items(name: str, coins: Sequence[Coin]) -> list[Item]:
    """The spends of the transaction of that name, in time."""
    spender = sha256(name.encode()).hexdigest()
    return [(parent, vout, spender, vin, False) for vin, (parent, vout) in enumerate(coins)]
