"""At which height exactly: each boundary of the rules at the height before it, at itself, and after it."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import pytest

from protocol.hashing import utxo_hash
from protocol.mined_block import MinedBlock
from store import Read, RuleCall, Status, Store, Write
from store.interface import Mode
from store.layout import COINBASE_MATURITY, CreationOptions, Partial, create_records
from store.transaction import Output
from tests.support.storing import KEY, run

H: Final = 1000  # the height that a row is about
RETENTION: Final = 10
EARLIER: Final = H - 50
SCRIPT: Final = b"\x51"
HASH: Final = utxo_hash(KEY, 0, SCRIPT, 7)
NEW_HASH: Final = b"\x09" * 32
OURS: Final = b"\x0a" * 32 + bytes(4)

Call = tuple[str, tuple[Any, ...]]


def spend(at: int, utxo: bytes = HASH) -> Call:
    return "spend", (0, utxo, OURS, False, False, at, RETENTION)


def unspend(at: int) -> Call:
    return "unspend", (0, HASH, OURS, at, RETENTION)


def mine(block_height: int, block: int = 7, longest: bool = True) -> Call:
    return "setMined", (block, block_height, 0, H + 500, RETENTION, longest, False)


def mine_again(block_height: int) -> Call:
    return mine(block_height, block=8)


def mark_longest_chain(at: int) -> Call:
    return "markLongestChain", (True, at, RETENTION)


def freeze() -> Call:
    return "freeze", (0, HASH)


def reassign(at: int, after: int) -> Call:
    return "reassign", (0, HASH, NEW_HASH, 7, SCRIPT, at, after)


def spend_reassigned(at: int) -> Call:
    return spend(at, NEW_HASH)


def preserve(until: int) -> Call:
    return "preserveUntil", (until,)


def expire(at: int) -> Call:
    return "expirePreservation", (at, RETENTION)


def lock(at: int) -> Call:
    return "setLocked", (True, at, RETENTION)


def unlock(at: int) -> Call:
    return "setLocked", (False, at, RETENTION)


def conflict(at: int) -> Call:
    return "setConflicting", (True, at, RETENTION)


class Row(NamedTuple):
    """before: what was called on a transaction of one output, created at the height `created`. asked: what is called
    then, with a height. expected: of it at H - 1, at H, and at H + 1."""

    what: str
    before: Sequence[Call]
    asked: Callable[[int], Call]
    expected: tuple[Any, Any, Any]
    created: int = EARLIER
    is_coinbase: bool = False


DONE: Final = [spend(EARLIER), mine(EARLIER)]
MATURES: Final = H - COINBASE_MATURITY

# What is answered.
SPENDABLE: Final = [
    Row("a coinbase of block H - 100", [], spend, ("COINBASE_IMMATURE", "OK", "OK"), MATURES, is_coinbase=True),
    Row("one reassigned at H - 7 to be spent 7 later", [freeze(), reassign(H - 7, 7)], spend_reassigned,
        ("FROZEN_UNTIL", "OK", "OK")),
    Row("one reassigned at H to be spent at once", [freeze(), reassign(H, 0)], spend_reassigned,
        ("FROZEN_UNTIL", "OK", "OK")),
    Row("one reassigned, asked again by who has it", [freeze(), reassign(H - 7, 7), spend_reassigned(H)],
        spend_reassigned, ("FROZEN_UNTIL", "OK", "OK")),
]  # fmt: skip

# How far its delete-at-height is from H + retention then. None: it has none.
DELETED: Final = [
    Row("mined, its last output is spent", [mine(EARLIER)], spend, (-1, 0, +1)),
    Row("spent, it is mined in a block of the height", [spend(EARLIER)], mine, (-1, 0, +1)),
    Row("spent and mined in block H, it is mined in another", [spend(EARLIER), mine(H)], mine_again, (0, 0, +1)),
    Row("spent and in a side block, it comes on the longest chain", [spend(EARLIER), mine(EARLIER, longest=False)],
        mark_longest_chain, (-1, 0, +1)),
    Row("spent at H and mined, it is spent again by the same", [mine(EARLIER), spend(H)], spend, (0, 0, +1)),
    Row("spent at H and mined, its spend is taken back", [mine(EARLIER), spend(H)], unspend, (None, None, None)),
    Row("it becomes conflicting", [], conflict, (-1, 0, +1)),
    Row("conflicting since H, it is marked again", [conflict(H)], conflict, (0, 0, 0)),
    Row("done in block H, and locked, it is unlocked", [spend(EARLIER), mine(H), lock(EARLIER)], unlock, (0, 0, +1)),
    Row("spent and mined while it is preserved until H", [preserve(H), mine(EARLIER)], spend, (None, None, None)),
    Row("done, its preserving until H ends", [*DONE, preserve(H)], expire, (None, 0, +1)),
    Row("unspent, its preserving until H ends", [mine(EARLIER), preserve(H)], expire, (None, None, None)),
    Row("conflicting, its preserving until H ends", [conflict(EARLIER), preserve(H)], expire, (None, 0, +1)),
]  # fmt: skip

# Whether it is still preserved then.
PRESERVED: Final = [
    Row("preserved until H", [preserve(H)], expire, (True, False, False)),
    Row("preserved until H, and again until H + 1", [preserve(H), preserve(H + 1)], expire, (True, True, False)),
    Row("preserved until H, and locked", [preserve(H), lock(EARLIER)], expire, (True, False, False)),
    Row("preserved until H, and spent", [preserve(H)], spend, (True, True, True)),
]  # fmt: skip

at_each_height = pytest.mark.parametrize("by", [-1, 0, 1], ids=["H-1", "H", "H+1"])


def rows(table: Sequence[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", table, ids=[row.what for row in table])


def ask(store: Store, row: Row, by: int) -> dict[str, Any]:
    """The answer at this distance from H."""
    mined = [MinedBlock(7, row.created, 0)] if row.is_coinbase else []
    partial = Partial(KEY, {0: Output(7, SCRIPT)}, is_coinbase=row.is_coinbase)
    creation = create_records(partial, CreationOptions(row.created, 0, retention=RETENTION, mined=mined))
    assert run(store, Write(KEY, creation.master, Mode.CREATE))[0].status is Status.OK
    for function, arguments in row.before:
        assert run(store, RuleCall(KEY, function, arguments))[0].value["status"] == "OK"
    function, arguments = row.asked(H + by)
    answer = run(store, RuleCall(KEY, function, arguments))[0].value
    assert isinstance(answer, dict)
    return answer


def bin_of(store: Store, name: str) -> Any:
    return run(store, Read(KEY, [name]))[0].value.get(name)


@at_each_height
@rows(SPENDABLE)
def test_what_waits_for_a_height_is_spendable_from_it_on(either_store: Store, row: Row, by: int) -> None:
    answer = ask(either_store, row, by)
    assert answer.get("errorCode", answer["status"]) == row.expected[1 + by]


@at_each_height
@rows(DELETED)
def test_a_delete_at_height_is_retention_above_the_height_that_it_counts_from(
    either_store: Store, row: Row, by: int
) -> None:
    assert ask(either_store, row, by)["status"] == "OK"
    distance, delete_at = row.expected[1 + by], bin_of(either_store, "deleteAtHeight")
    assert delete_at == (None if distance is None else H + RETENTION + distance)


@at_each_height
@rows(PRESERVED)
def test_a_preserving_ends_at_its_height_and_by_nothing_but_its_expiry(either_store: Store, row: Row, by: int) -> None:
    assert ask(either_store, row, by)["status"] == "OK"
    assert (bin_of(either_store, "preserveUntil") is not None) == row.expected[1 + by]
