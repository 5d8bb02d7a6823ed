from hashlib import sha256

import pytest

from store import layout
from store.layout import Circumstances, MinedBlock, Partial, create_records
from store.transaction import Output, Transaction, parse_transaction, varint

TXID = bytes(range(32))
AT_1000 = Circumstances(block_height=1000, now_ms=1_700_000_000_000)
PAYMENT = Output(1, b"\x51")
DATA = Output(0, b"\x6adata")


def of_outputs(first_payment: Transaction, outputs: list[Output]) -> Transaction:
    """A transaction like the first payment, with these outputs."""
    spend, packed = first_payment.inputs[0].raw, [output.serialise() for output in outputs]
    return parse_transaction(b"".join((b"\1\0\0\0\1", spend, varint(len(packed)), *packed, bytes(4))))


def test_keys() -> None:
    assert layout.record_key(TXID, 0) == TXID
    assert layout.record_key(TXID, 258) == layout.child_key(TXID, 258) == TXID + b"\x02\x01\x00\x00"
    assert layout.lock_key(TXID) == TXID + b"\xff\xff\xff\xff"
    assert layout.locate(TXID, 127, 128) == (TXID, 127)
    assert layout.locate(TXID, 128, 128) == (TXID + b"\x01\0\0\0", 0)


def test_the_lock_lives_30_s_and_2_s_per_record_and_at_most_300_s() -> None:
    assert [layout.lock_ttl(records) for records in (1, 10, 135, 1000)] == [32, 50, 300, 300]


def test_a_utxo_hash_is_of_txid_vout_script_and_satoshis() -> None:
    output = Output(50_000, b"\x76\xa9")
    expected = sha256(TXID + b"\xfd\x2c\x01" + b"\x76\xa9" + b"\xfd\x50\xc3").digest()
    assert layout.utxo_hash(TXID, 300, output) == expected


@pytest.mark.parametrize(
    ("output", "stored"),
    [
        (Output(0, b"\x6a"), False),
        (Output(0, b"\x00\x6a\x01"), False),
        (Output(1, b"\x6a"), True),
        (Output(0, b""), True),
        (Output(0, b"\x51\x6a"), True),
    ],
)
def test_an_output_is_no_utxo_where_it_is_worth_nothing_and_carries_data(output: Output, stored: bool) -> None:
    assert layout.is_stored_output(output) is stored


def test_spending_data_come_back_packed_and_in_display_order() -> None:
    data = layout.pack_spending_data(TXID, 258)
    assert data == TXID + b"\x02\x01\x00\x00"
    assert layout.unpack_spending_data(data) == (TXID, 258)
    assert layout.parse_spending_data(TXID[::-1].hex() + "02010000") == (TXID, 258)
    for bad in (b"", data + b"\0"):
        with pytest.raises(ValueError, match="spending data"):
            layout.unpack_spending_data(bad)
        with pytest.raises(ValueError, match="spending data"):
            layout.parse_spending_data(bad.hex())


def test_the_master_of_a_small_transaction(first_payment: Transaction) -> None:
    [(key, bins)], external = create_records(first_payment, AT_1000)
    assert key == first_payment.txid
    assert not external
    assert bins == {
        "txID": first_payment.txid,
        "version": 1,
        "locktime": 0,
        "sizeInBytes": 275,
        "isCoinbase": False,
        "conflicting": False,
        "locked": False,
        "utxos": [layout.utxo_hash(key, vout, output) for vout, output in enumerate(first_payment.outputs)],
        "recordUtxos": 2,
        "spentUtxos": 0,
        "totalUtxos": 2,
        "totalExtraRecs": 0,
        "spentExtraRecs": 0,
        "createdAt": 1_700_000_000_000,
        "unminedSince": 1000,
        "inputs": [first_payment.inputs[0].raw],
        "outputs": [output.serialise() for output in first_payment.outputs],
    }
    assert all(len(name) <= 15 for name in bins)


def test_a_mined_transaction_has_its_blocks_and_no_unmined_since(first_payment: Transaction) -> None:
    mined = [MinedBlock(7, 1000, 3), MinedBlock(9, 1001, 0)]
    master = create_records(first_payment, Circumstances(1002, 0, mined=mined)).master
    assert (master["blockIDs"], master["blockHeights"], master["subtreeIdxs"]) == ([7, 9], [1000, 1001], [3, 0])
    assert "unminedSince" not in master


def test_every_record_of_a_coinbase_is_spendable_after_its_maturity(first_coinbase: Transaction) -> None:
    master = create_records(first_coinbase, AT_1000).master
    assert (master["isCoinbase"], master["spendingHeight"], master["fee"]) == (True, 1100, 0)
    partial = Partial(TXID, {0: PAYMENT, 300: PAYMENT}, is_coinbase=True)
    assert [bins["spendingHeight"] for _, bins in create_records(partial, AT_1000).records] == [1100] * 3


