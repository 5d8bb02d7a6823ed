"""Transactions and blocks as bytes: a parser for the standard and the extended format (BRC-30), and the way back.

Malformed input raises ValueError that names what is wrong. A count is refused where the bytes that follow are too few
for it, so a hostile one allocates nothing.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
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
_OUTPUT_HEAD = struct.Struct("<QB")  # satoshis, first byte of the script's length

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


@dataclass(slots=True)
class Transaction:
    """A transaction in the parts that records are made of. Its inputs and outputs are made into objects when somebody
    asks for them.

    txid: wire order. raw: as it was parsed. standard_inputs: each in the standard format. serialised_inputs: each as
    records keep it (see Input); in the standard format these are one list. spent_outputs: what they spend, one by one;
    None where that is not known. satoshis, locking_scripts, serialised_outputs: of each output. size,
    extended_size: bytes in either format; extended_size is None where the values of the inputs are not known."""

    txid: bytes
    raw: bytes
    version: int
    locktime: int
    standard_inputs: list[bytes]
    serialised_inputs: list[bytes]
    spent_outputs: list[Output] | None
    satoshis: list[int]
    locking_scripts: list[bytes]
    serialised_outputs: list[bytes]
    size: int
    extended_size: int | None
    is_coinbase: bool
    _inputs: list[Input] | None = field(default=None, init=False, repr=False, compare=False)
    _outputs: list[Output] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def inputs(self) -> list[Input]:
        if self._inputs is None:
            self._inputs = list(map(_input, self.standard_inputs, self.serialised_inputs))
        return self._inputs

    @property
    def outputs(self) -> list[Output]:
        if self._outputs is None:
            self._outputs = list(map(Output, self.satoshis, self.locking_scripts))
        return self._outputs

    @property
    def outpoints(self) -> list[tuple[bytes, int]]:
        """The txid (wire order) and vout of each output that it spends, input by input."""
        return [(each[:32], _U32.unpack_from(each, 32)[0]) for each in self.standard_inputs]

    def in_standard_format(self) -> "Transaction":
        """The same, without what the extended format says of its inputs."""
        if self.extended_size is None:
            return self
        inputs, outputs = varint(len(self.standard_inputs)), varint(len(self.serialised_outputs))
        ends = _U32.pack(self.version), _U32.pack(self.locktime)
        parts = ends[0], inputs, *self.standard_inputs, outputs, *self.serialised_outputs, ends[1]
        return parse_transaction(b"".join(parts))

    @property
    def spent_satoshis(self) -> int | None:
        """The sum of the inputs' values, None where they are not known."""
        return None if self.spent_outputs is None else sum([output.satoshis for output in self.spent_outputs])

    @property
    def fee(self) -> int | None:
        """Satoshis; 0 for a coinbase, None where the values of the inputs are not known."""
        if self.is_coinbase:
            return 0
        spent = self.spent_satoshis
        return None if spent is None else spent - sum(self.satoshis)


def _input(standard: bytes, serialised: bytes) -> Input:
    known = () if standard is serialised else read_output(serialised, len(standard))[0]
    return Input(standard, standard[:32], _U32.unpack_from(standard, 32)[0], *known)


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
    standard_inputs, serialised_inputs, spent_outputs, outputs_start = _read_inputs(raw, inputs_start, extended)
    satoshis, locking_scripts, serialised_outputs, outputs_end = _read_outputs(raw, outputs_start)
    end = outputs_end + 4
    if end > len(raw):
        raise ValueError("locktime: truncated")
    own = standard = raw[start:end]
    if extended:
        count = varint(len(standard_inputs))
        standard = b"".join((own[:4], count, *standard_inputs, raw[outputs_start:end]))
    transaction = Transaction(
        sha256(sha256(standard).digest()).digest(),
        own,
        _U32.unpack_from(raw, start)[0],
        _U32.unpack_from(raw, outputs_end)[0],
        standard_inputs,
        serialised_inputs,
        spent_outputs,
        satoshis,
        locking_scripts,
        serialised_outputs,
        len(standard),
        len(own) if extended else None,
        len(standard_inputs) == 1 and standard_inputs[0].startswith(COINBASE_OUTPOINT),
    )
    return transaction, end


