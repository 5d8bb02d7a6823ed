from typing import Any

import pytest
from ruled import FROZEN, HASHES, OURS, RETENTION, THEIRS, THEIRS_HEX, Ruled, refused

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
    before = record.bins
    assert record.spend((0, OURS)) == {"status": "OK", "applied": []}
    assert record.bins == before


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
    assert record.bins == before


def test_conflicting_and_locked_can_be_ignored() -> None:
    assert refused(Ruled(conflicting=True).spend((0, OURS), ignore=(False, True)), "CONFLICTING")
    assert refused(Ruled(locked=True).spend((0, OURS), ignore=(True, False)), "LOCKED")
    assert Ruled(conflicting=True, locked=True).spend((0, OURS), ignore=(True, True))["status"] == "OK"


def test_a_coinbase_is_spendable_from_its_spending_height() -> None:
    assert refused(Ruled(spendingHeight=1001).spend((0, OURS)), "COINBASE_IMMATURE")
    assert Ruled(spendingHeight=1000).spend((0, OURS))["status"] == "OK"


def error_of(record: Ruled, offset: int = 0, data: bytes = OURS) -> dict[str, Any]:
    before = record.bins
    result = record.spend((offset, data))
    assert (result["status"], result["applied"]) == ("ERROR", [])
    assert record.bins == before
    error = result["errors"][10]
    assert error.pop("message")
    assert isinstance(error, dict)
    return error


@pytest.mark.parametrize("offset", [2, 3, 2**32, 2**63 - 1])
def test_utxo_not_found_past_the_list_and_where_an_output_is_no_utxo(offset: int) -> None:
    assert error_of(Ruled(utxos=[HASHES[0], None, None]), offset) == {"errorCode": "UTXO_NOT_FOUND"}


def test_utxo_hash_mismatch() -> None:
    record = Ruled(utxos=[HASHES[1] + OURS], utxoSpendableIn={0: 5000})
    assert error_of(record) == {"errorCode": "UTXO_HASH_MISMATCH"}


def test_utxo_invalid_size() -> None:
    assert error_of(Ruled(utxos=[HASHES[0] + b"x"])) == {"errorCode": "UTXO_INVALID_SIZE"}


def test_frozen_until_comes_before_the_same_spend_again() -> None:
    record = Ruled(utxos=[HASHES[0] + OURS], utxoSpendableIn={0: 1000})
    assert error_of(record) == {"errorCode": "FROZEN_UNTIL"}
    assert record.spend((0, OURS), current=1001)["status"] == "OK"


def test_frozen_until_holds_for_its_own_offset_only() -> None:
    assert Ruled(utxoSpendableIn={1: 5000}).spend((0, OURS))["status"] == "OK"


def test_invalid_spend_where_the_spender_was_pruned() -> None:
    display = OURS[:32][::-1].hex()
    record = Ruled(utxos=[HASHES[0] + OURS, HASHES[1]], spentUtxos=1, deletedChildren={display: True})
    assert error_of(record) == {"errorCode": "INVALID_SPEND", "spendingData": display + "01000000"}
    assert record.spend((1, OURS))["status"] == "OK"


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
        assert refused(record.call("reassign", offset, utxo_hash, HASHES[1], 1000, 10), "INVALID_PARAMETER")
        assert record.bins == before


def spend_one(record: Ruled, data: bytes = OURS) -> dict[str, Any]:
    return record.call("spend", 0, HASHES[0], data, False, False, 1000, RETENTION)


def test_spend_of_one_reports_its_error() -> None:
    record = Ruled()
    assert spend_one(record) == {"status": "OK", "applied": [0]}
    assert spend_one(record) == {"status": "OK", "applied": []}
    result = spend_one(record, THEIRS)
    assert refused(result, "SPENT")
    assert result["spendingData"] == OURS[31::-1].hex() + "01000000"
    assert result["errors"][0]["errorCode"] == "SPENT"
    assert "spendingData" not in spend_one(Ruled(utxos=[HASHES[0] + FROZEN]))
    assert refused(spend_one(Ruled.missing()), "TX_NOT_FOUND")


def unspend(record: Ruled, data: bytes = OURS, current: int = 1000) -> dict[str, Any]:
    return record.call("unspend", 0, HASHES[0], data, current, RETENTION)


def test_unspend_reverses_its_owners_spend_only() -> None:
    record = Ruled(utxos=[HASHES[0] + OURS, HASHES[1]], spentUtxos=1)
    result = unspend(record, THEIRS)
    assert refused(result, "SPENT")
    assert result["spendingData"] == OURS[31::-1].hex() + "01000000"
    assert record["utxos"][0] == HASHES[0] + OURS
    assert unspend(record) == {"status": "OK", "applied": [0]}
    assert (record["utxos"], record["spentUtxos"]) == (HASHES[:2], 0)


def test_unspend_of_an_unspent_output_is_ok_and_changes_nothing() -> None:
    record = Ruled()
    before = record.bins
    assert unspend(record) == {"status": "OK", "applied": []}
    assert record.bins == before


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (Ruled.missing(), "TX_NOT_FOUND"),
        (Ruled(utxos=None), "UTXOS_NOT_FOUND"),
        (Ruled(utxos=[None]), "UTXO_NOT_FOUND"),
        (Ruled(utxos=[HASHES[1] + OURS]), "UTXO_HASH_MISMATCH"),
        (Ruled(utxos=[HASHES[0] + FROZEN]), "FROZEN"),
    ],
)
def test_unspend_refuses(record: Ruled, code: str) -> None:
    before = record.bins
    assert refused(unspend(record), code)
    assert record.bins == before


def test_unspend_takes_back_the_delete_at_height() -> None:
    record = Ruled.mined(utxos=[HASHES[0]], recordUtxos=1)
    record.spend((0, OURS))
    assert record["deleteAtHeight"] == 1288
    unspend(record)
    assert record["deleteAtHeight"] is None
