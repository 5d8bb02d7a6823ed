"""Who plays the games of a rivals run: all spenders of a game at once, against each other and against themselves.

A game has steps, and nothing of one is left when the next begins. A spender gives back only what none of its own
attempts is asking for at that moment: so every answer has one meaning, however the attempts were interleaved.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from protocol import AsyncClient, codes
from protocol.operations import SPEND_IGNORE_LOCKED
from store import RuleCall, Status, Store
from store.layout import locate
from tests.chaos.claims import Place, named
from tests.chaos.history import YES, Answer, Item
from tests.rivals.model import FROZEN, LATE, LOCKED, UTXO_BATCH_SIZE, Game, Games, Spender
from tests.rivals.questions import Asker, is_settled

# Longer than the daemons' execution limit: what was `unknown` by its deadline has landed then, or never will.
LANDED_SECONDS: Final = 2.5
_CRASHED_LANDED_SECONDS: Final = 0.1
_LONGEST_DELAY: Final = 0.006
_STORE_SECONDS: Final = 10.0
_TRIES: Final = 40


@dataclass(slots=True)
class _Standing:
    """What a spender has been told since it last gave everything back. named: what may be held, by any answer. landing:
    seconds for which something of it may still land."""

    spender: Spender
    acknowledged: set[Place] = field(default_factory=set)
    named: set[Place] = field(default_factory=set)
    landing: float = 0.0

    def hear(self, answer: Answer, asked: Iterable[Place]) -> None:
        if answer.executed == YES:
            self.acknowledged |= set(asked)
        elif answer.executed == "unknown":
            self.named |= named(answer) or set(asked)
            is_dead = answer.code == codes.WORKER_CRASHED
            self.landing = max(self.landing, _CRASHED_LANDED_SECONDS if is_dead else LANDED_SECONDS)
        else:
            self.named |= named(answer)


class Player:
    """store: for what no operation of the daemon does."""

    def __init__(self, asker: Asker, games: Games, number: int, store: Store, random: Random) -> None:
        self._asker = asker
        self._games = games
        self._game: Game = games.game(number)
        self._store = store
        self._random = random
        self._standings = [_Standing(spender) for spender in self._game.spenders]
        self._strangers: list[_Standing] = []

    async def play(self) -> None:
        await self._prepare()
        await self._opening()
        for _ in range(self._random.choice((0, 1, 1, 2))):
            await asyncio.gather(*(self._go_on(standing) for standing in [*self._standings, *self._strangers]))
        await self._last_words()
        self._asker.game_is_over(self._game)

    # ---- the steps of a game

    async def _prepare(self) -> None:
        game = self._game
        there = [(game.number, number) for number, parent in enumerate(game.parents) if parent.trouble != LATE]
        await self._asker.insist(game, "create", there)
        for number in self._in_trouble(FROZEN):
            self._reassign(number)

    async def _opening(self) -> None:
        chance = self._random.random
        # All through one connection, and so in one dispatch mostly; or each as it comes.
        client = self._asker.any_client() if chance() < 0.4 else None
        moves: list[Coroutine[Any, Any, None]] = []
        for standing in self._standings:
            times = self._random.choice((1, 2, 2, 3)) if standing is self._standings[0] else 1
            moves += [self._attempt(standing, self._early_or_not(), client) for _ in range(times)]
            if chance() < 0.25:
                moves.append(self._plain(standing, self._some(standing.spender.inputs), self._early_or_not()))
        if chance() < 0.3:
            moves.append(self._strange(self._some(self._game.spenders[0].inputs), self._early_or_not()))
        moves += [self._create_late(number) for number in self._in_trouble(LATE) for _ in range(1 + (chance() < 0.3))]
        moves += [self._toggle(number) for number in self._in_trouble(LOCKED) for _ in range(1 + (chance() < 0.5))]
        self._random.shuffle(moves)
        await asyncio.gather(*moves)

    async def _go_on(self, standing: _Standing) -> None:
        """Gives back what it may hold and begins anew; or asks again; or leaves it."""
        is_stranger = standing in self._strangers
        may_hold = standing.named | standing.acknowledged
        give_back = 0.1 if standing.acknowledged and not is_stranger else 0.4
        if may_hold and self._random.random() < give_back:
            await self._give_back(standing, may_hold)
        if is_stranger or self._random.random() < 0.1:
            return
        times = self._random.choice((1, 1, 2))
        heights = [self._early_or_not() + (self._random.random() < 0.7) for _ in range(times)]
        await asyncio.gather(*(self._attempt(standing, height, None) for height in heights))

    async def _last_words(self) -> None:
        """One after the other, so that what a refusal names as held is held, and nothing else."""
        await asyncio.sleep(max(standing.landing for standing in self._standings))
        for number in self._in_trouble(LOCKED):
            if self._random.random() < 0.5:
                await self._asker.insist(
                    self._game, "set_locked", [(self._game.number, number, self._random.random() < 0.3)]
                )
        for standing in self._random.sample(self._standings, len(self._standings)):
            for _ in range(_TRIES):
                if is_settled(await self._ask(standing, self._early_or_not(), None)):
                    break
                await asyncio.sleep(standing.landing)

    # ---- what a spender does

    async def _attempt(self, standing: _Standing, height: int, client: AsyncClient | None) -> None:
        await self._delay()
        answer = await self._ask(standing, height, client)
        if answer.executed == YES and self._random.random() < 0.5:
            await self._strange(self._some(standing.spender.inputs), self._game.height)

    async def _ask(self, standing: _Standing, height: int, client: AsyncClient | None) -> Answer:
        items = self._items(standing.spender, standing.spender.inputs, height)
        self._random.shuffle(items)
        timeout = self._asker.any_timeout()
        answer, *_ = await self._asker.ask(self._game, "transaction", items, client, timeout=timeout)
        standing.hear(answer, standing.spender.inputs)
        return answer

    async def _strange(self, wanted: Sequence[Place], height: int) -> None:
        """Somebody else wants these outputs: where they were acknowledged, it hears who has them."""
        standing = _Standing(Spender(self._games.stranger(self._game.number, len(self._strangers)), list(wanted)))
        self._strangers.append(standing)
        await self._plain(standing, wanted, height, SPEND_IGNORE_LOCKED)

    async def _plain(self, standing: _Standing, wanted: Sequence[Place], height: int, flags: int = 0) -> None:
        """Spends, each for itself."""
        await self._delay()
        items = self._items(standing.spender, wanted, height)
        timeout = self._asker.any_timeout()
        answers = await self._asker.ask(self._game, "spend", items, flags=flags, timeout=timeout)
        self._hear_each(standing, wanted, answers)
        if not all(map(is_settled, answers)):
            self._hear_each(standing, wanted, await self._asker.insist(self._game, "spend", items, flags))

    def _hear_each(self, standing: _Standing, wanted: Sequence[Place], answers: Sequence[Answer]) -> None:
        for place, answer in zip(wanted, answers, strict=True):
            standing.hear(answer, [place])

    async def _give_back(self, standing: _Standing, may_hold: set[Place]) -> None:
        await asyncio.sleep(standing.landing)
        items = self._items(standing.spender, sorted(may_hold & set(standing.spender.inputs)), self._game.height)
        await self._asker.insist(self._game, "abandon", items)
        standing.acknowledged.clear()
        standing.named.clear()
        standing.landing = 0.0

    # ---- what is done to the parents

    async def _create_late(self, number: int) -> None:
        await self._delay()
        await self._asker.insist(self._game, "create", [(self._game.number, number)])

    async def _toggle(self, number: int) -> None:
        for value in self._random.choice(([True, False], [True, False, True], [True], [True, False, True, False])):
            await self._asker.insist(self._game, "set_locked", [(self._game.number, number, value)])
            await self._delay()

    def _reassign(self, number: int) -> None:
        """Its first output, to the same owner; spendable from the game's height on."""
        parent, height = self._game.parents[number], self._game.height
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
        return [number for number, parent in enumerate(self._game.parents) if parent.trouble == trouble]

    def _early_or_not(self) -> int:
        return self._game.height - (self._random.random() < 0.5)

    def _some(self, wanted: Sequence[Place]) -> list[Place]:
        return self._random.sample(wanted, self._random.choice((1, len(wanted))))

    def _items(self, spender: Spender, wanted: Iterable[Place], height: int) -> list[Item]:
        name, number = spender.txid.hex(), self._game.number
        return [(number, *place, name, spender.inputs.index(place), height) for place in wanted]

    async def _delay(self) -> None:
        if self._random.random() < 0.5:
            await asyncio.sleep(self._random.uniform(0, _LONGEST_DELAY))
