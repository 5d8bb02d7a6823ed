from typing import Any

import msgpack
import pytest

from store.layout import EXTERNAL_ABOVE_BYTES, MAX_UTXO_BATCH_SIZE
from tests.support.ruled import (
    FROZEN,
    HASHES,
    OURS,
    OURS_HEX,
    OURS_PRUNED,
    RETENTION,
    THEIRS,
    THEIRS_HEX,
    Ruled,
    refused,
)

pytestmark = pytest.mark.usefixtures("run_rules")


def test_spend_multi_applies_and_tells_which() -> None:
    record = Ruled.mined()
    result = record.spend((1, OURS))
    assert result == {"status": "OK", "applied": [10], "blockIDs": [7]}
    assert record["utxos"] == [HASHES[0], HASHES[1] + OURS]
    assert record["spentUtxos"] == 1


def test_the_same_spend_again_is_ok_and_not_applied() -> None:
    record = Ruled()
    record.spend((0, OURS))
    assert record.spend((0, OURS), (1, OURS)) == {"status": "OK", "applied": [11]}
    assert record["spentUtxos"] == 2
    before = record.bins or {}
    assert record.spend((0, OURS)) == {"status": "OK", "applied": []}
    assert record.bins == before | {"joined": {0: [0, 2]}}


def test_good_spends_are_applied_though_others_fail() -> None:
    record = Ruled(utxos=[HASHES[0] + THEIRS, HASHES[1]], spentUtxos=1)
    result = record.spend((0, OURS), (1, OURS), (2, OURS))
    assert result["status"] == "ERROR"
    assert "errorCode" not in result
    assert result["applied"] == [11]
    assert {idx: error["errorCode"] for idx, error in result["errors"].items()} == {10: "SPENT", 12: "UTXO_NOT_FOUND"}
    assert result["errors"][10]["spendingData"] == THEIRS_HEX
    assert record["utxos"] == [HASHES[0] + THEIRS, HASHES[1] + OURS]
    assert record["spentUtxos"] == 2


def test_of_two_spends_of_one_output_in_a_call_the_first_wins() -> None:
    record = Ruled()
    result = record.spend((0, THEIRS), (0, OURS), (0, THEIRS))
    assert result["applied"] == [10]
    assert {idx: error["errorCode"] for idx, error in result["errors"].items()} == {11: "SPENT"}
    assert record["spentUtxos"] == 1


def test_no_spends_are_no_error() -> None:
    assert Ruled().spend() == {"status": "OK", "applied": []}


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (Ruled.missing(), "TX_NOT_FOUND"),
        (Ruled(creating=True, conflicting=True, locked=True, spendingHeight=2000), "CREATING"),
        (Ruled(conflicting=True, locked=True, spendingHeight=2000), "CONFLICTING"),
        (Ruled(locked=True, spendingHeight=2000, utxos=None), "LOCKED"),
        (Ruled(spendingHeight=1001, utxos=None), "COINBASE_IMMATURE"),
        (Ruled(utxos=None), "UTXOS_NOT_FOUND"),
    ],
)
def test_the_whole_record_is_refused_in_this_order(record: Ruled, code: str) -> None:
    before = record.bins
    result = record.spend((0, OURS))
    assert refused(result, code)
    assert "applied" not in result
    assert "mine" not in result
    assert record.bins == before


HELD = [HASHES[0] + OURS, HASHES[1], HASHES[2] + THEIRS]


@pytest.mark.parametrize(
    ("bins", "code"),
    [
        ({"creating": True}, "CREATING"),
        ({"conflicting": True}, "CONFLICTING"),
        ({"locked": True}, "LOCKED"),
        ({"spendingHeight": 1001}, "COINBASE_IMMATURE"),
    ],
)
def test_a_refusal_of_the_whole_record_names_what_its_spender_holds(bins: dict[str, Any], code: str) -> None:
    record = Ruled(utxos=HELD, recordUtxos=3, spentUtxos=2, joined={0: [1, 0]}, **bins)
    before = record.bins
    result = record.spend((1, OURS), (0, OURS), (2, OURS), (3, OURS), (2, THEIRS))
    assert refused(result, code)
    assert result["mine"] == [11, 14]
    assert not {"applied", "lives"} & set(result)
    assert record.bins == before
    assert record.call("spend", 0, HASHES[0], OURS, False, False, 1000, RETENTION)["mine"] == [0]
    assert "mine" not in record.call("spend", 1, HASHES[1], OURS, False, False, 1000, RETENTION)
    assert "mine" not in record.spend((0, OURS[:32] + THEIRS[32:]))  # another input is another spender


