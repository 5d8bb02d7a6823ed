"""Transactions and blocks as bytes: a parser for the standard and the extended format (BRC-30), and the way back.

Malformed input raises ValueError that names what is wrong. A count is refused where the bytes that follow are too few
for it, so a hostile one allocates nothing.
"""

import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from protocol.hashing import varint

EXTENDED_MARKER: Final = bytes.fromhex("0000000000ef")
COINBASE_OUTPOINT: Final = bytes(32) + b"\xff\xff\xff\xff"
BLOCK_HEADER_BYTES: Final = 80

_MIN_INPUT_BYTES: Final = 41  # outpoint 36, script length 1, sequence 4
_MIN_OUTPUT_BYTES: Final = 9  # satoshis 8, script length 1
_MIN_TRANSACTION_BYTES: Final = 10  # version 4, two counts, locktime 4

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

# First byte of a longer varint: its packing, the least value that needs it, its bytes.
_VARINTS: Final = {0xFD: (_U16, 0xFD, 3), 0xFE: (_U32, 0x10000, 5), 0xFF: (_U64, 0x1_0000_0000, 9)}


class Input(NamedTuple):
    """raw: the standard serialisation. previous_txid: wire order. satoshis, locking_script: of the output it spends,
    known in the extended format only."""

    raw: bytes
    previous_txid: bytes
    previous_vout: int
    satoshis: int | None = None
    locking_script: bytes | None = None

    def serialise(self) -> bytes:
        """As records keep it: the standard serialisation, and satoshis and locking script where they are known."""
        if self.satoshis is None or self.locking_script is None:
            return self.raw
        return self.raw + _U64.pack(self.satoshis) + varint(len(self.locking_script)) + self.locking_script


class Output(NamedTuple):
    satoshis: int
    locking_script: bytes

    def serialise(self) -> bytes:
        return _U64.pack(self.satoshis) + varint(len(self.locking_script)) + self.locking_script


class Transaction(NamedTuple):
    """txid: wire order. raw: as it was parsed. size, extended_size: bytes in either format; extended_size is None where
    the values of the inputs are not known."""

    txid: bytes
    version: int
    inputs: list[Input]
    outputs: list[Output]
    locktime: int
    raw: bytes
    size: int
    extended_size: int | None

    @property
    def is_coinbase(self) -> bool:
        return len(self.inputs) == 1 and self.inputs[0].raw.startswith(COINBASE_OUTPOINT)

    @property
    def fee(self) -> int | None:
        """Satoshis; 0 for a coinbase, None where the values of the inputs are not known."""
        if self.is_coinbase:
            return 0
        if self.extended_size is None:
            return None
        spent = sum(spend.satoshis or 0 for spend in self.inputs)
        return spent - sum(output.satoshis for output in self.outputs)


def read_varint(raw: bytes, position: int, what: str) -> tuple[int, int]:
    """(value, position after it). Raises ValueError that names `what`, also where a shorter form would have done: a
    transaction has one serialisation, and one txid."""
    try:
        first = raw[position]
        if first < 0xFD:
            return first, position + 1
        packed, least, size = _VARINTS[first]
        value = packed.unpack_from(raw, position + 1)[0]
    except (IndexError, struct.error):
        raise ValueError(f"{what}: truncated") from None
    if value < least:
        raise ValueError(f"{what}: {value} is not in its shortest form")
    return value, position + size


def parse_transaction(raw: bytes) -> Transaction:
    """The transaction that `raw` holds, and nothing after it. Raises ValueError naming what is wrong."""
    transaction, end = read_transaction(raw, 0)
    if end != len(raw):
        raise ValueError(f"transaction: {len(raw) - end} bytes after its end")
    return transaction


