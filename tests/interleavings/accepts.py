"""Who accepts a transaction, and who abandons it: attempts that are judged differently, rivals, and what bars a
creation, which goes once nobody is at work any more who was when it came.

T spends two coins, and its rival R the first of them. The second one's record refuses T at LOW, and not at HIGH. What
must hold: what is in the set, and not conflicting, holds all that it spends (so that no coin has two spenders there);
what was acknowledged stands; and no coin names a spender that is not there, but where an answer said so.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from protocol import codes
from protocol.codes import UNKNOWN
from protocol.item_flags import ACCEPT_CONFLICTING
from store import RecordOperation, Remove, RuleCall
from store.layout import ABANDONED, CreationOptions, child_key, create_records, lock_key, pack_spending_data
from store.transaction import Transaction
from tests.interleavings.actors import Ask, Caller, Outcome, Told
from tests.interleavings.coins import asks
from tests.interleavings.models import Held, Model
from tests.simulation.records import Bins
from tests.simulation.replay import RETENTION
from tests.support.accepting import payment
from utxod.generate import Generator

LOW: Final = 199
HIGH: Final = 200

_generate = Generator()
_SOURCES: Final = [_generate.coinbase([10], height=1) for _ in range(2)]
_COINS: Final = [(source, 0) for source in _SOURCES]
T: Final[Transaction] = payment(_generate, *_COINS, outputs=1)
RIVAL: Final[Transaction] = payment(_generate, _COINS[0], outputs=1)
# Of two records, as it has two outputs.
LARGE: Final[Transaction] = payment(_generate, *_COINS, outputs=2)

_SPENT: Final = {T.txid: _SOURCES, RIVAL.txid: _SOURCES[:1], LARGE.txid: _SOURCES}
_WORDS: Final = {T.txid: "T", RIVAL.txid: "R", LARGE.txid: "T", _SOURCES[0].txid: "C1", _SOURCES[1].txid: "C2"}
_NAMES: Final = {**_WORDS, child_key(LARGE.txid, 1): "T's child", lock_key(LARGE.txid): "T's lock"}


def _records(transaction: Transaction) -> dict[bytes, Bins | None]:
    """The coins, and where the transactions come to be."""
    first, second = [
        create_records(source, CreationOptions(1, 0, utxo_batch_size=1, retention=RETENTION)).master
        for source in _SOURCES
    ]
    keys = [transaction.txid, RIVAL.txid]
    if transaction is LARGE:
        keys = [transaction.txid, child_key(transaction.txid, 1), lock_key(transaction.txid)]
    return {first["txID"]: first, second["txID"]: {**second, "spendingHeight": HIGH}, **dict.fromkeys(keys)}


def _as_conflicting(transaction: Transaction) -> dict[bytes, Bins | None]:
    """It is there, and conflicting, and has its coins."""
    records = _records(transaction)
    for vin, source in enumerate(_SPENT[transaction.txid]):
        bins = records[source.txid] or {}
        (utxo,) = bins["utxos"]
        spent = utxo + pack_spending_data(transaction.txid, vin)
        records[source.txid] = {**bins, "utxos": [spent], "spentUtxos": 1, "joined": {0: [0, 0]}}
    options = CreationOptions(HIGH, 0, utxo_batch_size=1, retention=RETENTION, conflicting=True)
    return records | dict(create_records(transaction, options).records)


# ---- what is asked


def accept(height: int, transaction: Transaction = T, flags: int = 0) -> Ask:
    return Ask("accept", (((transaction.raw, height, (), flags),),))


def abandon(transaction: Transaction = T) -> Ask:
    outpoints = tuple((source.txid, 0) for source in _SPENT[transaction.txid])
    return Ask("abandon", (((transaction.txid, outpoints, HIGH),),))


def unspend(vin: int) -> Ask:
    item = _SOURCES[vin].txid, 0, source_hash(_SOURCES[vin]), T.txid, vin, HIGH, 0
    return Ask("unspend", ((item,),))


# ---- what is remembered, and must hold

# The transactions that were acknowledged, and not as conflicting.
Memory = frozenset[bytes]


def told(memory: Memory, caller: int, last: Told) -> Memory:
    result, error = _outcome(last)
    if last.ask.operation != "accept" or error is not None or result["conflicting"]:
        return memory
    return memory | {result["txID"]}


def _outcome(told: Told) -> Outcome:
    """Each asks for one item at a time."""
    (outcome,) = told.outcomes or ((None, None),)
    return outcome


def _in_set(held: Held, txid: bytes) -> Bins | None:
    bins = held.get(txid)
    return None if bins is None or ABANDONED in bins else bins


def _holder(held: Held, source: Transaction) -> bytes:
    (utxo,) = (held[source.txid] or {})["utxos"]
    return bytes(utxo[32:64])


def what_is_there_holds_its_inputs(held: Held, memory: Memory) -> str | None:
    for txid, sources in _SPENT.items():
        bins = _in_set(held, txid)
        if bins is None:
            if txid in memory:
                return f"{_WORDS[txid]} was acknowledged, and is not there any more"
            continue
        if not bins["conflicting"]:
            for source in sources:
                if _holder(held, source) != txid:
                    return f"{_WORDS[txid]} is in the set, and does not hold {_WORDS[source.txid]}"
    return None


def no_spender_is_missing(held: Held, memory: Memory, callers: dict[str, list[Told]]) -> str | None:
    """But one that an answer has named; and no answer says what it may not."""
    all_told = [each for of_caller in callers.values() for each in of_caller]
    for each in all_told:
        _, error = _outcome(each)
        if each.ask.operation == "accept" and error is not None and error.code == codes.TX_EXISTS:
            return "an accept was refused, as its transaction is there"
    named = {pair for each in all_told for pair in _named(each)}
    for source in _SOURCES:
        holder = _holder(held, source)
        if holder and _in_set(held, holder) is None and (holder, source.txid) not in named:
            return f"{_WORDS[source.txid]} names {_WORDS[holder]}, which is not there, and no answer says so"
    return None


def abandoned_once_more(held: Held, callers: dict[str, list[Told]]) -> list[Ask]:
    """All that may not be there."""
    transactions = T if T.txid in held else LARGE, RIVAL
    return [abandon(each) for each in transactions if each.txid in held and _in_set(held, each.txid) is None]


def nobody_is_missing(held: Held, memory: Memory, callers: dict[str, list[Told]]) -> str | None:
    """After that."""
    for source in _SOURCES:
        holder = _holder(held, source)
        if holder and _in_set(held, holder) is None:
            return f"{_WORDS[source.txid]} names {_WORDS[holder]}, which is not there, though it was abandoned"
    return what_is_there_holds_its_inputs(held, memory)


def _named(told: Told) -> Iterator[tuple[bytes, bytes]]:
    """Who may hold which coin, as the answer says."""
    (item,) = told.ask.items
    if told.ask.operation == "unspend":
        return
    txid = item[0] if told.ask.operation == "abandon" else _txid_of(item[0])
    for parent in _left(_outcome(told), [source.txid for source in _SPENT[txid]]):
        yield txid, parent


def _txid_of(raw: bytes) -> bytes:
    return next(each.txid for each in (T, RIVAL, LARGE) if each.raw == raw)


def _left(outcome: Outcome, parents: list[bytes]) -> list[bytes]:
    _, error = outcome
    if error is None:
        return []
    listed = [txid for name in ("held", "outpoints") for txid, _ in error.details.get(name, ())]
    return listed or (parents if error.executed == UNKNOWN else [])


def _pruning(transaction: Transaction) -> tuple[RecordOperation, ...]:
    """Of one that is conflicting: it gives back what it holds, and goes, its master last."""
    back = [
        RuleCall(
            source.txid,
            "unspend",
            (0, source_hash(source), pack_spending_data(transaction.txid, vin), HIGH, RETENTION),
        )
        for vin, source in enumerate(_SPENT[transaction.txid])
    ]
    children = [child_key(transaction.txid, child) for child in range(1, len(transaction.outputs))]
    return (*back, *(Remove(key) for key in (*children, transaction.txid)))


def source_hash(source: Transaction) -> bytes:
    (utxo,) = create_records(source, CreationOptions(1, 0, utxo_batch_size=1)).master["utxos"]
    return bytes(utxo)


def _model(
    name: str, callers: dict[str, Caller], transaction: Transaction = T, *, is_there: bool = False, **options: Any
) -> Model:
    """is_there: as conflicting, at first."""
    return Model(
        name,
        _as_conflicting(transaction) if is_there else _records(transaction),
        callers,
        _NAMES,
        start=frozenset(),
        told=told,
        always=what_is_there_holds_its_inputs,
        at_rest=no_spender_is_missing,
        bars=frozenset({transaction.txid}),
        locks=frozenset({lock_key(LARGE.txid)}),
        prunings={transaction.txid: _pruning(transaction)},
        **options,
    )


def models() -> Iterator[Model]:
    """Small ones first: most planted bugs are found there."""
    for model in _small():
        yield replace(model, name=f"{model.name}; batches that are one whole", is_atomic=True)
    yield from _small()
    yield _asked_once_more("one record", T)
    yield from _large()
    yield _asked_once_more("two records", LARGE)


def _asked_once_more(what: str, transaction: Transaction) -> Model:
    high, low = (asks(accept(height, transaction)) for height in (HIGH, LOW))
    callers = {"A": high, "B": low, "D": asks(abandon(transaction))}
    model = _model(f"accepted, refused, abandoned, and once more; {what}", callers, transaction, faults=1)
    return replace(model, again=abandoned_once_more, at_rest=nobody_is_missing)


def _small() -> Iterator[Model]:
    high, low, rival = asks(accept(HIGH)), asks(accept(LOW)), asks(accept(HIGH, RIVAL))
    twice = asks(accept(HIGH), accept(HIGH))
    back, conflicting = asks(abandon()), asks(accept(HIGH, flags=ACCEPT_CONFLICTING))
    # An `unspend` that is unknown may take back what is in the set by now: that is what abandon is for.
    yield _model("refused, taken back and accepted", {"A": low, "B": asks(unspend(0), accept(HIGH))})
    yield _model("accepted, abandoned, a step unanswered", {"A": high, "D": back}, faults=3, in_doubt=True)
    yield _model("accepted, refused, a rival", {"A": high, "B": low, "R": rival}, faults=2)
    yield _model("accepted, as conflicting too, abandoned, accepted again", {"A": twice, "K": conflicting, "D": back})
    yield _model("accepted and asked again, abandoned twice", {"A": twice, "D": back, "E": back})
    yield _model("accepted twice, refused, a rival", {"A": high, "B": low, "C": high, "R": rival})
    yield _model("accepted, abandoned, a rival", {"A": high, "D": back, "R": rival}, faults=2)
    yield _model("accepted, abandoned and accepted again", {"A": high, "D": asks(abandon(), accept(HIGH))}, faults=2)
    yield _model("accepted and asked again, abandoned", {"A": twice, "D": back}, faults=2)
    yield _model("accepted, as conflicting too, abandoned", {"A": high, "K": conflicting, "D": back}, faults=1)
    yield _model("accepted, refused, abandoned", {"A": high, "B": low, "D": back}, faults=1)
    yield _model("accepted, abandoned twice", {"A": high, "D": back, "E": back}, faults=1)
    callers = {"A": high, "D": back}
    yield _model("conflicting, pruned and accepted anew, abandoned", callers, is_there=True, faults=2, in_doubt=True)


def _large() -> Iterator[Model]:
    high = asks(accept(HIGH, LARGE))
    conflicting = asks(accept(HIGH, LARGE, ACCEPT_CONFLICTING))
    back = asks(abandon(LARGE))
    yield _model("of two records: as conflicting, and accepted", {"K": conflicting, "A": high}, LARGE, faults=1)
    yield _model("of two records: accepted, abandoned", {"A": high, "D": back}, LARGE, faults=2)
    yield _model("of two records: accepted twice", {"A": high, "B": high}, LARGE, faults=1)
    callers = {"A": high, "D": back}
    yield _model("of two records: pruned and accepted anew", callers, LARGE, is_there=True, faults=1)
    yield _model("of two records: as conflicting, abandoned", {"K": conflicting, "D": back, "A": high}, LARGE)
