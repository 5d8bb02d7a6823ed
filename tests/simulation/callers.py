"""Who asks daemons that share one set: for spends of transactions that compete for few coins, judged at this height or
that; for taking them back; for locks, and for counting again. What is `unknown` is asked again, in the end by
everybody.
"""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, Final, NamedTuple, Protocol

from protocol import codes, wire
from protocol.codes import UNKNOWN
from protocol.wire import ONE_TRANSACTION, Error, RequestHeader
from store.layout import UTXO_BYTES, locate, record_key
from tests.simulation.promises import Promise, Promises, held_in
from tests.simulation.records import Bins

MS: Final = 1000
LOW: Final = 199
HIGH: Final = 200


# What callers wish for, and how often in runs of one kind or another.
_WISHES: Final = ("whole", "plain", "unspend", "lock", "count")
MIXES: Final = ((50, 15, 15, 16, 4), (55, 8, 35, 1, 1), (20, 5, 25, 48, 2), (10, 45, 40, 4, 1))


class Coin(NamedTuple):
    txid: bytes
    vout: int
    utxo_hash: bytes


class Spender(NamedTuple):
    """A transaction that spends these coins, its inputs in this order."""

    txid: bytes
    coins: tuple[Coin, ...]

    def items(self, height: int, coins: Sequence[Coin] | None = None) -> list[list[Any]]:
        return [
            [coin.txid, coin.vout, coin.utxo_hash, self.txid, self.coins.index(coin), height, 0]
            for coin in coins or self.coins
        ]


class Asked(NamedTuple):
    """A request, and who has it."""

    operation: str
    items: list[list[Any]]
    daemon: int
    epoch: int
    caller: "Caller"


class Daemon(Protocol):
    @property
    def number(self) -> int: ...

    @property
    def epoch(self) -> int: ...


class CallersWorld(Protocol):
    """What callers use of the world that they are in: its fields are told in shared_set_world.py."""

    rng: Random
    now: int
    closing: bool
    spenders: list[Spender]
    records: dict[bytes, Bins]
    large: list[bytes]
    counting: list[bytes]
    utxo_batch_size: int
    pending: dict[bytes, Asked]
    promises: Promises
    doubtful_locks: set[bytes]

    @property
    def wishes(self) -> Sequence[int]: ...

    @property
    def daemons(self) -> Sequence[Daemon]: ...

    def after(self, delay: int, handler: Callable[..., None], *args: Any) -> None: ...

    def latency(self) -> int: ...

    def note(self, *what: Any) -> None: ...

    def request_id(self) -> bytes: ...

    def deliver(self, asked: Asked, frames: list[bytes]) -> None:
        """A request arrives at its daemon."""