def read_transaction(raw: bytes, start: int) -> tuple[Transaction, int]:
    """The transaction at `start` (a byte offset), and the offset after it. Raises ValueError naming what is wrong."""
    if len(raw) - start < _MIN_TRANSACTION_BYTES:
        raise ValueError("transaction: truncated")
    extended = raw[start + 4 : start + 10] == EXTENDED_MARKER
    inputs_start = start + (10 if extended else 4)
    inputs, outputs_start = _read_inputs(raw, inputs_start, extended)
    outputs, end = _read_outputs(raw, outputs_start)
    if len(raw) - end < 4:
        raise ValueError("locktime: truncated")
    own = raw[start : end + 4]
    if not extended:
        standard, extended_size = own, None
    else:
        standard = b"".join(
            (
                raw[start : start + 4],
                varint(len(inputs)),
                *(spend.raw for spend in inputs),
                raw[outputs_start : end + 4],
            )
        )
        extended_size = len(own)
    txid = sha256(sha256(standard).digest()).digest()
    version, locktime = _U32.unpack_from(raw, start)[0], _U32.unpack_from(raw, end)[0]
    return Transaction(txid, version, inputs, outputs, locktime, own, len(standard), extended_size), end + 4


def _read_count(raw: bytes, position: int, what: str, least: int) -> tuple[int, int]:
    count, position = read_varint(raw, position, f"{what} count")
    if count == 0:
        raise ValueError(f"{what} count: 0")
    if count * least > len(raw) - position:
        raise ValueError(f"{what} count: {count} do not fit into the {len(raw) - position} bytes that follow")
    return count, position


def _read_inputs(raw: bytes, position: int, extended: bool) -> tuple[list[Input], int]:
    count, position = _read_count(raw, position, "input", _MIN_INPUT_BYTES)
    inputs = []
    size = len(raw)
    for index in range(count):
        start = position
        script_bytes, position = read_varint(raw, start + 36, f"input {index}: script length")
        position += script_bytes + 4
        if position > size:
            raise ValueError(f"input {index}: truncated")
        own = raw[start:position]
        satoshis = script = None
        if extended:
            if position + 8 > size:
                raise ValueError(f"input {index}: satoshis: truncated")
            satoshis = _U64.unpack_from(raw, position)[0]
            script, position = _read_script(raw, position + 8, f"input {index}: previous locking script")
        inputs.append(Input(own, own[:32], _U32.unpack_from(own, 32)[0], satoshis, script))
    return inputs, position


def _read_outputs(raw: bytes, position: int) -> tuple[list[Output], int]:
    count, position = _read_count(raw, position, "output", _MIN_OUTPUT_BYTES)
    outputs = []
    for index in range(count):
        output, position = read_output(raw, position, f"output {index}")
        outputs.append(output)
    return outputs, position


def _read_script(raw: bytes, position: int, what: str) -> tuple[bytes, int]:
    length, position = read_varint(raw, position, f"{what}: length")
    end = position + length
    if end > len(raw):
        raise ValueError(f"{what}: truncated")
    return raw[position:end], end


def read_output(raw: bytes, position: int, what: str = "output") -> tuple[Output, int]:
    """The serialised output at `position`, and the offset after it. Raises ValueError that names `what`."""
    if position + _MIN_OUTPUT_BYTES > len(raw):
        raise ValueError(f"{what}: truncated")
    script, end = _read_script(raw, position + 8, f"{what}: locking script")
    return Output(_U64.unpack_from(raw, position)[0], script), end


def iter_block(raw: bytes) -> Iterator[Transaction]:
    """The transactions of a raw block (80-byte header, varint count, transactions), in their order. Raises ValueError
    naming what is wrong, at the latest after the last transaction where bytes follow it."""
    if len(raw) < BLOCK_HEADER_BYTES:
        raise ValueError("block header: truncated")
    count, position = _read_count(raw, BLOCK_HEADER_BYTES, "transaction", _MIN_TRANSACTION_BYTES)
    for index in range(count):
        try:
            transaction, position = read_transaction(raw, position)
        except ValueError as error:
            raise ValueError(f"transaction {index}: {error}") from None
        yield transaction
    if position != len(raw):
        raise ValueError(f"block: {len(raw) - position} bytes after its last transaction")
