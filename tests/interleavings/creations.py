"""Who creates a transaction of several records: several at once, whole or with some of its outputs, and dying at any
step.

What must hold: a master without its mark has all its children, none of them marked; and where nothing is left to do,
and each has asked again, nothing is marked any more.
"""

from collections.abc import Iterator
from typing import Any, Final

from protocol import codes
from protocol.item_flags import CREATE_COINBASE
from store.layout import CreationOptions, child_key, create_records, lock_key
from store.transaction import Transaction
from tests.interleavings.actors import Ask, Told, codes_of
from tests.interleavings.coins import asks
from tests.interleavings.models import Held, Model
from tests.simulation.records import Bins
from utxod.generate import Generator

_CHILDREN: Final = 2
_SOURCE: Final[Transaction] = Generator().coinbase([1, 2, 3], height=100)
_TXID: Final = _SOURCE.txid
_CHILD_KEYS: Final = [child_key(_TXID, n) for n in range(1, _CHILDREN + 1)]
_LOCK: Final = lock_key(_TXID)
_NAMES: Final = {_TXID: "master", _LOCK: "lock", **{key: f"child {n}" for n, key in enumerate(_CHILD_KEYS, start=1)}}


WHOLE: Final = Ask("create", (((_SOURCE.raw, 100, (), 0, None),),))


def partial(*vouts: int) -> Ask:
    outputs = {vout: tuple(_SOURCE.outputs[vout]) for vout in vouts}
    return Ask("create", (((None, 100, (), CREATE_COINBASE, (_TXID, outputs)),),))


def unmarked_is_complete(held: Held, _: Any) -> str | None:
    master = held[_TXID]
    if master is None or "creating" in master:
        return None
    for key in _CHILD_KEYS[: master["totalExtraRecs"]]:
        child = held[key]
        if child is None or "creating" in child:
            return f"the master bears no mark, and {_NAMES[key]} is {'marked' if child else 'missing'}"
    return None


def all_is_well(held: Held, _: Any, told: dict[str, list[Told]]) -> str | None:
    """All that its master says is there, and nothing of it is marked; and where a whole creation was answered well, all
    of its coins are there."""
    if held[_LOCK] is not None:
        return None  # it will expire
    master = held[_TXID]
    if master is None:
        return "it was asked for again, and is not there"
    for key in (_TXID, *_CHILD_KEYS[: master["totalExtraRecs"]]):
        if "creating" in (held[key] or {}):
            return f"{_NAMES[key]} is marked for ever"
    all_told = [each for of_caller in told.values() for each in of_caller]
    if any(each.ask == WHOLE and codes_of(each.outcomes or ()) == [codes.OK] for each in all_told):
        for key in (_TXID, *_CHILD_KEYS):
            if None in (held[key] or {"utxos": [None]})["utxos"]:
                return f"{_NAMES[key]} has no coin, though all of it was created"
    return None


def _again(held: Held, told: dict[str, list[Told]]) -> list[Ask]:
    return [asked[-1].ask for asked in told.values()] if held[_LOCK] is None else []


def _model(name: str, *callers: tuple[Ask, ...], left: dict[bytes, Bins | None] | None = None, **options: Any) -> Model:
    """left: what an earlier creator left."""
    return Model(
        name,
        dict.fromkeys((_TXID, *_CHILD_KEYS, _LOCK)) | (left or {}),
        {"ABC"[number]: asks(*asked) for number, asked in enumerate(callers)},
        _NAMES,
        locks=frozenset({_LOCK}),
        always=unmarked_is_complete,
        again=_again,
        at_rest=all_is_well,
        **options,
    )


def models() -> Iterator[Model]:
    twice = (WHOLE, WHOLE)
    smaller = (partial(0, 1), partial(0, 1))
    yield _model("a whole and a partial one, and nobody dies", (WHOLE,), (partial(0, 2),))
    yield _model("two creators", twice, twice, faults=2)
    yield _model("three creators", (WHOLE,), (WHOLE,), twice, faults=2)
    yield _model("a whole and a partial one", twice, (partial(0, 2), partial(0, 2)), faults=2)
    yield _model("a whole and a smaller one", twice, smaller, faults=2)
    yield _model("a partial and a smaller one", (partial(0, 2),), smaller, faults=2)
    yield _model("a partial one of one record", twice, (partial(0), partial(0)), faults=2)
    yield _model("two creators, a step unanswered", (WHOLE,), twice, faults=1, in_doubt=True)


def a_step_unanswered_after_a_death() -> Model:
    """Its lock is given back by a creator one of whose steps is still in flight."""
    where = CreationOptions(100, 0, utxo_batch_size=1)
    key, bins = create_records(_SOURCE, where).records[1]
    left: dict[bytes, Bins | None] = {key: {**bins, "creating": True}}
    return _model(
        "a whole and a partial one, after a death", (WHOLE,), (partial(0, 2),), left=left, faults=1, in_doubt=True
    )
