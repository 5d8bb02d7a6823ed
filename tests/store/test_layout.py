from hashlib import sha256

import pytest

from protocol import MinedBlock
from protocol.hashing import utxo_hash, varint
from store import layout
from store.layout import CreationOptions, Partial, create_records
from store.transaction import EXTENDED_MARKER, Output, Transaction, parse_transaction

TXID = bytes(range(32))
AT_1000 = CreationOptions(block_height=1000, now_ms=1_700_000_000_000)
PAYMENT = Output(1, b"\x51")
DATA = Output(0, b"\x00\x6adata")


def of_outputs(first_payment: Transaction, outputs: list[Output]) -> Transaction:
    """A transaction like the first payment, with these outputs."""
    spend, packed = first_payment.inputs[0].raw, [output.serialise() for output in outputs]
    return parse_transaction(b"".join((b"\1\0\0\0\1", spend, varint(len(packed)), *packed, bytes(4))))


def of_inputs(first_payment: Transaction, spent: list[Output]) -> Transaction:
    """A transaction in the extended format, with the outputs of the first payment, that spends these."""
    spends = [first_payment.inputs[0]._replace(satoshis=value, locking_script=script) for value, script in spent]
    inputs = b"".join(spend.serialise() for spend in spends)
    outputs = b"".join(output.serialise() for output in first_payment.outputs)
    return parse_transaction(
        b"".join((b"\1\0\0\0", EXTENDED_MARKER, varint(len(spends)), inputs, b"\2", outputs, bytes(4)))
    )


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
    assert utxo_hash(TXID, 300, output.locking_script, output.satoshis) == expected


GENESIS = 620_538


@pytest.mark.parametrize(
    ("script", "before", "after"),
    [
        (b"", True, True),
        (b"\x51", True, True),
        (b"\x51\x6a", True, True),
        (b"\x00", True, True),
        (b"\x6a", False, True),
        (b"\x6adata", False, True),
        (b"\x00\x6a", False, False),
        (b"\x00\x6a\x01", False, False),
        (b"\x51" * 10_000, True, True),
        (b"\x51" * 10_001, False, True),
        (b"\x00\x6a" + b"\x51" * 10_001, False, False),
    ],
)
def test_which_outputs_are_utxos_goes_by_the_height_and_never_by_the_value(
    script: bytes, before: bool, after: bool
) -> None:
    for height, expected in ((0, before), (GENESIS - 1, before), (GENESIS, after), (GENESIS + 1, after)):
        assert layout.is_utxo(script, height, GENESIS) is expected
    assert layout.is_utxo(script, 0, 0) is after
    assert layout.is_utxo(script, 2**32 - 1, layout.GENESIS_NEVER) is before
    for satoshis in (0, 1):
        partial = Partial(TXID, {0: Output(satoshis, script)})
        for height, expected in ((GENESIS - 1, before), (GENESIS, after)):
            [(_, bins)] = create_records(partial, CreationOptions(height, 0)).records
            assert (bins["utxos"][0] is not None, bins["recordUtxos"]) == (expected, int(expected))


def test_the_coinbase_of_block_0_is_no_utxo_and_all_else_at_its_height_is(
    first_coinbase: Transaction, first_payment: Transaction
) -> None:
    for height, count in ((0, 0), (1, 1)):
        assert create_records(first_coinbase, CreationOptions(height, 0)).master["recordUtxos"] == count
    assert create_records(first_payment, CreationOptions(0, 0)).master["recordUtxos"] == 2


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
        "utxos": [
            utxo_hash(key, vout, output.locking_script, output.satoshis)
            for vout, output in enumerate(first_payment.outputs)
        ],
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
    master = create_records(first_payment, CreationOptions(1002, 0, mined=mined)).master
    assert (master["blockIDs"], master["blockHeights"], master["subtreeIdxs"]) == ([7, 9], [1000, 1001], [3, 0])
    assert "unminedSince" not in master


def test_every_record_of_a_coinbase_is_spendable_after_its_maturity(first_coinbase: Transaction) -> None:
    master = create_records(first_coinbase, AT_1000).master
    assert (master["isCoinbase"], master["spendingHeight"], master["fee"]) == (True, 1100, 0)
    partial = Partial(TXID, {0: PAYMENT, 300: PAYMENT}, is_coinbase=True)
    assert [bins["spendingHeight"] for _, bins in create_records(partial, AT_1000).records] == [1100] * 3


def test_a_coinbase_counts_from_the_block_it_is_mined_in_and_is_in_no_other(first_coinbase: Transaction) -> None:
    mined = [MinedBlock(7, 1000, 0)]
    assert create_records(first_coinbase, CreationOptions(1000, 0, mined=mined)).master["spendingHeight"] == 1100
    for blocks in ([MinedBlock(7, 999, 0)], [MinedBlock(7, 1001, 0)], [*mined, MinedBlock(8, 1001, 0)]):
        with pytest.raises(ValueError, match="mined: a coinbase at block height 1000 is in no other block"):
            create_records(first_coinbase, CreationOptions(1000, 0, mined=blocks))


def test_what_is_no_coinbase_may_be_mined_at_any_height(first_payment: Transaction) -> None:
    mined = [MinedBlock(7, 900, 0), MinedBlock(8, 1100, 0)]
    assert "spendingHeight" not in create_records(first_payment, CreationOptions(1000, 0, mined=mined)).master


