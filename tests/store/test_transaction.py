import contextlib
import json
import tracemalloc
from hashlib import sha256
from pathlib import Path

import pytest
from bitcoin.core import CBlock, CTransaction
from bitcoin.core.serialize import SerializationError
from hypothesis import given
from hypothesis import strategies as st

from protocol.hashing import varint
from store.transaction import (
    COINBASE_OUTPOINT,
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
BEFORE_OUTPUTS = RAW[: 5 + len(parse_transaction(RAW).inputs[0].raw)]
BEFORE_VALUES = RAW[:4] + EXTENDED_MARKER + BEFORE_OUTPUTS[4:]


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
            assert_whole(mine, mine.raw)


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
    assert [tuple(output) for output in mine.outputs] == [
        (out.nValue & 0xFFFFFFFF_FFFFFFFF, bytes(out.scriptPubKey)) for out in other.vout
    ]


# A small transaction in each format, and what damage puts into it: above all what counts and lengths can be.
WHOLE = [RAW, extended(parse_transaction(RAW), [(5_000_000_700, b"\x51" * 300)])]
PIECES = st.one_of(
    st.binary(max_size=9),
    st.integers(0, 2**64 - 1).map(varint),
    st.sampled_from([b"\0", b"\1", b"\xfd", b"\xfe", b"\xff" * 9, b"\xfd\1\0", EXTENDED_MARKER]),
)


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
    assert transaction.in_standard_format() == standard


@pytest.mark.parametrize("size", [0, 0xFC, 0xFD, 0xFFFF, 0x10000])
def test_scripts_of_every_length_of_length_are_read(size: int) -> None:
    script = varint(size) + bytes(size)
    spend, output = b"o" * 36 + script + b"\xff" * 4, bytes(8) + script
    for marker, inputs in ((b"", spend * 2), (EXTENDED_MARKER, (spend + output) * 2)):
        raw = RAW[:4] + marker + b"\2" + inputs + b"\2" + output * 2 + RAW[-4:]
        transaction = parse_transaction(raw)
        assert_whole(transaction, raw)
        assert [len(each) for each in transaction.locking_scripts] == [size] * 2


def test_a_coinbase_has_no_input_but_one_that_spends_nothing() -> None:
    nothing, coin = (outpoint + b"\0" + b"\xff" * 4 for outpoint in (COINBASE_OUTPOINT, bytes(36)))
    for inputs, expected in (([nothing], True), ([nothing, nothing], False), ([coin], False), ([coin, nothing], False)):
        raw = b"".join((RAW[:4], varint(len(inputs)), *inputs, b"\1", bytes(9), RAW[-4:]))
        assert parse_transaction(raw).is_coinbase is expected


def test_a_fee_is_not_known_where_the_values_of_the_inputs_are_not() -> None:
    assert parse_transaction(RAW).fee is None
    assert parse_transaction(bytes.fromhex(FIRST_SPENDS[0]["raw"])).fee == 0


def test_a_truncated_transaction_is_refused() -> None:
    for raw in WHOLE:
        for length in range(len(raw)):
            with pytest.raises(ValueError, match=r"truncated|do not fit"):
                parse_transaction(raw[:length])


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
        (BEFORE_VALUES + bytes(8) + b"\xff" * 9 + RAW[-4:], "input 0: previous output: truncated"),
        (BEFORE_OUTPUTS + b"\xff" * 9 + RAW[-4:], "output count: .* do not fit"),
        (BEFORE_OUTPUTS + b"\1" + bytes(8) + b"\xfe\xff\xff\xff\xff" + RAW[-4:], "output 0: truncated"),
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
        assert_whole(parse_transaction(raw), raw)


@given(st.data())
def test_what_is_left_of_a_damaged_transaction_is_one_or_a_value_error(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(WHOLE)))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(raw)))
        piece = data.draw(PIECES)
        raw[start : start + data.draw(st.just(len(piece)) | st.integers(0, 9))] = piece
    damaged = bytes(raw)
    try:
        transaction = parse_transaction(damaged)
    except ValueError:
        assert not is_one_for_bitcoinlib(damaged)
        return
    assert_whole(transaction, damaged)
    if transaction.extended_size is None:
        assert_same(transaction, CTransaction.deserialize(damaged))


def is_one_for_bitcoinlib(raw: bytes) -> bool:
    """Whether python-bitcoinlib reads it, and would write it so. It takes longer forms of integers, transactions
    without inputs or outputs, and witnesses; here they are refused."""
    try:
        transaction = CTransaction.deserialize(raw)
    except (SerializationError, ValueError):
        return False
    has_all = bool(transaction.vin and transaction.vout) and transaction.wit.is_null()
    return has_all and bool(transaction.serialize() == raw)


def assert_whole(transaction: Transaction, raw: bytes) -> None:
    """The parts that records keep are all of it, and its objects say the same."""
    inputs, outputs = transaction.inputs, transaction.outputs
    assert [spend.serialise() for spend in inputs] == transaction.serialised_inputs
    assert [spend.raw for spend in inputs] == transaction.standard_inputs
    assert [output.serialise() for output in outputs] == transaction.serialised_outputs
    assert outputs == list(zip(transaction.satoshis, transaction.locking_scripts, strict=True))
    extended = transaction.extended_size is not None
    assert transaction.spent_satoshis == (sum(spend.satoshis or 0 for spend in inputs) if extended else None)
    assert transaction.raw == raw == packed(transaction, transaction.serialised_inputs, extended=extended)
    standard = packed(transaction, transaction.standard_inputs, extended=False)
    assert transaction.txid == sha256(sha256(standard).digest()).digest()
    assert (transaction.size, transaction.extended_size) == (len(standard), len(raw) if extended else None)


def packed(transaction: Transaction, inputs: list[bytes], *, extended: bool) -> bytes:
    return b"".join(
        (
            transaction.version.to_bytes(4, "little"),
            EXTENDED_MARKER if extended else b"",
            varint(len(inputs)),
            *inputs,
            varint(len(transaction.outputs)),
            *transaction.serialised_outputs,
            transaction.locktime.to_bytes(4, "little"),
        )
    )


def test_a_transaction_of_the_smallest_parts_takes_memory_in_proportion_to_its_bytes() -> None:
    outputs = 100_000
    raw = RAW[:4] + b"\1" + bytes(41) + varint(outputs) + bytes(9 * outputs) + bytes(4)
    tracemalloc.start()
    try:
        assert len(parse_transaction(raw).satoshis) == outputs
        assert tracemalloc.get_traced_memory()[1] < 20 * len(raw)
    finally:
        tracemalloc.stop()


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
