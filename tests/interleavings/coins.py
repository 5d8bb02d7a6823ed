"""Who spends a coin: attempts of one transaction that are judged differently, rivals, and who takes spends back.

T spends two coins. The second one's record may refuse T at LOW, and not at HIGH: as a coinbase that matures between
them does. What must hold: what was acknowledged stands until somebody asks for exactly that, however attempts, deaths
and late landings fall between each other; and what stays held is named by an answer.
"""

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from protocol.codes import UNKNOWN
from protocol.wire import ONE_TRANSACTION
from tests.interleavings.actors import Ask, Caller, Outcome, Outcomes, Told
from tests.interleavings.models import Held, Landed, Model
from tests.simulation.records import Bins

LOW: Final = 199
HIGH: Final = 200

T: Final = b"T" * 32
RIVAL: Final = b"R" * 32


class Coin(NamedTuple):
    """An output: the key of its record, which is the transaction's id as well, and its place."""

    txid: bytes
    vout: int = 0

    @property
    def hash(self) -> bytes:
        return bytes([self.vout + 1]) * 32


C1: Final = Coin(b"1" * 32)
C2: Final = Coin(b"2" * 32)
# Of one record.
D1: Final = Coin(b"D" * 32, 0)
D2: Final = Coin(b"D" * 32, 1)
NAMES: Final = {C1.txid: "C1", C2.txid: "C2", D1.txid: "D"}


def unspent(*coins: Coin, **bins: Any) -> Bins:
    """The record of these coins."""
    return {
        "txID": coins[0].txid,
        "utxos": [coin.hash for coin in coins],
        "recordUtxos": len(coins),
        "spentUtxos": 0,
        "totalExtraRecs": 0,
        "spentExtraRecs": 0,
        "conflicting": False,
        "locked": False,
        "unminedSince": 100,
        **bins,
    }


def two_records() -> dict[bytes, Bins | None]:
    return {C1.txid: unspent(C1), C2.txid: unspent(C2, spendingHeight=HIGH)}


def one_record() -> dict[bytes, Bins | None]:
    return {D1.txid: unspent(D1, D2, utxoSpendableIn={1: HIGH})}


# ---- what is asked


def _item(coin: Coin, spender: bytes, vin: int, height: int) -> tuple[Any, ...]:
    return coin.txid, coin.vout, coin.hash, spender, vin, height, 0


def _items(spender: bytes, coins: tuple[Coin, ...], height: int) -> tuple[tuple[Any, ...], ...]:
    return tuple(_item(coin, spender, sorted(coins).index(coin), height) for coin in coins)


def whole(spender: bytes, coins: tuple[Coin, ...], *heights: int) -> Ask:
    """Attempts of a whole transaction in one dispatch, one for each height."""
    return Ask("spend", tuple(_items(spender, coins, height) for height in heights), ONE_TRANSACTION)


def plain(spender: bytes, coins: tuple[Coin, ...], height: int, of: tuple[Coin, ...] | None = None) -> Ask:
    """Spends that stand each for itself. of: all inputs of the spender, where these are not."""
    items = [_item(coin, spender, sorted(of or coins).index(coin), height) for coin in coins]
    return Ask("spend", (tuple(items),))


def unspend(spender: bytes, coins: tuple[Coin, ...]) -> Ask:
    return Ask("unspend", (_items(spender, coins, HIGH),))


def asks(*asked: Ask) -> Caller:
    """A caller that asks for these one after the other, whatever it is told."""

    def caller() -> Generator[Ask, Outcomes, None]:
        for ask in asked:  # noqa: UP028 (a tuple can't be sent what the caller is told)
            yield ask

    return caller


# ---- what is remembered, and must hold


class Promise(NamedTuple):
    coin: Coin
    spender: bytes


class Memory(NamedTuple):
    """stands: what was acknowledged. undone: what an unspend has taken back meanwhile of what a caller (its number)
    still waits for."""

    stands: frozenset[Promise] = frozenset()
    undone: frozenset[tuple[int, Promise]] = frozenset()