class Caller:
    """doubtful: spenders of which an answer said that something may be held, and that were not asked for again since.
    What was in flight then may land after that; so ever_doubtful are asked for once more in the end."""

    def __init__(self, world: CallersWorld) -> None:
        self.world = world
        self.rng = world.rng
        self.doubtful: set[Spender] = set()
        self.ever_doubtful: set[Spender] = set()
        self._resolving: dict[bytes, Spender] = {}
        self._gap = self.rng.choice((2, 5, 20)) * MS

    def turn(self) -> None:
        world, rng = self.world, self.rng
        if world.closing:
            return
        world.after(rng.randint(1, 2 * self._gap), self.turn)
        if self.doubtful and rng.random() < 0.3:
            self.resolve(rng.choice(sorted(self.doubtful)))
            return
        spender = rng.choice(world.spenders)
        height = rng.choice((LOW, HIGH))
        (what,) = rng.choices(_WISHES, world.wishes)
        if what == "whole":
            self.ask("spend", spender.items(height), ONE_TRANSACTION)
        elif what == "plain":
            self.ask("spend", spender.items(height, rng.sample(spender.coins, rng.randint(1, len(spender.coins)))))
        elif what == "unspend":
            self.ask("unspend", spender.items(height))
        elif what == "lock":
            self.ask("set_locked", [[rng.choice(world.large), rng.random() < 0.4]])
        elif world.counting:
            self.ask("increment", [[rng.choice(world.counting), 1, HIGH]])

    def resolve(self, spender: Spender) -> None:
        """Asks again, or gives up."""
        self.doubtful.discard(spender)
        if self.rng.random() < 0.5:
            request = self.ask("spend", spender.items(HIGH), ONE_TRANSACTION)
        else:
            request = self.ask("unspend", spender.items(HIGH))
        self._resolving[request] = spender

    def ask(self, operation: str, items: list[list[Any]], flags: int = 0, timeout_ms: int = 0) -> bytes:
        world = self.world
        daemon = self.rng.choice(world.daemons)
        request = world.request_id()
        asked = Asked(operation, items, daemon.number, daemon.epoch, self)
        world.pending[request] = asked
        if operation == "spend":
            world.promises.asked(request, map(self._promised, items), world.records)
        deadline = world.now + (timeout_ms or self.rng.choice((30, 300, 1500))) * MS
        header = RequestHeader(daemon.epoch, operation, deadline, len(items), flags)
        frames = [wire.pack_prefix(wire.REQUEST, request), wire.pack_request_header(header), wire.pack_body(items)]
        world.note("asks", operation, f"{request.hex()[:6]}", *(item[1:2] for item in items), "of", items[0][-4:-3])
        world.after(world.latency(), world.deliver, asked, frames)
        return request

    def answered(self, request: bytes, asked: Asked, errors: dict[int, Error | None]) -> None:
        """errors: by item; None where it was answered well."""
        if asked.operation == "set_locked" and any(error and error.executed == UNKNOWN for error in errors.values()):
            self.world.doubtful_locks.add(asked.items[0][0])
        if asked.operation not in ("spend", "unspend"):
            return
        again = self._resolving.pop(request, None)
        if again and any(error and error.code not in codes.REJECTIONS for error in errors.values()):
            self.doubtful.add(again)
        well = {self._promised(asked.items[index]) for index, error in errors.items() if error is None}
        named = set[Promise]()
        for index, error in errors.items():
            if error is not None:
                named |= set(self._named(asked.items[index], error))
        if named:
            spender = next(known for known in self.world.spenders if known.txid == asked.items[0][3])
            self.doubtful.add(spender)
            self.ever_doubtful.add(spender)
        if asked.operation == "spend":
            refused = {
                self._promised(asked.items[index])
                for index, error in errors.items()
                if error is not None and error.code in codes.REJECTIONS
            }
            self.world.promises.answered(request, well, named, refused)

    def holder(self, coin: Coin) -> bytes | None:
        """Who spends it, by what its record says now."""
        record, offset = locate(coin.txid, coin.vout, self.world.utxo_batch_size)
        held = held_in(record, self.world.records[record])
        return next((promise.spender for promise in held if promise.offset == offset), None)

    def _named(self, item: list[Any], error: Error) -> Iterable[Promise]:
        listed = [*error.details.get("held", ()), *error.details.get("outpoints", ())]
        if error.executed == UNKNOWN and not listed and "because" not in error.details:
            listed = [item[:2]]
        for txid, vout in listed:
            yield self._promised([txid, vout, None, item[3]])

    def _promised(self, item: list[Any]) -> Promise:
        record, offset = locate(item[0], item[1], self.world.utxo_batch_size)
        return Promise(record, offset, item[3])


def lost(count: int) -> dict[int, Error | None]:
    """What a client answers where it lost the daemon."""
    return dict.fromkeys(range(count), Error(codes.NO_ANSWER, UNKNOWN, "the daemon is gone"))


def coins_of(records: Any, txid: bytes, utxo_batch_size: int) -> list[Coin]:
    coins = []
    for number in range(records[txid]["totalExtraRecs"] + 1):
        for offset, utxo in enumerate(records[record_key(txid, number)]["utxos"]):
            coins.append(Coin(txid, number * utxo_batch_size + offset, utxo[:UTXO_BYTES]))
    return coins
