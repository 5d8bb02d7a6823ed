"""A question of a rivals run, as a call of one of the clients and back as an answer for the history.

Items: create [scenario, parent]; set_locked [scenario, parent, value]; transaction (the spends of one), spend, unspend
[scenario, parent, vout, spender, vin, height]. The value of a refusal is a map of what its details say, with outputs as
[parent, vout]: spender, vin; because, outpoint.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from protocol import AsyncClient, Outcome, SetLocked, Spend, UtxodError, codes
from tests.chaos.claims import Coin
from tests.chaos.history import YES, Answer, HistoryFile, Item
from tests.rivals.scenarios import Scenario

_TIMEOUT: Final = 5.0
_SHORT_TIMEOUTS: Final = (0.005, 0.05)
_SHORT_ONES: Final = 0.03
# The lock of a creator that died expires after half a minute or more.
_INSIST_SECONDS: Final = 90.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
UNREADABLE: Final = "EXCEPTION"


class Invoker:
    """Asks the daemons, and writes down what was asked and answered. clients: connections, by daemon."""

    def __init__(self, clients: Sequence[Sequence[AsyncClient]], history: HistoryFile, random: Random) -> None:
        self._clients = clients
        self._history = history
        self._random = random
        self._numbers = itertools.count()

    def any_client(self) -> AsyncClient:
        return self._random.choice(self._random.choice(self._clients))

    async def ask(
        self,
        scenario: Scenario,
        operation: str,
        items: Sequence[Item],
        client: AsyncClient | None = None,
        flags: int = 0,
        timeout: float = _TIMEOUT,
    ) -> list[Answer]:
        """Once."""
        number, now = next(self._numbers), time.monotonic()
        self._history.asked(number, operation, items, now, now + timeout)
        given: Any
        try:
            given = await _call(client or self.any_client(), scenario, operation, items, timeout, flags)
        except Exception as error:
            given = error
        answers = _answers(scenario, operation, items, given)
        self._history.answered(number, answers, time.monotonic())
        return answers

    def any_timeout(self) -> float:
        """Now and then one that is too short."""
        return self._random.uniform(*_SHORT_TIMEOUTS) if self._random.random() < _SHORT_ONES else _TIMEOUT

    async def insist(self, scenario: Scenario, operation: str, items: Sequence[Item], flags: int = 0) -> list[Answer]:
        """Asks until each answer is one that is no fault; any daemon, of each item that has none."""
        answers = list(await self.ask(scenario, operation, items, flags=flags))
        until, pause = time.monotonic() + _INSIST_SECONDS, _FIRST_PAUSE
        while time.monotonic() < until:
            left = [index for index, answer in enumerate(answers) if not is_settled(answer)]
            if not left:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            again = await self.ask(scenario, operation, [items[index] for index in left], flags=flags)
            for index, answer in zip(left, again, strict=True):
                answers[index] = answer
        return answers

    def scenario_is_over(self, scenario: Scenario) -> None:
        self._history.over(scenario.number)


def is_settled(answer: Answer) -> bool:
    """Done, or refused by the rules, for good."""
    return answer.executed == YES or (answer.code in codes.REJECTIONS and answer.code != codes.CREATING)


async def _call(
    client: AsyncClient, scenario: Scenario, operation: str, items: Sequence[Item], timeout: float, flags: int
) -> Any:
    if operation == "create":
        return await client.create_many([scenario.parents[parent].creation for _, parent in items], timeout=timeout)
    if operation == "set_locked":
        locks = [SetLocked(scenario.parents[parent].txid, value) for _, parent, value in items]
        return await client.set_locked_many(locks, timeout=timeout)
    spends = [spend_of(scenario, item, flags) for item in items]
    if operation == "transaction":
        return await client.spend_transaction(spends, timeout=timeout)
    if operation == "unspend":
        return await client.unspend_many(spends, timeout=timeout)
    if len(spends) == 1:
        return [await client.spend(spends[0], timeout=timeout)]
    return await client.spend_many(spends, timeout=timeout)


def spend_of(scenario: Scenario, item: Item, flags: int = 0) -> Spend:
    _, parent, vout, spender, vin, height = item
    return scenario.spend((parent, vout), bytes.fromhex(spender), vin, height, flags)


def _answers(scenario: Scenario, operation: str, items: Sequence[Item], given: Any) -> list[Answer]:
    if isinstance(given, UtxodError):
        return [_refusal(scenario, given)] * len(items)
    if isinstance(given, BaseException) or len(given) != len(items):
        return [Answer(UNREADABLE, "unknown", repr(given))] * len(items)
    return [_answer(scenario, operation, result) for result in given]


def _answer(scenario: Scenario, operation: str, result: Any) -> Answer:
    if isinstance(result, Outcome):
        if result.error is not None:
            return _refusal(scenario, result.error)
        result = result.result
    return Answer("OK", YES, result["records"] if operation == "create" else result)


def _refusal(scenario: Scenario, error: UtxodError) -> Answer:
    details = error.details
    value: dict[str, Any] = {"message": error.message} if error.code not in codes.REJECTIONS else {}
    if "spending_txid" in details:
        value |= {"spender": details["spending_txid"].hex(), "vin": details["spending_vin"]}
    if "because" in details:
        value["because"] = details["because"]
    if "outpoint" in details:
        value["outpoint"] = _coin(scenario, details["outpoint"])
    held = [_coin(scenario, outpoint) for outpoint in (*details.get("held", ()), *details.get("outpoints", ()))]
    return Answer(error.code, error.executed, value, held)


def _coin(scenario: Scenario, outpoint: Sequence[Any]) -> Coin:
    """Parent -1: none of this scenario's."""
    txid, vout = outpoint
    return next((number for number, parent in enumerate(scenario.parents) if parent.txid == txid), -1), vout
