"""What the embedded store and the one in Aerospike do alike."""

from typing import Any

import pytest

from store import Mode, Read, RecordOperation, Remove, RuleCall, Status, Store, Write
from tests.support.storing import KEY, OTHER, create, read, run, statuses


def test_a_record_is_created_read_changed_and_removed(either_store: Store) -> None:
    assert run(either_store, Read(KEY))[0].status is Status.NOT_FOUND
    create(either_store, a=1, utxos=[b"x", None], outputs=[b"o"])
    assert read(either_store) == {"a": 1, "utxos": [b"x", None], "outputs": [b"o"]}
    assert run(either_store, Write(KEY, {"a": None, "b": 2.0, "outputs": None}, Mode.UPDATE))[0].status is Status.OK
    assert read(either_store) == {"b": 2.0, "utxos": [b"x", None]}
    assert statuses(run(either_store, Remove(KEY), Remove(KEY), Read(KEY))) == ["OK", "NOT_FOUND", "NOT_FOUND"]


def test_a_read_of_named_bins_gives_those_that_exist(either_store: Store) -> None:
    create(either_store, a=1, b=None, utxos=[b"x"])
    for names, expected in (
        (["a", "b", "c"], {"a": 1}),
        (["utxos", "outputs"], {"utxos": [b"x"]}),
        (["utxos", "a"], {"utxos": [b"x"], "a": 1}),
        ([], {}),
    ):
        assert run(either_store, Read(KEY, names))[0].value == expected


def test_modes(either_store: Store) -> None:
    assert run(either_store, Write(KEY, {"a": 1}, Mode.UPDATE))[0].status is Status.NOT_FOUND
    assert run(either_store, Write(KEY, {"a": 1}, Mode.UPSERT))[0].status is Status.OK
    assert run(either_store, Write(KEY, {"a": 2}, Mode.CREATE))[0].status is Status.EXISTS
    assert run(either_store, Write(KEY, {"b": 2}, Mode.UPSERT))[0].status is Status.OK
    assert read(either_store) == {"a": 1, "b": 2}


def test_conditions(either_store: Store) -> None:
    create(either_store, token=b"mine", creating=True)
    for condition, status in (
        ({"token": b"theirs"}, Status.CONDITION_FALSE),
        ({"token": b"mine", "creating": None}, Status.CONDITION_FALSE),
        ({"token": b"mine", "locked": None}, Status.OK),
    ):
        assert run(either_store, Write(KEY, {"creating": True}, Mode.UPDATE, condition))[0].status is status
    assert run(either_store, Remove(KEY, {"token": b"theirs"}))[0].status is Status.CONDITION_FALSE
    assert run(either_store, Remove(KEY, {"token": b"mine"}))[0].status is Status.OK
    assert run(either_store, Write(KEY, {"a": 1}, Mode.UPSERT, {"token": b"mine"}))[0].status is Status.CONDITION_FALSE


def test_a_batch_sees_its_own_writes_and_answers_in_order(either_store: Store) -> None:
    results = run(
        either_store,
        Read(KEY),
        Write(KEY, {"totalExtraRecs": 2, "spentExtraRecs": 0}, Mode.CREATE),
        RuleCall(KEY, "incrementSpentExtraRecs", (1, 1000, 288)),
        Read(KEY, ["spentExtraRecs"]),
        RuleCall(OTHER, "setLocked", (True, 0, 288)),
    )
    assert statuses(results) == ["NOT_FOUND", "OK", "OK", "OK", "OK"]
    assert [result.key for result in results] == [KEY, KEY, KEY, KEY, OTHER]
    assert results[2].value == {"status": "OK", "childCount": 2}
    assert results[3].value == {"spentExtraRecs": 1}
    assert results[4].value["errorCode"] == "TX_NOT_FOUND"
    assert run(either_store, Read(OTHER))[0].status is Status.NOT_FOUND


def test_a_rule_leaves_the_bins_it_does_not_touch(either_store: Store) -> None:
    bins: dict[str, Any] = {
        "utxos": [b"h" * 32],
        "inputs": [b"i"],
        "outputs": [b"o"],
        "totalExtraRecs": 0,
        "x": {"y": [1.5, None]},
    }
    create(either_store, **bins)
    run(either_store, RuleCall(KEY, "setLocked", (True, 0, 288)))
    assert read(either_store) == bins | {"locked": True, "lockSeq": 1}


def test_what_cannot_be_stored_fails_its_record_alone(either_store: Store) -> None:
    results = run(
        either_store,
        Write(KEY, {"a": 1 << 64}, Mode.CREATE),
        Write(KEY, {"a": object()}, Mode.CREATE),  # type: ignore[dict-item]
        Write(KEY, {"sixteen letters!": 1}, Mode.CREATE),
        RuleCall(KEY, "setLocked", (1 << 64,)),
        Write(OTHER, {"a": 1}, Mode.CREATE),
    )
    assert statuses(results) == ["ERROR", "ERROR", "ERROR", "ERROR", "OK"]
    assert run(either_store, Read(KEY))[0].status is Status.NOT_FOUND


@pytest.mark.parametrize("key", [b"", b"settings", KEY[:31], KEY + b"12345", b"k" * 600, "k" * 32, None])
def test_a_bad_key_fails_its_record_alone(either_store: Store, key: Any) -> None:
    bad: list[RecordOperation] = [
        Read(key),
        Write(key, {"a": 1}, Mode.UPSERT),
        Remove(key),
        RuleCall(key, "setLocked", (True,)),
    ]
    results = run(either_store, *bad, Write(KEY, {"a": 1}, Mode.CREATE))
    assert statuses(results) == ["ERROR"] * 4 + ["OK"]
    assert "key" in results[0].message
    assert statuses(run(either_store, Read(key), Read(KEY))) == ["ERROR", "OK"]


def test_the_limit_of_a_record_is_1_mib_by_default(either_store: Store) -> None:
    assert run(either_store, Write(KEY, {"a": bytes(1 << 20)}, Mode.CREATE))[0].status is Status.TOO_BIG
    assert run(either_store, Write(KEY, {"a": bytes((1 << 20) - 100)}, Mode.CREATE))[0].status is Status.OK