def test_a_conflicting_creation_is_marked_for_deletion_at_once(first_payment: Transaction) -> None:
    marked = create_records(first_payment, Circumstances(1000, 0, retention=288, conflicting=True)).master
    assert (marked["conflicting"], marked["deleteAtHeight"]) == (True, 1288)
    kept = create_records(first_payment, Circumstances(1000, 0, retention=0, conflicting=True)).master
    assert "deleteAtHeight" not in kept


def test_more_outputs_than_a_record_holds_make_several_records_and_an_external_one(first_payment: Transaction) -> None:
    transaction = of_outputs(first_payment, [PAYMENT] * 3 + [DATA] * 2 + [PAYMENT, DATA])
    records, external = create_records(transaction, Circumstances(1000, 5, utxo_batch_size=2))
    assert external
    assert [key for key, _ in records] == [layout.record_key(transaction.txid, index) for index in range(4)]
    assert [bins["recordUtxos"] for _, bins in records] == [2, 1, 1, 0]
    assert [[utxo is not None for utxo in bins["utxos"]] for _, bins in records] == [
        [True, True],
        [True, False],
        [False, True],
        [False],
    ]
    master = records[0][1]
    assert (master["totalUtxos"], master["totalExtraRecs"], master["external"]) == (7, 3, True)
    assert "inputs" not in master
    assert "outputs" not in master
    for _, child in records[1:]:
        assert "totalExtraRecs" not in child
        assert "createdAt" not in child
        assert (child["txID"], child["sizeInBytes"], child["locked"]) == (transaction.txid, transaction.size, False)


def test_a_child_without_a_utxo_counts_as_spent_from_the_start(first_payment: Transaction) -> None:
    transaction = of_outputs(first_payment, [PAYMENT, DATA])
    (_, master), (_, child) = create_records(transaction, Circumstances(1000, 0, utxo_batch_size=1)).records
    assert (master["totalExtraRecs"], master["spentExtraRecs"]) == (1, 1)
    assert (child["recordUtxos"], child["lastSpentState"]) == (0, "ALLSPENT")


def test_a_transaction_above_32_kib_is_external_in_one_record(first_payment: Transaction) -> None:
    empty = of_outputs(first_payment, [Output(1, b"\x51" * 1000)])
    at_limit = 32 * 1024 - (empty.size - 1000)
    for script_bytes, expected in ((at_limit, False), (at_limit + 1, True)):
        transaction = of_outputs(first_payment, [Output(1, b"\x51" * script_bytes)])
        records, external = create_records(transaction, AT_1000)
        assert external is expected
        assert len(records) == 1
        assert records[0][1].get("external", False) is expected


def test_the_lists_of_a_partial_creation_are_sparse() -> None:
    records, external = create_records(Partial(TXID, {3: PAYMENT, 1: DATA}), AT_1000)
    [(_, bins)] = records
    assert not external
    assert bins["utxos"] == [None, None, None, layout.utxo_hash(TXID, 3, PAYMENT)]
    assert bins["outputs"] == [None, DATA.serialise(), None, PAYMENT.serialise()]
    assert (bins["totalUtxos"], bins["recordUtxos"], bins["inputs"]) == (4, 1, [])


def test_the_highest_vout_decides_the_number_of_records() -> None:
    records, external = create_records(Partial(TXID, {3278: PAYMENT}), AT_1000)
    assert len(records) == 26
    assert external
    assert records[0][1]["spentExtraRecs"] == 24
    assert records[25][1]["utxos"][78] == layout.utxo_hash(TXID, 3278, PAYMENT)


@pytest.mark.parametrize("vouts", [[], [-1], [1 << 20]])
def test_a_partial_creation_without_outputs_or_out_of_range_is_refused(vouts: list[int]) -> None:
    with pytest.raises(ValueError, match="partial transaction"):
        create_records(Partial(TXID, dict.fromkeys(vouts, PAYMENT)), AT_1000)


def test_the_raw_transaction_comes_back_from_the_record(first_payment: Transaction) -> None:
    assert layout.raw_transaction(create_records(first_payment, AT_1000).master) == first_payment.raw
    marked = first_payment.raw[:4] + bytes.fromhex("0000000000ef") + first_payment.raw[4:5]
    spend = first_payment.inputs[0]._replace(satoshis=7, locking_script=b"\x51").serialise()
    raw = marked + spend + first_payment.raw[5 + len(first_payment.inputs[0].raw) :]
    extended = parse_transaction(raw)
    assert layout.raw_transaction(create_records(extended, AT_1000).master) == raw
    with pytest.raises(ValueError, match="not known as a whole"):
        layout.raw_transaction(create_records(Partial(TXID, {0: PAYMENT}), AT_1000).master)
