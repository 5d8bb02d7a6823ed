"""A set of layout 1 is read as it is, and raised to this layout by the first batch that writes."""

from pathlib import Path

import pytest

from protocol.hashing import utxo_hash
from store import Mode, Read, RuleCall, Status, Store, StoreError, Write, open_store
from store.layout import (
    DEFAULT_GENESIS_HEIGHT,
    FROZEN,
    LAYOUT_VERSION,
    child_key,
    pack_spending_data,
    raw_transaction,
)
from store.lmdb.settings import write_settings
from store.set_settings import SetSettings
from store.transaction import parse_transaction
from tests.support.layout_1_set import FINISHED, HELD, PARENT, SPREAD, UTXO_BATCH_SIZE, build, kept_settings
from tests.support.storing import KEY, create, read, run

RAISED = {
    "layout": LAYOUT_VERSION,
    "utxo_batch_size": UTXO_BATCH_SIZE,
    "genesis_height": DEFAULT_GENESIS_HEIGHT,
}
LAYOUT_1 = {"layout": 1, "utxo_batch_size": UTXO_BATCH_SIZE}


def spender(store: Store, key: bytes, offset: int) -> bytes:
    """The spending data of an output, empty where it is unspent."""
    utxo = read(store, key)["utxos"][offset]
    assert isinstance(utxo, bytes)
    return utxo[32:]


def test_all_of_it_is_read(tmp_path: Path) -> None:
    store = open_store(build(tmp_path / "set"))
    assert (store.utxo_batch_size, store.genesis_height) == (UTXO_BATCH_SIZE, DEFAULT_GENESIS_HEIGHT)
    for txid in (PARENT, FINISHED, HELD):
        raw = raw_transaction(read(store, txid))
        assert raw is not None
        assert parse_transaction(raw).txid == txid
    parent, finished, spread, held = (read(store, txid) for txid in (PARENT, FINISHED, SPREAD, HELD))
    assert (parent["blockIDs"], parent["spentUtxos"], parent.get("deleteAtHeight")) == ([7], 1, None)
    assert (finished["blockHeights"], finished["spentUtxos"], finished["deleteAtHeight"]) == ([181], 2, 190 + 288)
    assert (spread["external"], spread["totalExtraRecs"], spread["spentExtraRecs"]) == (True, 2, 1)
    assert (held["unminedSince"], held["spentUtxos"]) == (200, 0)
    assert "childStates" not in spread
    assert spender(store, PARENT, 0) == pack_spending_data(FINISHED, 0)
    assert [spender(store, FINISHED, offset) for offset in (0, 1)] == [
        pack_spending_data(SPREAD, vin) for vin in (0, 1)
    ]
    assert [spender(store, child_key(SPREAD, index), 0) for index in (1, 2)] == [b"", pack_spending_data(HELD, 0)]
    assert (spender(store, HELD, 0), spender(store, HELD, 1)) == (FROZEN, b"")
    store.close()


def test_its_blob_is_read(tmp_path: Path) -> None:
    store = open_store(build(tmp_path / "set"))
    raw = store.blobs.get(SPREAD)
    assert raw is not None
    transaction = parse_transaction(raw)
    assert transaction.txid == SPREAD
    assert [store.blobs.output(SPREAD, vout) for vout in range(6)] == [*transaction.outputs, None]
    store.blobs.replace(transaction)
    assert store.blobs.get(SPREAD) == raw
    store.close()


def test_a_store_that_only_reads_leaves_its_layout(tmp_path: Path) -> None:
    store = open_store(build(tmp_path / "set"))
    read(store, PARENT)
    store.close()
    assert kept_settings(tmp_path / "set") == LAYOUT_1


def test_the_first_batch_that_writes_raises_its_layout(tmp_path: Path) -> None:
    store = open_store(build(tmp_path / "set"))
    parent = read(store, PARENT)
    output = parse_transaction(raw_transaction(parent) or b"").outputs[1]
    spend = (
        1,
        utxo_hash(PARENT, 1, output.locking_script, output.satoshis),
        pack_spending_data(KEY, 0),
        False,
        False,
        500,
        288,
    )
    assert run(store, RuleCall(PARENT, "spend", spend))[0].value["status"] == "OK"
    create(store, a=1)
    assert spender(store, PARENT, 1) == pack_spending_data(KEY, 0)
    store.close()
    assert kept_settings(tmp_path / "set") == RAISED
    store = open_store(f"lmdb://{tmp_path}/set")
    assert (store.utxo_batch_size, read(store)) == (UTXO_BATCH_SIZE, {"a": 1})
    store.close()


def test_a_batch_that_is_not_written_does_not_raise_its_layout(tmp_path: Path) -> None:
    store = open_store(build(tmp_path / "set"))
    with pytest.raises(StoreError, match="the time is up"):
        store.batch_operate([Write(KEY, {"a": 1}, Mode.CREATE)] * 20_000, 0.005)
    store.close()
    assert kept_settings(tmp_path / "set") == LAYOUT_1


def test_a_store_opened_before_does_not_write_once_the_layout_is_newer_than_its_own(tmp_path: Path) -> None:
    store = open_store(build(tmp_path / "set"))
    with store._environment.begin(write=True) as transaction:  # type: ignore[attr-defined]
        write_settings(transaction, SetSettings(UTXO_BATCH_SIZE, layout=LAYOUT_VERSION + 1))
    with pytest.raises(StoreError, match=f"{tmp_path}/set: its layout has version {LAYOUT_VERSION + 1}") as caught:
        create(store, a=1)
    assert not caught.value.in_doubt
    assert run(store, Read(KEY))[0].status is Status.NOT_FOUND
    store.close()
    assert kept_settings(tmp_path / "set")["layout"] == LAYOUT_VERSION + 1


def test_it_has_the_default_genesis_height_and_no_other(tmp_path: Path) -> None:
    url = build(tmp_path / "set")
    open_store(f"{url}?genesis_height={DEFAULT_GENESIS_HEIGHT}").close()
    with pytest.raises(StoreError, match=f"made with genesis_height={DEFAULT_GENESIS_HEIGHT}, which cannot be changed"):
        open_store(f"{url}?genesis_height=never")
