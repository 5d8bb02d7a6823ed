"""What a client gives and raises survives pickling and copying: on its way to another process, or over a queue."""

import copy
import multiprocessing
import pickle

import pytest

import protocol
from protocol import (
    Abandonment,
    Accepted,
    AcceptItem,
    Conflict,
    CreateItem,
    Increment,
    Incremented,
    MarkLongestChain,
    MinedBlock,
    Outcome,
    Outpoint,
    Reassignment,
    Rejection,
    SetConflicting,
    SetDah,
    SetLocked,
    SetMined,
    Spend,
    Spent,
    Utxo,
    UtxodError,
    codes,
    wire,
)
from protocol.client import errors, items, results
from protocol.client.errors import to_exception
from protocol.client.session import Counters
from protocol.wire import Error

TXID = b"\x11" * 32
DETAILS = {"spending_txid": TXID, "spending_vin": 3, "held": [[TXID, 0]]}
WAYS = {
    **{f"pickle {number}": lambda value, n=number: pickle.loads(pickle.dumps(value, n)) for number in range(2, 6)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
NAMED = [getattr(protocol, name) for name in protocol.__all__]
CLASSES = [kind for kind in NAMED if isinstance(kind, type) and issubclass(kind, UtxodError)]
VALUES = [
    Spend(TXID, 0, TXID, TXID, 0, 100),
    CreateItem.whole(b"raw", block_height=1, mined=[MinedBlock(1, 2, 3)]),
    CreateItem.partial(TXID, {0: (1, b"")}, block_height=1),
    AcceptItem.of(b"raw", block_height=1, mined=[MinedBlock(1, 2, 3)], locked=True, ignore_locked=True),
    Abandonment(TXID, [(TXID, 0)], 100),
    Reassignment(TXID, 0, TXID, 5, b"script", 100, 10),
    SetMined.of(TXID, MinedBlock(1, 2, 3), block_height=100, unset=True),
    MarkLongestChain(TXID, True, 100),
    SetConflicting(TXID, True, 100),
    Accepted(True, False, {"records": 1}),
    Utxo(5, b"script", TXID, "SPENT", TXID, 3),
    Conflict([(TXID, 0)], [TXID]),
    Increment(TXID, 1, 100),
    SetDah(TXID, 0, 100),
    SetLocked(TXID, True),
    Outpoint(5000, b"script"),
    Incremented("DAHSET", 3),
    MinedBlock(1, 2, 3),
    Counters(items=3),
    Error("SPENT", "no", "by another", 5, DETAILS),
    wire.Limits(1, 2, 3),
]


class OfItsOwn(Rejection):
    """A program's own subclass, made from something else."""

    def __init__(self, number: int) -> None:
        super().__init__(Error(codes.SPENT, codes.NO, f"number {number}"))
        self.number = number


def raise_spent(_: int) -> None:
    raise to_exception(Error(codes.SPENT, codes.NO, "by another", 250, DETAILS))


def said(error: UtxodError) -> tuple:
    return type(error), str(error), repr(error), vars(error)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling_and_copying_whole(kind, way):
    error = kind(Error("SPENT", "unknown", "by another", 250, DETAILS))
    error.add_note("while feeding block 7")
    again = way(error)
    assert said(again) == said(error)
    assert (again.code, again.executed, again.retry_after, again.details) == ("SPENT", "unknown", 0.25, DETAILS)
    assert again.__notes__ == ["while feeding block 7"]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_programs_own_subclass_survives_too(way):
    assert said(way(OfItsOwn(7))) == said(OfItsOwn(7))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_value_and_outcome_survives_pickling_and_copying(way):
    for value in VALUES:
        assert way(value) == value
        assert type(way(value)) is type(value)
    good, bad = way(Outcome(Outpoint(1, b"a"))), way(Outcome(None, to_exception(Error(codes.SPENT, codes.NO))))
    assert (good.ok, good.result) == (True, Outpoint(1, b"a"))
    assert (bad.ok, bad.code, type(bad.error)) == (False, "SPENT", Spent)
    malformed = way(wire.ProtocolError(codes.BAD_REQUEST, "header: epoch"))
    assert (malformed.code, str(malformed)) == (codes.BAD_REQUEST, "header: epoch")


def test_an_error_raised_in_a_pool_of_processes_reaches_who_asked():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.map_async(raise_spent, [0])
        with pytest.raises(Spent, match="by another") as caught:
            result.get(60)
    assert caught.value.details == DETAILS


@pytest.mark.parametrize("module", [items, results, errors], ids=lambda module: module.__name__)
def test_whatever_a_caller_may_hand_in_get_or_catch_is_exposed(module):
    own = {
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert own <= set(protocol.__all__)
