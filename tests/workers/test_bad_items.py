"""One bad item fails alone: whatever is wrong with it, its neighbours are executed, and it is told what it would be if
it were alone."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from store import Store, open_store
from store.layout import MAX_SATOSHIS
from tests.support.dispatching import HEIGHT, dispatch
from utxod.generate import Generator

TXID = bytes(range(32))  # the one that the null store knows
HASH = b"h" * 32
SPENDER = b"s" * 32
MAX_UINT32 = 0xFFFFFFFF

GOOD: dict[str, list[Any]] = {
    "get": [TXID, ["fee", "locked"]],
    "outpoint": [TXID, 1],
    "utxo": [TXID, 1, HEIGHT],
    "accept": [Generator().coinbase([1]).raw, HEIGHT, [[1, HEIGHT, 3]], 0],
    "create": [None, HEIGHT, [[1, 2, 3]], 0, [TXID, {0: [5, b"\x51"]}]],
    "spend": [TXID, 0, HASH, SPENDER, 0, HEIGHT, 0],
    "unspend": [TXID, 0, HASH, SPENDER, 0, HEIGHT, 0],
    "abandon": [SPENDER, [[TXID, 0], [TXID, 1]], HEIGHT],
    "set_locked": [TXID, True],
    "increment": [TXID, -1, HEIGHT],
    "set_dah": [TXID, 1, HEIGHT],
    "set_mined": [TXID, 7, HEIGHT, 0, HEIGHT, 1],
    "mark_longest_chain": [TXID, True, HEIGHT],
    "freeze": [TXID, 0, HASH],
    "unfreeze": [TXID, 0, HASH],
    "reassign": [TXID, 0, HASH, 5, b"\x51", HEIGHT, 10],
    "preserve_until": [TXID, HEIGHT],
    "set_conflicting": [TXID, True, HEIGHT],
    "note_child": [TXID, [[1, 1], [2, 3]], HEIGHT],
    "set_dah_children": [TXID, 2],
    "lock_children": [TXID, 2, False, 5],
}

NOT_TXID = ["t" * 32, b"", b"x" * 31, b"x" * 33, bytes(36), 0, None, True, 1.0, [TXID], {}]
NOT_UINT32 = [-1, 1 << 32, 1 << 63, -(1 << 63), 0.0, 1.0, True, False, None, "1", b"1", [1], {}]
NOT_UINT32_AND_NOT_NEGATIVE = [value for value in NOT_UINT32 if type(value) is not int or value > 0]
NOT_UINT32_NOR_NIL = [value for value in NOT_UINT32 if value is not None]
NOT_SATOSHIS = [value for value in NOT_UINT32 if value != 1 << 32] + [MAX_SATOSHIS + 1]
NOT_BOOL = [0, 1, None, "true", b"", 1.0, []]


class Wrong(NamedTuple):
    """values: each, in this field of an item, is refused so."""

    field: int
    values: list[Any]
    message: str
    code: str = "BAD_REQUEST"


def uint32(field: int, name: str, most: int = MAX_UINT32) -> Wrong:
    return Wrong(field, [*NOT_UINT32, most + 1], f"{name}: not an integer from 0 to {most}")


WRONG_TXID = Wrong(0, NOT_TXID, "txid: not 32 bytes")
WRONG_OUTPUT = [
    WRONG_TXID,
    Wrong(1, [-1, -(1 << 63)], "vout: negative", "INVALID_PARAMETER"),
    Wrong(1, NOT_UINT32_AND_NOT_NEGATIVE, "vout: not an integer from 0 to 4294967295"),
    Wrong(2, NOT_TXID, "utxo hash: not 32 bytes", "INVALID_PARAMETER"),
]
WRONG_VALUE = Wrong(1, NOT_BOOL, "value: not true or false")
WRONG_SPEND = [
    *WRONG_OUTPUT,
    Wrong(3, NOT_TXID, "spending txid: not 32 bytes"),
    uint32(4, "vin"),
    uint32(5, "block height"),
    Wrong(6, [-1, 4, 1 << 40, True, 1.0, None, "1"], "flags: not one of the flags up to 3"),
]
WRONG_MINED = [
    Wrong(2, [None, 1, "", {}, [[1, 2, 3]] * 1025], "mined: not an array of 0 to 1024"),
    Wrong(
        2,
        [[1], [[1, 2, 3], [1, 2]], [None]],
        "mined: a block: not an array of 3 (mined: block id, mined: block height, mined: subtree index)",
    ),
    Wrong(2, [[[1, -1, 3]], [[1, 1 << 32, 3]]], "mined: block height: not an integer from 0 to 4294967295"),
]

WRONG: dict[str, list[Wrong]] = {
    "get": [
        WRONG_TXID,
        Wrong(1, ["fee", b"fee", 1, True, {}, ["x"] * 65], "fields: not an array of 0 to 64"),
        Wrong(
            1,
            [[""], ["x" * 16], ["fee", 1], [b"fee"], [None], [["fee"]]],
            "fields: a name: not a string of 1 to 15 characters",
        ),
    ],
    "outpoint": [WRONG_TXID, uint32(1, "vout")],
    "utxo": [
        WRONG_TXID,
        uint32(1, "vout"),
        Wrong(2, NOT_UINT32_NOR_NIL, "block height: not an integer from 0 to 4294967295"),
    ],
    "accept": [
        Wrong(0, ["raw", 1, False, [], None], "raw: not bytes"),
        uint32(1, "block height"),
        *WRONG_MINED,
        Wrong(3, [-1, 4, 5, 12, 20, 28, 32, 1 << 40, True, 1.0, None, "1"], "flags: not one of the flags up to 27"),
    ],
    "create": [
        Wrong(0, ["raw", 1, False, []], "raw: neither nil nor bytes"),
        uint32(1, "block height"),
        *WRONG_MINED,
        Wrong(3, [-1, 8, True, 1.0, None, "1"], "flags: not one of the flags up to 7"),
        Wrong(4, [1, "", [], [TXID]], "partial: not an array of 2 (partial: txid, partial: outputs)"),
        Wrong(4, [[b"", {}]], "partial: txid: not 32 bytes"),
        Wrong(4, [[TXID, []], [TXID, None]], "partial: outputs: not a map"),
        Wrong(
            4, [[TXID, {-1: [1, b""]}], [TXID, {"0": [1, b""]}]], "partial: vout: not an integer from 0 to 4294967295"
        ),
        Wrong(
            4, [[TXID, {0: [1]}]], "partial: an output: not an array of 2 (partial: satoshis, partial: locking script)"
        ),
        Wrong(
            4,
            [[TXID, {0: [MAX_SATOSHIS + 1, b""]}], [TXID, {0: [-1, b""]}]],
            f"partial: satoshis: not an integer from 0 to {MAX_SATOSHIS}",
        ),
        Wrong(4, [[TXID, {0: [1, "script"]}], [TXID, {0: [1, None]}]], "partial: locking script: not bytes"),
    ],
    "spend": WRONG_SPEND,
    "unspend": WRONG_SPEND,
    "abandon": [
        Wrong(0, NOT_TXID, "spending txid: not 32 bytes"),
        Wrong(1, [None, 1, "", {}, [], [[TXID, 1]] * 10_001], "outpoints: not an array of 1 to 10000"),
        Wrong(1, [[[TXID]], [None], [[TXID, 1, 2]]], "outpoint: not an array of 2 (txid, vout)"),
        Wrong(1, [[[TXID[1:], 1]]], "txid: not 32 bytes"),
        Wrong(1, [[[TXID, -1]], [[TXID, 1], [TXID, 1 << 32]]], "vout: not an integer from 0 to 4294967295"),
        uint32(2, "height"),
    ],
    "set_locked": [WRONG_TXID, WRONG_VALUE],
    "increment": [
        WRONG_TXID,
        Wrong(
            1,
            [(1 << 31) + 1, -(1 << 31) - 1, 1 << 63, True, 1.0, None, "1"],
            "delta: not an integer from -2147483648 to 2147483648",
        ),
        uint32(2, "block height"),
    ],
    "set_dah": [
        WRONG_TXID,
        uint32(1, "child index", MAX_UINT32 - 1),
        uint32(2, "height"),
    ],
    "set_mined": [
        WRONG_TXID,
        uint32(1, "block id"),
        uint32(2, "block height"),
        uint32(3, "subtree index"),
        uint32(4, "height"),
        Wrong(5, [-1, 4, 1 << 40, True, 1.0, None, "1"], "flags: not one of the flags up to 3"),
    ],
    "mark_longest_chain": [WRONG_TXID, WRONG_VALUE, uint32(2, "height")],
    "freeze": WRONG_OUTPUT,
    "unfreeze": WRONG_OUTPUT,
    "reassign": [
        *WRONG_OUTPUT,
        Wrong(3, NOT_SATOSHIS, f"satoshis: not an integer from 0 to {MAX_SATOSHIS}"),
        Wrong(4, ["script", None, 0, [], {}], "locking script: not bytes"),
        uint32(5, "height"),
        uint32(6, "spendable after"),
    ],
    "preserve_until": [WRONG_TXID, uint32(1, "height")],
    "set_conflicting": [WRONG_TXID, WRONG_VALUE, uint32(2, "height")],
    "note_child": [
        WRONG_TXID,
        Wrong(1, [[], None, 1, "", {}], "notes: not an array of 1 to 33554432"),
        Wrong(
            1,
            [[[1]], [[1, 1], 5], [[1, 1, 1]], [None]],
            "notes: a note: not an array of 2 (notes: child index, notes: stateSeq)",
        ),
        Wrong(1, [[[(1 << 25) + 1, 1]], [[True, 1]]], "notes: child index: not an integer from 0 to 33554432"),
        Wrong(1, [[[1, 1 << 53]], [[1, 1], [1, 1.0]]], "notes: stateSeq: not an integer from 0 to 9007199254740991"),
        uint32(2, "block height"),
    ],
    "set_dah_children": [WRONG_TXID, uint32(1, "child count", 1 << 25)],
    "lock_children": [
        WRONG_TXID,
        uint32(1, "child count", 1 << 25),
        Wrong(2, NOT_BOOL, "value: not true or false"),
        Wrong(3, [-1, 1 << 53, 1.0, True, None], "lockSeq: not an integer from 0 to 9007199254740991"),
    ],
}
NO_ITEMS: list[Any] = [None, 0, True, 1.5, "item", b"item", {}, []]


@pytest.fixture
def store() -> Iterator[Store]:
    opened = open_store("null:")
    yield opened
    opened.close()


def fails_alone(store: Store, operation: str, bad: Any) -> tuple[str, str, str]:
    """Code, executed and message of the bad item, which are the same without neighbours."""
    good = GOOD[operation]
    outcomes = dispatch(store, operation, [good, bad, good]).outcomes
    assert [outcome.code for outcome in outcomes[::2]] == ["OK", "OK"], (bad, outcomes)
    (alone,) = dispatch(store, operation, [bad]).outcomes
    assert outcomes[1] == alone
    assert alone.error is not None, bad
    return alone.error.code, alone.error.executed, alone.error.message


@pytest.mark.parametrize("operation", GOOD)
def test_a_wrong_field_fails_its_item_alone_and_is_named(store: Store, operation: str) -> None:
    for wrong in WRONG[operation]:
        for value in wrong.values:
            bad = [*GOOD[operation]]
            bad[wrong.field] = value
            assert fails_alone(store, operation, bad) == (wrong.code, "no", wrong.message), (wrong, value)


@pytest.mark.parametrize("operation", GOOD)
def test_what_is_no_item_fails_alone_and_is_told_the_fields(store: Store, operation: str) -> None:
    good = GOOD[operation]
    for bad in [*NO_ITEMS, good[:-1], [*good, 0], [good]]:
        code, executed, message = fails_alone(store, operation, bad)
        assert (code, executed) == ("BAD_REQUEST", "no")
        assert message.startswith(f"item: not an array of {len(good)} ("), message


@pytest.mark.parametrize("operation", GOOD)
def test_every_field_of_every_operation_is_tried(operation: str) -> None:
    assert {wrong.field for wrong in WRONG[operation]} == set(range(len(GOOD[operation])))


def test_what_is_created_is_either_a_whole_transaction_or_a_part_of_one(store: Store) -> None:
    _, *rest, partial = GOOD["create"]
    expected = ("BAD_REQUEST", "no", "raw, partial: one of them is nil, the other not")
    assert fails_alone(store, "create", [b"raw", *rest, partial]) == expected
    assert fails_alone(store, "create", [None, *rest, None]) == expected


def test_a_reassigned_output_is_spendable_at_a_height_that_can_come(store: Store) -> None:
    bad = [*GOOD["reassign"]]
    bad[5:] = [MAX_UINT32, 1]
    expected = ("BAD_REQUEST", "no", "height, spendable after: their sum is above 4294967295")
    assert fails_alone(store, "reassign", bad) == expected
    bad[6] = 0
    assert dispatch(store, "reassign", [bad]).codes == ["OK"]


def test_the_mark_of_a_frozen_output_fails_its_item_alone(store: Store) -> None:
    frozen = [*GOOD["spend"]]
    frozen[3:5] = [b"\xff" * 32, MAX_UINT32]
    expected = ("INVALID_PARAMETER", "no", "spending txid and vin: the mark of a frozen output")
    assert fails_alone(store, "spend", frozen) == fails_alone(store, "unspend", frozen) == expected


@pytest.mark.parametrize("spoil", [lambda body: body + b"\xc0", lambda body: body[:-1], lambda _: b"\xc1"])
@pytest.mark.parametrize("operation", GOOD)
def test_a_body_that_is_no_array_of_items_fails_its_request_alone(
    store: Store, operation: str, spoil: Callable[[bytes], bytes]
) -> None:
    outcomes = dispatch(store, operation, [GOOD[operation]], [GOOD[operation]], spoil={0: spoil}).outcomes
    assert [outcome.code for outcome in outcomes] == ["BAD_REQUEST", "OK"]


@pytest.mark.parametrize(
    ("operation", "field", "value", "named"),
    [
        ("create", 4, [TXID], "partial: "),
        ("create", 4, [TXID, {0: [1]}], "partial: an output: "),
        ("create", 2, [[1, 2]], "mined: a block: "),
        ("accept", 2, [[1, 2]], "mined: a block: "),
        ("note_child", 1, [[1]], "notes: a note: "),
    ],
)
@pytest.mark.parametrize("raw", [None, b"raw"])
def test_what_is_wrong_inside_a_field_is_not_said_of_the_item(
    store: Store, operation: str, field: int, value: Any, named: str, raw: bytes | None
) -> None:
    bad = [*GOOD[operation]]
    bad[field] = value
    if operation == "create":
        bad[0] = raw
    _, _, message = fails_alone(store, operation, bad)
    assert message.startswith(f"{named}not an array of "), message