def test_a_record_without_utxos_holds_nothing_for_anybody() -> None:
    assert "mine" not in Ruled(utxos=None, locked=True).spend((0, OURS))


def test_conflicting_and_locked_can_be_ignored() -> None:
    assert refused(Ruled(conflicting=True).spend((0, OURS), ignore=(False, True)), "CONFLICTING")
    assert refused(Ruled(locked=True).spend((0, OURS), ignore=(True, False)), "LOCKED")
    assert Ruled(conflicting=True, locked=True).spend((0, OURS), ignore=(True, True))["status"] == "OK"


def test_a_coinbase_is_spendable_from_its_spending_height() -> None:
    assert refused(Ruled(spendingHeight=1001).spend((0, OURS)), "COINBASE_IMMATURE")
    assert Ruled(spendingHeight=1000).spend((0, OURS))["status"] == "OK"


def error_of(record: Ruled, offset: int = 0, data: bytes = OURS, *, holds: bool = False) -> dict[str, Any]:
    """The error of a spend that is refused. holds: whether its spender has the output all the same."""
    before = record.bins
    result = record.spend((offset, data))
    assert (result["status"], result["applied"]) == ("ERROR", [])
    assert record.bins == before
    assert ("mine" in result) == holds
    assert result.get("mine", [10]) == [10]
    error = result["errors"][10]
    assert error.pop("message")
    assert isinstance(error, dict)
    return error


@pytest.mark.parametrize("offset", [2, 3, 2**32, 2**63 - 1])
def test_utxo_not_found_past_the_list_and_where_an_output_is_no_utxo(offset: int) -> None:
    assert error_of(Ruled(utxos=[HASHES[0], None, None]), offset) == {"errorCode": "UTXO_NOT_FOUND"}


def test_utxo_hash_mismatch() -> None:
    record = Ruled(utxos=[HASHES[1] + OURS], utxoSpendableIn={0: 5000})
    assert error_of(record, holds=True) == {"errorCode": "UTXO_HASH_MISMATCH"}
    assert error_of(record, data=THEIRS) == {"errorCode": "UTXO_HASH_MISMATCH"}


def test_utxo_invalid_size() -> None:
    assert error_of(Ruled(utxos=[HASHES[0] + b"x"])) == {"errorCode": "UTXO_INVALID_SIZE"}


@pytest.mark.parametrize(("current", "code"), [(999, "FROZEN_UNTIL"), (1000, None), (1001, None)])
def test_a_frozen_output_is_spendable_from_the_height_itself_on(current: int, code: str | None) -> None:
    record = Ruled(utxoSpendableIn={0: 1000})
    result = record.spend((0, OURS), current=current)
    assert result.get("errors", {10: {"errorCode": None}})[10]["errorCode"] == code
    assert result["applied"] == ([] if code else [10])


def test_frozen_until_comes_before_the_same_spend_again() -> None:
    record = Ruled(utxos=[HASHES[0] + OURS], utxoSpendableIn={0: 1001})
    assert error_of(record, holds=True) == {"errorCode": "FROZEN_UNTIL"}
    assert record.spend((0, OURS), current=1001) == {"status": "OK", "applied": []}


def test_frozen_until_holds_for_its_own_offset_only() -> None:
    assert Ruled(utxoSpendableIn={1: 5000}).spend((0, OURS))["status"] == "OK"


