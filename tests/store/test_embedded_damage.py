"""A record of the embedded store that is damaged on the disk: an error of its own, never absent, harmless to others."""

from collections.abc import Iterator

import pytest

from store import Mode, Read, RecordOperation, Remove, RuleCall, Store, Write
from tests.support.storing import KEY, OTHER, create, read, run, statuses

BINS = {
    "txID": KEY,
    "totalExtraRecs": 3,
    "spentExtraRecs": 1,
    "locked": False,
    "conflictingCs": [KEY],
    "deletedChildren": {"ab": True},
    "utxos": [b"h" * 32, None],
    "inputs": [b"i" * 40],
    "outputs": [b"o" * 9],
}
EXPIRY_BYTES, HEADER_BYTES = 4, 16


@pytest.fixture
def raw(store: Store) -> bytes:
    """What is kept under KEY."""
    create(store, **BINS)
    create(store, OTHER, a=1)
    with store._environment.begin() as transaction:  # type: ignore[attr-defined]
        return bytes(transaction.get(KEY))


def damage(store: Store, content: bytes) -> None:
    with store._environment.begin(write=True) as transaction:  # type: ignore[attr-defined]
        transaction.put(KEY, content)


def asked() -> Iterator[RecordOperation]:
    yield Read(KEY)
    yield Read(KEY, ["locked", "utxos"])
    yield Write(KEY, {"a": 1}, Mode.CREATE)
    yield Write(KEY, {"a": 1}, Mode.UPDATE, {"locked": False})
    yield Write(KEY, {"a": 1}, Mode.UPDATE)
    yield RuleCall(KEY, "setLocked", (True, 1000, 288))
    yield RuleCall(KEY, "spend", (0, b"h" * 32, b"s" * 36, False, False, 1000, 288))
    yield Remove(KEY, {"locked": True})


def test_one_that_was_cut_off_is_never_absent_and_harms_no_other(store: Store, raw: bytes) -> None:
    for size in range(len(raw)):
        for operation in asked():
            damage(store, raw[:size])
            results = run(store, operation, Write(OTHER, {"a": size}, Mode.UPDATE))
            assert results[0].status not in ("NOT_FOUND", "TOO_BIG")
            assert (results[1].status, read(store, OTHER)) == ("OK", {"a": size})
            if size < HEADER_BYTES:
                assert results[0].status == "ERROR"
                assert "damaged" in results[0].message


def test_one_of_nonsense_is_never_absent_and_harms_no_other(store: Store, raw: bytes) -> None:
    for place in range(EXPIRY_BYTES, len(raw)):
        for byte in (0x00, 0x81, 0xC1, 0xFF, raw[place] ^ 1):
            damage(store, raw[:place] + bytes([byte]) + raw[place + 1 :])
            results = run(store, *asked(), Write(OTHER, {"a": place}, Mode.UPDATE))
            assert "NOT_FOUND" not in statuses(results[:-2])
            assert (results[-1].status, read(store, OTHER)) == ("OK", {"a": place})


def test_it_says_so(store: Store, raw: bytes) -> None:
    for content in (raw[:10], raw[:30], raw[:HEADER_BYTES] + b"\xc1" * 80, bytes(16), bytes([0] * 4 + [1] + [0] * 12)):
        damage(store, content)
        for result in run(store, Read(KEY), Write(KEY, {"a": 1}, Mode.UPDATE), Remove(KEY, {"locked": False})):
            assert result.status == "ERROR"
            assert "damaged" in result.message
            assert not result.in_doubt


def test_it_can_be_removed(store: Store, raw: bytes) -> None:
    damage(store, raw[:HEADER_BYTES] + b"\xc1" * 80)
    assert statuses(run(store, Remove(KEY), Read(KEY))) == ["OK", "NOT_FOUND"]