def _read_count(raw: bytes, position: int, what: str, least: int) -> tuple[int, int]:
    """least: bytes that each of them takes."""
    count, position = read_varint(raw, position, what)
    if count == 0:
        raise ValueError(f"{what}: 0")
    if count * least > len(raw) - position:
        raise ValueError(f"{what}: {count} do not fit into the {len(raw) - position} bytes that follow")
    return count, position


# Most scripts are short, and their length is one byte: the two loops below ask read_varint for longer ones only.


def _read_inputs(
    raw: bytes, position: int, extended: bool
) -> tuple[list[bytes], list[bytes], list[Output] | None, int]:
    """Standard inputs, serialised ones, the outputs that they spend, and the position after them."""
    count, position = _read_count(raw, position, "input count", _MIN_INPUT_BYTES)
    size = len(raw)
    standard: list[bytes] = []
    serialised: list[bytes] = [] if extended else standard
    spent_outputs: list[Output] = []
    for index in range(count):
        start = position
        if start + _MIN_INPUT_BYTES > size:
            raise ValueError(f"input {index}: truncated")
        length, position = raw[start + 36], start + 37
        if length >= 0xFD:
            length, position = read_varint(raw, start + 36, f"input {index}: script length")
        position += length + 4
        if position > size:
            raise ValueError(f"input {index}: truncated")
        standard.append(raw[start:position])
        if extended:
            try:
                spent, position = read_output(raw, position, "previous output")
            except ValueError as error:
                raise ValueError(f"input {index}: {error}") from None
            spent_outputs.append(spent)
            serialised.append(raw[start:position])
    return standard, serialised, spent_outputs if extended else None, position


def _read_outputs(raw: bytes, position: int) -> tuple[list[int], list[bytes], list[bytes], int]:
    """Satoshis, locking script and serialisation of each, and the position after them."""
    count, position = _read_count(raw, position, "output count", _MIN_OUTPUT_BYTES)
    size = len(raw)
    satoshis, locking_scripts, serialised = [], [], []
    for index in range(count):
        start = position
        if start + _MIN_OUTPUT_BYTES > size:
            raise ValueError(f"output {index}: truncated")
        value, length = _OUTPUT_HEAD.unpack_from(raw, start)
        script = start + 9
        if length >= 0xFD:
            length, script = read_varint(raw, start + 8, f"output {index}: script length")
        position = script + length
        if position > size:
            raise ValueError(f"output {index}: truncated")
        satoshis.append(value)
        locking_scripts.append(raw[script:position])
        serialised.append(raw[start:position])
    return satoshis, locking_scripts, serialised, position


def read_output(raw: bytes, position: int, what: str = "output") -> tuple[Output, int]:
    """The serialised output at `position`, and the offset after it. Raises ValueError that names `what`."""
    if position + _MIN_OUTPUT_BYTES > len(raw):
        raise ValueError(f"{what}: truncated")
    length, script = read_varint(raw, position + 8, what)
    end = script + length
    if end > len(raw):
        raise ValueError(f"{what}: truncated")
    return Output(_U64.unpack_from(raw, position)[0], raw[script:end]), end


def iter_block(raw: bytes) -> Iterator[Transaction]:
    """The transactions of a raw block (80-byte header, varint count, transactions), in their order. Raises ValueError
    naming what is wrong, at the latest after the last transaction where bytes follow it."""
    if len(raw) < BLOCK_HEADER_BYTES:
        raise ValueError("block header: truncated")
    count, position = _read_count(raw, BLOCK_HEADER_BYTES, "transaction count", _MIN_TRANSACTION_BYTES)
    for index in range(count):
        try:
            transaction, position = read_transaction(raw, position)
        except ValueError as error:
            raise ValueError(f"transaction {index}: {error}") from None
        yield transaction
    if position != len(raw):
        raise ValueError(f"block: {len(raw) - position} bytes after its last transaction")