@pytest.mark.parametrize(
    ("utxo", "holds"),
    [(HASHES[0], False), (HASHES[0] + OURS, True), (HASHES[0] + THEIRS, False), (HASHES[0] + FROZEN, False)],
    ids=["unspent", "its own", "another's", "frozen"],
)
def test_a_spender_that_was_pruned_spends_nothing_whatever_the_outputs_state(utxo: bytes, holds: bool) -> None:
    record = Ruled(utxos=[utxo, HASHES[1]], deletedChildren=OURS_PRUNED)
    assert error_of(record, holds=holds) == {"errorCode": "INVALID_SPEND", "spendingData": OURS_HEX}


def test_a_spender_that_was_pruned_is_known_by_its_txid() -> None:
    record = Ruled(deletedChildren=OURS_PRUNED)
    other_input = OURS[:32] + b"\x07\0\0\0"
    assert error_of(record, 1, other_input) == {"errorCode": "INVALID_SPEND", "spendingData": "0a" * 32 + "07000000"}
    pruned = Ruled(deletedChildren={THEIRS_HEX[:64]: True})
    assert error_of(pruned, data=THEIRS) == {"errorCode": "INVALID_SPEND", "spendingData": THEIRS_HEX}


def test_that_one_spender_was_pruned_is_nothing_to_another() -> None:
    record = Ruled(utxos=[HASHES[0] + OURS, HASHES[1]], spentUtxos=1, deletedChildren=OURS_PRUNED)
    assert error_of(record, data=THEIRS) == {"errorCode": "SPENT", "spendingData": OURS_HEX}
    assert record.spend((1, THEIRS))["status"] == "OK"


def test_what_the_whole_output_is_refused_for_comes_before_its_spender() -> None:
    record = Ruled(utxos=[HASHES[0], HASHES[0]], deletedChildren=OURS_PRUNED, utxoSpendableIn={0: 1001})
    assert error_of(record) == {"errorCode": "FROZEN_UNTIL"}
    assert error_of(record, 1) == {"errorCode": "UTXO_HASH_MISMATCH"}


def test_only_the_refused_spends_that_hold_are_mine() -> None:
    record = Ruled(utxos=HELD, recordUtxos=3, spentUtxos=2, utxoSpendableIn={0: 1001, 1: 1001})
    result = record.spend((0, OURS), (1, OURS), (2, OURS), (2, THEIRS))
    assert set(result["errors"]) == {10, 11, 12}
    assert (result["mine"], result["applied"]) == ([10], [])


def test_frozen() -> None:
    assert error_of(Ruled(utxos=[HASHES[0] + FROZEN])) == {"errorCode": "FROZEN"}


def test_spent_names_the_spender_in_display_order() -> None:
    record = Ruled(utxos=[HASHES[0] + THEIRS])
    assert error_of(record) == {"errorCode": "SPENT", "spendingData": THEIRS_HEX}
    other_input = THEIRS[:32] + b"\x03\x01\0\0"
    assert error_of(record, data=other_input) == {"errorCode": "SPENT", "spendingData": THEIRS_HEX}


BAD_TARGETS: list[tuple[Any, Any]] = [
    (-1, HASHES[0]),
    (None, HASHES[0]),
    (0.0, HASHES[0]),
    ("0", HASHES[0]),
    (0, None),
    (0, HASHES[0][:31]),
    (0, HASHES[0] + b"\0"),
    (0, "h" * 32),
    (0, [1]),
]
BAD_SPENDING_DATA: list[Any] = [None, OURS[:35], OURS + b"\0", FROZEN, "s" * 36, {}]
BAD_SPENDS = [(*target, OURS) for target in BAD_TARGETS] + [(0, HASHES[0], data) for data in BAD_SPENDING_DATA]


