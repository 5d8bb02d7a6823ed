import contextlib
import json
import tracemalloc
from pathlib import Path

import pytest
from bitcoin.core import CBlock, CTransaction
from hypothesis import given
from hypothesis import strategies as st

from protocol.hashing import varint
from store.transaction import (
    EXTENDED_MARKER,
    Input,
    Output,
    Transaction,
    iter_block,
    parse_transaction,
    read_varint,
)

FIRST_SPENDS = json.loads((Path(__file__).parents[2] / "utxod" / "data" / "first-spends.json").read_text())
RAW = bytes.fromhex(FIRST_SPENDS[1]["raw"])


def extended(transaction: Transaction, values: list[tuple[int, bytes]]) -> bytes:
    inputs = [
        spend._replace(satoshis=satoshis, locking_script=script).serialise()
        for spend, (satoshis, script) in zip(transaction.inputs, values, strict=True)
    ]
    outputs = [output.serialise() for output in transaction.outputs]
    head, tail = transaction.raw[:4], transaction.raw[-4:]
    return b"".join(
        (head, EXTENDED_MARKER, varint(len(inputs)), *inputs, varint(len(outputs)), *outputs, tail),
    )


def test_every_transaction_of_the_real_blocks_is_read_as_python_bitcoinlib_reads_it(blocks: list[bytes]) -> None:
    for raw in blocks:
        theirs = CBlock.deserialize(raw).vtx
        ours = list(iter_block(raw))
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert_same(mine, other)


def assert_same(mine: Transaction, other: CTransaction) -> None:
    assert mine.txid == other.GetTxid()
    assert mine.raw == other.serialize()
    assert mine.size == len(mine.raw)
    assert mine.version == other.nVersion & 0xFFFFFFFF
    assert mine.locktime == other.nLockTime
    assert mine.is_coinbase == other.is_coinbase()
    assert [(spend.previous_txid, spend.previous_vout) for spend in mine.inputs] == [
        (spend.prevout.hash, spend.prevout.n) for spend in other.vin
    ]
    assert [tuple(output) for output in mine.outputs] == [(out.nValue, bytes(out.scriptPubKey)) for out in other.vout]


def test_the_three_famous_transactions_have_their_txids() -> None:
    for known in FIRST_SPENDS:
        transaction = parse_transaction(bytes.fromhex(known["raw"]))
        assert transaction.txid[::-1].hex() == known["txid"]


def test_the_extended_format_has_the_same_txid_and_gives_the_fee() -> None:
    standard = parse_transaction(RAW)
    raw = extended(standard, [(5_000_000_700, b"\x51" * 300)])
    transaction = parse_transaction(raw)
    assert transaction.txid == standard.txid
    assert transaction.inputs == [standard.inputs[0]._replace(satoshis=5_000_000_700, locking_script=b"\x51" * 300)]
    assert transaction.fee == 700
    assert (transaction.size, transaction.extended_size) == (len(RAW), len(raw))
    assert transaction.raw == raw


def test_a_fee_is_not_known_where_the_values_of_the_inputs_are_not() -> None:
    assert parse_transaction(RAW).fee is None
    assert parse_transaction(bytes.fromhex(FIRST_SPENDS[0]["raw"])).fee == 0


def test_a_truncated_transaction_is_refused() -> None:
    for length in range(len(RAW)):
        with pytest.raises(ValueError, match=r"truncated|do not fit"):
            parse_transaction(RAW[:length])


def test_bytes_after_a_transaction_are_refused() -> None:
    with pytest.raises(ValueError, match="1 bytes after its end"):
        parse_transaction(RAW + b"\0")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (RAW[:4] + b"\xff" * 9 + RAW[5:], "input count: .* do not fit"),
        (RAW[:4] + b"\0" + RAW[5:], "input count: 0"),
        (RAW[:41] + b"\xff" * 9 + RAW[42:], "input 0: truncated"),
        (RAW[:4] + b"\xfd\x01\x00" + RAW[5:], "shortest form"),
    ],
)
def test_a_hostile_count_is_refused_by_name_and_allocates_nothing(raw: bytes, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            parse_transaction(raw)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_transaction_or_a_value_error(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert parse_transaction(raw).raw == raw


@given(st.integers(0, 2**64 - 1))
def test_a_varint_comes_back(value: int) -> None:
    assert read_varint(varint(value), 0, "it") == (value, len(varint(value)))


outputs = st.builds(Output, st.integers(0, 2**64 - 1), st.binary(max_size=300))


@given(
    st.lists(st.tuples(st.binary(min_size=36, max_size=36), st.binary(max_size=300)), min_size=1, max_size=5),
    st.lists(outputs, min_size=1, max_size=5),
    st.binary(min_size=8, max_size=8),
)
def test_what_is_serialised_is_parsed_to_the_same(
    spends: list[tuple[bytes, bytes]], outputs: list[Output], ends: bytes
) -> None:
    inputs = [outpoint + varint(len(script)) + script + b"\xff" * 4 for outpoint, script in spends]
    packed = [output.serialise() for output in outputs]
    raw = b"".join((ends[:4], varint(len(inputs)), *inputs, varint(len(packed)), *packed, ends[4:]))
    transaction = parse_transaction(raw)
    assert [spend.serialise() for spend in transaction.inputs] == inputs
    assert transaction.outputs == outputs
    assert isinstance(transaction.inputs[0], Input)


def test_a_block_with_a_wrong_count_is_refused(blocks: list[bytes]) -> None:
    raw = blocks[0]
    count, position = read_varint(raw, 80, "count")
    with pytest.raises(ValueError, match="after its last transaction"):
        list(iter_block(raw[:80] + varint(count - 1) + raw[position:]))
    with pytest.raises(ValueError, match=f"transaction {count}: transaction: truncated"):
        list(iter_block(raw[:80] + varint(count + 1) + raw[position:]))
    with pytest.raises(ValueError, match="do not fit"):
        next(iter_block(raw[:80] + b"\xff" * 9 + raw[position:]))