def test_a_conflicting_creation_is_marked_for_deletion_at_once(first_payment: Transaction) -> None:
    marked = create_records(first_payment, CreationOptions(1000, 0, retention=288, conflicting=True)).master
    assert (marked["conflicting"], marked["deleteAtHeight"]) == (True, 1288)
    kept = create_records(first_payment, CreationOptions(1000, 0, retention=0, conflicting=True)).master
    assert "deleteAtHeight" not in kept


def test_more_outputs_than_a_record_holds_make_several_records_and_an_external_one(first_payment: Transaction) -> None:
    transaction = of_outputs(first_payment, [PAYMENT] * 3 + [DATA] * 2 + [PAYMENT, DATA])
    records, external = create_records(transaction, CreationOptions(1000, 5, utxo_batch_size=2))
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
    (_, master), (_, child) = create_records(transaction, CreationOptions(1000, 0, utxo_batch_size=1)).records
    assert (master["totalExtraRecs"], master["spentExtraRecs"]) == (1, 1)
    assert (child["recordUtxos"], child["lastSpentState"]) == (0, "ALLSPENT")


def test_a_master_knows_the_state_of_each_child_from_the_start(first_payment: Transaction) -> None:
    transaction = of_outputs(first_payment, [PAYMENT, PAYMENT, DATA, PAYMENT])
    (_, master), *children = create_records(transaction, CreationOptions(1000, 0, utxo_batch_size=1)).records
    assert [bins.get("stateSeq") for _, bins in children] == [None, 1, None]
    assert master["childStates"] == b"\0\0" + b"\1\0" + b"\0\0"
    assert master["spentExtraRecs"] == 1
    assert all("childStates" not in bins for _, bins in children)
    assert "childStates" not in create_records(transaction, CreationOptions(1000, 0)).master


def test_what_is_mined_and_has_nothing_to_spend_is_done_at_birth(first_payment: Transaction) -> None:
    data = of_outputs(first_payment, [DATA, DATA])
    mined = [MinedBlock(7, 1010, 0), MinedBlock(8, 990, 0)]
    for batch_size in (128, 1):
        at_1000 = CreationOptions(1000, 0, utxo_batch_size=batch_size, retention=288, mined=mined)
        for _, bins in create_records(data, at_1000).records:
            assert bins["deleteAtHeight"] == 1010 + 288
    for source, options in (
        (data, CreationOptions(1000, 0)),  # not mined
        (data, CreationOptions(1000, 0, mined=mined, retention=0)),  # is kept for ever
        (data, CreationOptions(1000, 0, mined=mined, locked=True)),
        (of_outputs(first_payment, [DATA, PAYMENT]), CreationOptions(1000, 0, mined=mined)),
        (of_outputs(first_payment, [DATA, PAYMENT]), CreationOptions(1000, 0, mined=mined, utxo_batch_size=1)),
    ):
        for _, bins in create_records(source, options).records:
            assert "deleteAtHeight" not in bins


@pytest.mark.parametrize(
    "amounts",
    [[layout.MAX_SATOSHIS + 1], [layout.MAX_SATOSHIS, 1], [2**63], [2**64 - 1], [2**64 - 1] * 2],
)
def test_an_amount_or_a_sum_above_all_there_is_is_refused(first_payment: Transaction, amounts: list[int]) -> None:
    outputs = [Output(amount, b"\x51") for amount in amounts]
    for source in (of_outputs(first_payment, outputs), Partial(TXID, dict(enumerate(outputs)))):
        with pytest.raises(
            ValueError, match=f"outputs: {sum(amounts)} satoshis, where there are {layout.MAX_SATOSHIS}"
        ):
            create_records(source, AT_1000)
    spender = of_inputs(first_payment, [Output(amount, b"\x51") for amount in amounts])
    with pytest.raises(ValueError, match=f"inputs: {sum(amounts)} satoshis"):
        create_records(spender, AT_1000)


def test_all_there_is_may_be_in_one_transaction(first_payment: Transaction) -> None:
    half = Output(layout.MAX_SATOSHIS // 2, b"\x51")
    assert create_records(of_outputs(first_payment, [half, half]), AT_1000).master["recordUtxos"] == 2


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
    assert bins["utxos"] == [None, None, None, utxo_hash(TXID, 3, PAYMENT.locking_script, PAYMENT.satoshis)]
    assert bins["outputs"] == [None, DATA.serialise(), None, PAYMENT.serialise()]
    assert (bins["totalUtxos"], bins["recordUtxos"], bins["inputs"]) == (4, 1, [])


def test_the_highest_vout_decides_the_number_of_records() -> None:
    records, external = create_records(Partial(TXID, {3278: PAYMENT}), AT_1000)
    assert len(records) == 26
    assert external
    assert records[0][1]["spentExtraRecs"] == 24
    assert records[25][1]["utxos"][78] == utxo_hash(TXID, 3278, PAYMENT.locking_script, PAYMENT.satoshis)


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
    assert layout.raw_transaction(create_records(Partial(TXID, {0: PAYMENT}), AT_1000).master) is None


@pytest.mark.parametrize("missing", ["inputs", "outputs"])
def test_a_record_of_a_whole_transaction_that_has_lost_a_part_of_it_is_damaged(
    first_payment: Transaction, missing: str
) -> None:
    bins = create_records(first_payment, AT_1000).master
    for damaged in (bins | {missing: []}, {name: value for name, value in bins.items() if name != missing}):
        with pytest.raises(ValueError, match="inputs or outputs are missing"):
            layout.raw_transaction(damaged)
