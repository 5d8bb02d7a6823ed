"""Runs a scenario of a rivals run: all its spenders at once, against each other and against themselves.

A scenario has phases, and nothing of one is left when the next begins. A spender gives back only what none of its own
attempts is asking for at that moment: so every answer has one meaning, however the attempts were interleaved.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from protocol import AsyncClient, codes
from protocol.item_flags import SPEND_IGNORE_LOCKED
from store import RuleCall, Status, Store
from store.layout import locate
from tests.chaos.claims import Coin, named
from tests.chaos.history import YES, Answer, Item
from tests.rivals.questions import Invoker, is_settled
from tests.rivals.scenarios import FROZEN, LATE, LOCKED, UTXO_BATCH_SIZE, Scenario, Scenarios, Spender

# Longer than the daemons' execution limit: what was `unknown` by its deadline has landed then, or never will.
LANDED_SECONDS: Final = 2.5
_CRASHED_LANDED_SECONDS: Final = 0.1
_LONGEST_DELAY: Final = 0.006
_STORE_SECONDS: Final = 10.0
_TRIES: Final = 40


@dataclass(slots=True)
class _SpenderState:
    """What a spender has been told since it last gave everything back. named: what may be held, by any answer. landing:
    seconds for which something of it may still land."""

    spender: Spender
    acknowledged: set[Coin] = field(default_factory=set)
    named: set[Coin] = field(default_factory=set)
    landing: float = 0.0

    def hear(self, answer: Answer, asked: Iterable[Coin]) -> None:
        if answer.executed == YES:
            self.acknowledged |= set(asked)
        elif answer.executed == "unknown":
            self.named |= named(answer) or set(asked)
            is_dead = answer.code == codes.WORKER_CRASHED
            self.landing = max(self.landing, _CRASHED_LANDED_SECONDS if is_dead else LANDED_SECONDS)
        else:
            self.named |= named(answer)


class ScenarioRun:
    """One scenario, from its parents' creation to its last attempts.

    store: for what no operation of the daemon does.
    """

    def __init__(self, invoker: Invoker, scenarios: Scenarios, number: int, store: Store, random: Random) -> None:
        self._invoker = invoker
        self._scenarios = scenarios
        self._scenario: Scenario = scenarios.scenario(number)
        self._store = store
        self._random = random
        self._spenders = [_SpenderState(spender) for spender in self._scenario.spenders]
        self._strangers: list[_SpenderState] = []

    async def run(self) -> None:
        await self._prepare()
        await self._all_at_once()
        for _ in range(self._random.choice((0, 1, 1, 2))):
            await asyncio.gather(*(self._go_on(state) for state in [*self._spenders, *self._strangers]))
        await self._one_after_the_other()
        self._invoker.scenario_is_over(self._scenario)

    # ---- the phases of a scenario

    async def _prepare(self) -> None:
        scenario = self._scenario
        there = [(scenario.number, number) for number, parent in enumerate(scenario.parents) if parent.trouble != LATE]
        await self._invoker.insist(scenario, "create", there)
        for number in self._in_trouble(FROZEN):
            self._reassign(number)

    async def _all_at_once(self) -> None:
        """Everybody's first attempts, with what is done to the parents meanwhile."""
        chance = self._random.random
        # All through one connection, and so in one dispatch mostly; or each as it comes.
        client = self._invoker.any_client() if chance() < 0.4 else None
        steps: list[Coroutine[Any, Any, None]] = []
        for state in self._spenders:
            times = self._random.choice((1, 2, 2, 3)) if state is self._spenders[0] else 1
            steps += [self._attempt(state, self._early_or_not(), client) for _ in range(times)]
            if chance() < 0.25:
                steps.append(self._plain(state, self._some(state.spender.inputs), self._early_or_not()))
        if chance() < 0.3:
            steps.append(self._strange(self._some(self._scenario.spenders[0].inputs), self._early_or_not()))
        steps += [self._create_late(number) for number in self._in_trouble(LATE) for _ in range(1 + (chance() < 0.3))]
        steps += [self._toggle(number) for number in self._in_trouble(LOCKED) for _ in range(1 + (chance() < 0.5))]
        self._random.shuffle(steps)
        await asyncio.gather(*steps)

    async def _go_on(self, state: _SpenderState) -> None:
        """Gives back what it may hold and begins anew; or asks again; or leaves it."""
        is_stranger = state in self._strangers
        may_hold = state.named | state.acknowledged
        give_back = 0.1 if state.acknowledged and not is_stranger else 0.4
        if may_hold and self._random.random() < give_back:
            await self._give_back(state, may_hold)
        if is_stranger or self._random.random() < 0.1:
            return
        times = self._random.choice((1, 1, 2))
        heights = [self._early_or_not() + (self._random.random() < 0.7) for _ in range(times)]
        await asyncio.gather(*(self._attempt(state, height, None) for height in heights))

    async def _one_after_the_other(self) -> None:
        """One after the other, so that what a refusal names as held is held, and nothing else."""
        await asyncio.sleep(max(state.landing for state in self._spenders))
        for number in self._in_trouble(LOCKED):
            if self._random.random() < 0.5:
                await self._invoker.insist(
                    self._scenario, "set_locked", [(self._scenario.number, number, self._random.random() < 0.3)]
                )
        for state in self._random.sample(self._spenders, len(self._spenders)):
            for _ in range(_TRIES):
                if is_settled(await self._ask(state, self._early_or_not(), None)):
                    break
                await asyncio.sleep(state.landing)

    # ---- what a spender does

    async def _attempt(self, state: _SpenderState, height: int, client: AsyncClient | None) -> None:
        await self._delay()
        answer = await self._ask(state, height, client)
        if answer.executed == YES and self._random.random() < 0.5:
            await self._strange(self._some(state.spender.inputs), self._scenario.height)

    async def _ask(self, state: _SpenderState, height: int, client: AsyncClient | None) -> Answer:
        items = self._items(state.spender, state.spender.inputs, height)
        self._random.shuffle(items)
        timeout = self._invoker.any_timeout()
        answer, *_ = await self._invoker.ask(self._scenario, "transaction", items, client, timeout=timeout)
        state.hear(answer, state.spender.inputs)
        return answer

    async def _strange(self, wanted: Sequence[Coin], height: int) -> None:
        """Somebody else wants these outputs: where they were acknowledged, it hears who has them."""
        state = _SpenderState(
            Spender(self._scenarios.stranger(self._scenario.number, len(self._strangers)), list(wanted))
        )
        self._strangers.append(state)
        await self._plain(state, wanted, height, SPEND_IGNORE_LOCKED)

    async def _plain(self, state: _SpenderState, wanted: Sequence[Coin], height: int, flags: int = 0) -> None:
        """Spends, each for itself."""
        await self._delay()
        items = self._items(state.spender, wanted, height)
        timeout = self._invoker.any_timeout()
        answers = await self._invoker.ask(self._scenario, "spend", items, flags=flags, timeout=timeout)
        self._hear_each(state, wanted, answers)
        if not all(map(is_settled, answers)):
            self._hear_each(state, wanted, await self._invoker.insist(self._scenario, "spend", items, flags))

    def _hear_each(self, state: _SpenderState, wanted: Sequence[Coin], answers: Sequence[Answer]) -> None:
        for coin, answer in zip(wanted, answers, strict=True):
            state.hear(answer, [coin])

    async def _give_back(self, state: _SpenderState, may_hold: set[Coin]) -> None:
        await asyncio.sleep(state.landing)
        items = self._items(state.spender, sorted(may_hold & set(state.spender.inputs)), self._scenario.height)
        await self._invoker.insist(self._scenario, "unspend", items)
        state.acknowledged.clear()
        state.named.clear()
        state.landing = 0.0

    # ---- what is done to the parents

    async def _create_late(self, number: int) -> None:
        await self._delay()
        await self._invoker.insist(self._scenario, "create", [(self._scenario.number, number)])

    async def _toggle(self, number: int) -> None:
        for value in self._random.choice(([True, False], [True, False, True], [True], [True, False, True, False])):
            await self._invoker.insist(self._scenario, "set_locked", [(self._scenario.number, number, value)])
            await self._delay()

    def _reassign(self, number: int) -> None:
        """Its first output, to the same owner; spendable from the scenario's height on."""
        parent, height = self._scenario.parents[number], self._scenario.height
        key, offset = locate(parent.txid, 0, UTXO_BATCH_SIZE)
        output, hashed = parent.transaction.outputs[0], parent.utxo_hash(0)
        to_whom = hashed, output.satoshis, output.locking_script
        calls = [
            RuleCall(key, "freeze", (offset, hashed)),
            RuleCall(key, "reassign", (offset, hashed, *to_whom, height - 1, 1)),
        ]
        for call in calls:
            (result,) = self._store.batch_operate([call], _STORE_SECONDS)
            if result.status is not Status.OK or result.value["status"] != "OK":
                raise RuntimeError(f"{call.function}: {result}")

    # ---- small things

    def _in_trouble(self, trouble: str) -> list[int]:
        return [number for number, parent in enumerate(self._scenario.parents) if parent.trouble == trouble]

    def _early_or_not(self) -> int:
        return self._scenario.height - (self._random.random() < 0.5)

    def _some(self, wanted: Sequence[Coin]) -> list[Coin]:
        return self._random.sample(wanted, self._random.choice((1, len(wanted))))

    def _items(self, spender: Spender, wanted: Iterable[Coin], height: int) -> list[Item]:
        name, number = spender.txid.hex(), self._scenario.number
        return [(number, *coin, name, spender.inputs.index(coin), height) for coin in wanted]

    async def _delay(self) -> None:
        if self._random.random() < 0.5:
            await asyncio.sleep(self._random.uniform(0, _LONGEST_DELAY))