@pytest.mark.parametrize(("offset", "utxo_hash", "data"), BAD_SPENDS)
def test_malformed_input_is_refused_before_anything_is_touched(offset: Any, utxo_hash: Any, data: Any) -> None:
    for record in (Ruled(), Ruled.missing()):
        before = record.bins
        assert refused(
            record.call("spend", offset, utxo_hash, data, False, False, 1000, RETENTION), "INVALID_PARAMETER"
        )
        assert refused(record.call("unspend", offset, utxo_hash, data, 1000, RETENTION), "INVALID_PARAMETER")
        assert refused(record.call("release", offset, utxo_hash, data, 1000, RETENTION, 0), "INVALID_PARAMETER")
        good = {"idx": 0, "offset": 1, "utxoHash": HASHES[1], "spendingData": OURS}
        bad = {"idx": 1, "offset": offset, "utxoHash": utxo_hash, "spendingData": data}
        assert refused(
            record.call("spendMulti", [good, bad], False, False, 1000, RETENTION),
            "INVALID_PARAMETER",
        )
        assert record.bins == before


@pytest.mark.parametrize("idx", [None, -1, "1"])
def test_a_spend_without_an_idx_is_refused(idx: Any) -> None:
    spend = {"idx": idx, "offset": 0, "utxoHash": HASHES[0], "spendingData": OURS}
    assert refused(Ruled().call("spendMulti", [spend, None], False, False, 1000, RETENTION), "INVALID_PARAMETER")


@pytest.mark.parametrize(("offset", "utxo_hash"), BAD_TARGETS)
def test_the_alert_rules_refuse_malformed_input(offset: Any, utxo_hash: Any) -> None:
    for record in (Ruled(utxos=[HASHES[0] + FROZEN]), Ruled.missing()):
        before = record.bins
        for function in ("freeze", "unfreeze"):
            assert refused(record.call(function, offset, utxo_hash), "INVALID_PARAMETER")
        reassign = (offset, utxo_hash, HASHES[1], 5, b"\x51", 1000, 10)
        assert refused(record.call("reassign", *reassign), "INVALID_PARAMETER")
        assert record.bins == before


def spend_one(record: Ruled, data: bytes = OURS) -> dict[str, Any]:
    return record.call("spend", 0, HASHES[0], data, False, False, 1000, RETENTION)


def test_spend_of_one_reports_its_error() -> None:
    record = Ruled()
    assert spend_one(record) == {"status": "OK", "applied": [0]}
    assert spend_one(record) == {"status": "OK", "applied": []}
    result = spend_one(record, THEIRS)
    assert refused(result, "SPENT")
    assert result["spendingData"] == OURS_HEX
    assert result["errors"][0]["errorCode"] == "SPENT"
    assert "spendingData" not in spend_one(Ruled(utxos=[HASHES[0] + FROZEN]))
    assert refused(spend_one(Ruled.missing()), "TX_NOT_FOUND")


def test_a_master_that_is_at_all_its_bounds_can_still_be_spent() -> None:
    """What would make it unspendable by its growth is bounded, and the sum stays below what a server takes."""
    count = MAX_UTXO_BATCH_SIZE
    utxos = [HASHES[0] + OURS] * (count - 1) + [HASHES[0]]
    script = bytes((128 * 1024 - 256) // 2)
    bins: dict[str, Any] = {
        "utxos": utxos,
        "recordUtxos": count + 1,
        "spentUtxos": count - 1,
        "deletedChildren": {f"{spender:064x}": True for spender in range(count)},
        "joined": {offset: [1000, 1000] for offset in range(count)},
        "conflictingCs": [child.to_bytes(32, "little") for child in range(1000)],
        "reassignments": [{"offset": 0, "utxoHash": HASHES[0], "newUtxoHash": HASHES[0], "script": script}],
        "reassigned": {0: [21 * 10**14, script]},
        "utxoSpendableIn": dict.fromkeys(range(512), 1000),
        "outputs": [bytes(EXTERNAL_ABOVE_BYTES)],
        "childStates": bytes(2 * 8192),  # of a million outputs, at 128 a record
        "totalExtraRecs": 8192,
    }
    record = Ruled(**bins)
    last = (count - 1, HASHES[0], THEIRS)
    for applied in ([0], []):
        assert record.call("spend", *last, False, False, 1000, RETENTION) == {
            "status": "OK",
            "applied": applied,
            "lives": {0: 1000},
        }
    assert len(msgpack.packb(record.bins)) < 1 << 20