def _promised(item: tuple[Any, ...]) -> Promise:
    return Promise(Coin(item[0], item[1]), item[3])


def landed(memory: Memory, step: Landed, callers: list[list[Told]]) -> Memory:
    """Whoever takes a spend back asks for exactly that."""
    if step.op.operation != "unspend":
        return memory
    back = set(_holders(step.key, step.before)) - set(_holders(step.key, step.after))
    waiting = {
        (number, promise)
        for number, told in enumerate(callers)
        if told and told[-1].outcomes is None and told[-1].ask.operation == "spend"
        for promise in map(_promised, told[-1].ask.items)
        if promise in back
    }
    return Memory(memory.stands - back, memory.undone | waiting)


def told(memory: Memory, caller: int, last: Told) -> Memory:
    if last.ask.operation != "spend":
        return memory
    well = {
        _promised(item) for item, (_, error) in zip(last.ask.items, last.outcomes or (), strict=True) if error is None
    }
    fresh = {promise for promise in well if (caller, promise) not in memory.undone}
    return Memory(memory.stands | fresh, frozenset(undone for undone in memory.undone if undone[0] != caller))


def _holders(key: bytes, bins: Bins | None) -> Iterator[Promise]:
    for vout, utxo in enumerate(bins["utxos"] if bins else ()):
        if len(utxo) > 32:
            yield Promise(Coin(key, vout), utxo[32:64])


def _held(held: Held) -> set[Promise]:
    return {promise for key, bins in held.items() for promise in _holders(key, bins)}


def acknowledged_stands(held: Held, memory: Memory) -> str | None:
    for promise in sorted(memory.stands - _held(held)):
        return f"{_words(promise)} was acknowledged, and is not so any more"
    return None


def what_is_held_is_named(held: Held, memory: Memory, callers: dict[str, list[Told]]) -> str | None:
    named = {promise for all_told in callers.values() for told in all_told for promise in _named(told)}
    for promise in sorted(_held(held) - named):
        return f"{_words(promise)} stays, and no answer says so"
    return None


def what_is_held_is_named_last(held: Held, memory: Memory, callers: dict[str, list[Told]]) -> str | None:
    """Where nothing lands late: who asks again need not remember what was answered before."""
    for told in callers.values():
        named = set(_named(told[-1]))
        asked = set(map(_promised, told[-1].ask.items))
        for promise in sorted(_held(held) & asked - named):
            return f"{_words(promise)} stays, and its last answer does not say so"
    return None


def nothing_is_left(held: Held, memory: Memory, callers: dict[str, list[Told]]) -> str | None:
    """Where every attempt was refused, and nobody died."""
    for promise in sorted(_held(held)):
        return f"{_words(promise)} stays, though every attempt was refused"
    return None


def _named(told: Told) -> Iterator[Promise]:
    for item, outcome in zip(told.ask.items, told.outcomes or (), strict=True):
        yield from _named_by(item, outcome)


def _named_by(item: tuple[Any, ...], outcome: Outcome) -> Iterator[Promise]:
    _, error = outcome
    if error is None:
        yield _promised(item)
        return
    listed = [*error.details.get("held", ()), *error.details.get("outpoints", ())]
    if error.executed == UNKNOWN and not listed and "because" not in error.details:
        yield _promised(item)
    for txid, vout in listed:
        yield Promise(Coin(txid, vout), item[3])


def _words(promise: Promise) -> str:
    coin, spender = promise
    return f"{NAMES[coin.txid]}:{coin.vout} spent by {spender[:1].decode()}"


def _model(name: str, records: dict[bytes, Bins | None], callers: dict[str, Caller], **options: Any) -> Model:
    settings: dict[str, Any] = {"at_rest": what_is_held_is_named, "utxo_batch_size": 2} | options
    return Model(
        name,
        records,
        callers,
        NAMES,
        start=Memory(),
        landed=landed,
        told=told,
        always=acknowledged_stands,
        **settings,
    )


BOTH: Final = (C1, C2)
REVERSED: Final = (C2, C1)
TOGETHER: Final = (D1, D2)


def models() -> Iterator[Model]:
    yield from _models()
    for model in _models():
        yield replace(model, name=f"{model.name}; batches that are one whole", is_atomic=True)


def _models() -> Iterator[Model]:
    for coins in (BOTH, REVERSED, TOGETHER):
        where = {BOTH: "two records", REVERSED: "two records, reversed", TOGETHER: "one record"}[coins]
        for model in (*_judged(coins), *_rivalled(coins), *_taken_back(coins), *_lost(coins)):
            yield replace(model, name=f"{model.name}; {where}")


def _records(coins: tuple[Coin, ...]) -> dict[bytes, Bins | None]:
    return one_record() if coins is TOGETHER else two_records()


def _judged(coins: tuple[Coin, ...]) -> Iterator[Model]:
    """Attempts of one transaction, at heights that differ."""
    records = _records(coins)
    low, high = asks(whole(T, coins, LOW)), asks(whole(T, coins, HIGH))
    yield _model("one refused attempt", records, {"A": low}, at_rest=nothing_is_left)
    for heights in ((LOW, HIGH), (HIGH, LOW), (LOW, HIGH, LOW)):
        caller = asks(whole(T, coins, *heights))
        yield _model(f"one dispatch, judged at {heights}", records, {"A": caller, "B": low}, faults=1)
    yield _model("three refused attempts", records, {"A": low, "B": low, "C": low}, at_rest=nothing_is_left)
    yield _model("refused, accepted, refused", records, {"A": low, "B": high, "C": low}, faults=2, in_doubt=True)


def _rivalled(coins: tuple[Coin, ...]) -> Iterator[Model]:
    """Others want a coin of it, or all."""
    records = _records(coins)
    first, second = sorted(coins)
    low, high = asks(whole(T, coins, LOW)), asks(whole(T, coins, HIGH))
    yield _model(
        "refused, accepted, a plain spend, a plain rival",
        records,
        {"A": low, "B": high, "P": asks(plain(T, (first,), LOW, coins)), "R": asks(plain(RIVAL, (second,), HIGH))},
        faults=1,
    )
    yield _model(
        "refused twice, accepted, a whole rival",
        records,
        {"A": low, "B": asks(whole(T, coins[::-1], LOW)), "C": high, "R": asks(whole(RIVAL, coins, HIGH))},
        faults=1,
    )


def _taken_back(coins: tuple[Coin, ...]) -> Iterator[Model]:
    """One asks for its spends to be taken back meanwhile."""
    records = _records(coins)
    first, _ = sorted(coins)
    low = asks(whole(T, coins, LOW))
    back_low, back_high = (asks(unspend(T, coins), whole(T, coins, height)) for height in (LOW, HIGH))
    yield _model("refused; taken back and asked again", records, {"A": low, "B": back_high}, faults=2, in_doubt=True)
    yield _model(
        "refused, taken back, refused again", records, {"A": low, "B": back_low, "C": low}, at_rest=nothing_is_left
    )
    yield _model("refused twice; taken back and asked again", records, {"A": low, "B": low, "C": back_high}, faults=1)
    yield _model(
        "refused; taken back, and a rival refused and spending",
        records,
        {
            "A": low,
            "B": asks(unspend(T, (first,)), whole(RIVAL, coins, LOW)),
            "R": asks(plain(RIVAL, (first,), HIGH, coins)),
        },
        faults=1,
    )


def _lost(coins: tuple[Coin, ...]) -> Iterator[Model]:
    """An answer is lost, and its caller asks again."""
    records = _records(coins)
    first, second = sorted(coins)
    again = asks(whole(T, coins, HIGH), whole(T, coins, LOW))
    yield _model(
        "lost, and asked again",
        records,
        {"A": again, "R": asks(plain(RIVAL, (second,), HIGH))},
        faults=2,
        in_doubt=True,
    )
    yield _model(
        "lost, and refused when asked again",
        records,
        {"A": again, "R": asks(plain(RIVAL, (first,), HIGH))},
        faults=1,
        late=False,
        at_rest=what_is_held_is_named_last,
    )
