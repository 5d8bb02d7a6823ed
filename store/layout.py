"""The layout of records: keys, UTXOs, and the bins of every record that a creation makes.

It is the one that Teranode keeps, so that either can work on a set that the other has written. Txids are 32 bytes in
wire order throughout.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from protocol.hashing import utxo_hash, varint
from protocol.mined_block import MinedBlock

from .transaction import EXTENDED_MARKER, Output, Transaction

DEFAULT_UTXO_BATCH_SIZE: Final = 128
# A record whose outputs are all spent takes some 70 bytes for each, one whose spenders were all pruned as many again
# for their marks: with this many outputs it stays below the 1 MiB of a record.
MAX_UTXO_BATCH_SIZE: Final = 4096
DEFAULT_GENESIS_HEIGHT: Final = 620_538  # of the BSV main chain
GENESIS_NEVER: Final = 1 << 32  # above every height
COINBASE_MATURITY: Final = 100  # blocks
MAX_SATOSHIS: Final = 21 * 10**14  # that will ever exist
EXTERNAL_ABOVE_BYTES: Final = 32 * 1024
MAX_PARTIAL_VOUT: Final = (1 << 20) - 1  # the highest one decides how much is allocated
TXID_BYTES: Final = 32
UTXO_BYTES: Final = 32
SPENDING_DATA_BYTES: Final = 36
SPENT_UTXO_BYTES: Final = UTXO_BYTES + SPENDING_DATA_BYTES
KEY_SIZES: Final = (TXID_BYTES, TXID_BYTES + 4)  # bytes: of a master, and of a child or a creation lock
FROZEN: Final = b"\xff" * SPENDING_DATA_BYTES
ALL_SPENT: Final = "ALLSPENT"
# The one bin of a record that bars a transaction's creation while its spends are given back: it stands at the key of
# the master, which is absent to all who do not ask for this bin.
ABANDONED: Final = "abandoned"

# Bins that a creation may give a child record.
CHILD_BINS: Final = (
    "txID", "isCoinbase", "version", "locktime", "sizeInBytes", "extendedSize", "fee", "conflicting", "locked",
    "spendingHeight", "deleteAtHeight", "utxos", "recordUtxos", "spentUtxos", "lastSpentState", "stateSeq",
)  # fmt: skip

# Bins that can be large: not read unless they are asked for.
LARGE_BINS: Final = ("utxos", "inputs", "outputs")

_MAX_OLD_SCRIPT_BYTES: Final = 10_000
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


def is_key(key: object) -> bool:
    """Whether a record can have this key."""
    return type(key) is bytes and len(key) in KEY_SIZES


def child_key(txid: bytes, index: int) -> bytes:
    """The key of child record `index` (1 or more); the master's is the txid."""
    return txid + _U32.pack(index)


def record_key(txid: bytes, index: int) -> bytes:
    """The key of record `index` of a transaction: 0 is the master."""
    return txid + _U32.pack(index) if index else txid


def child_index(key: bytes) -> int:
    """Which record of its transaction has this key: 0 is the master."""
    return int(_U32.unpack_from(key, TXID_BYTES)[0]) if len(key) > TXID_BYTES else 0


def lock_key(txid: bytes) -> bytes:
    """The key of the creation lock."""
    return txid + b"\xff\xff\xff\xff"


def lock_ttl(records: int) -> int:
    """Seconds for which the creation lock of a transaction of so many records is held."""
    return min(30 + 2 * records, 300)


def locate(txid: bytes, vout: int, utxo_batch_size: int) -> tuple[bytes, int]:
    """The key of the record that an output lives in, and its offset there."""
    index, offset = divmod(vout, utxo_batch_size)
    return record_key(txid, index), offset


def is_utxo(locking_script: bytes, height: int, genesis_height: int) -> bool:
    """Whether an output is a UTXO, whatever its amount: not where it only carries data. height: of the block that the
    transaction is created at. genesis_height: of the chain; below it an output whose script is too long to be run can't
    be spent either."""
    if height >= genesis_height:
        return not locking_script.startswith(b"\x00\x6a")
    return not locking_script.startswith((b"\x6a", b"\x00\x6a")) and len(locking_script) <= _MAX_OLD_SCRIPT_BYTES


class SpendingData(NamedTuple):
    """Who spends an output: the spending transaction's id, and the index of its input."""

    txid: bytes
    vin: int


def pack_spending_data(txid: bytes, vin: int) -> bytes:
    return txid + _U32.pack(vin)


def unpack_spending_data(data: bytes) -> SpendingData:
    """Raises ValueError where these are not 36 bytes."""
    if len(data) != SPENDING_DATA_BYTES:
        raise ValueError(f"spending data: {len(data)} bytes, not {SPENDING_DATA_BYTES}")
    return SpendingData(data[:32], _U32.unpack_from(data, 32)[0])


def parse_spending_data(text: str) -> SpendingData:
    """From a rule's result: hexadecimal, the txid in display order. Raises ValueError."""
    txid, vin = unpack_spending_data(bytes.fromhex(text))
    return SpendingData(txid[::-1], vin)


@dataclass(frozen=True, slots=True)
class Partial:
    """Some outputs, by vout, of a transaction that is not known as a whole. txid: 32 bytes, wire order."""

    txid: bytes
    outputs: Mapping[int, Output]
    is_coinbase: bool = False


class CreationOptions(NamedTuple):
    """What a creation needs to know besides the transaction.

    block_height: the height of the chain, and of a coinbase's block. retention: blocks to keep a transaction that is
    done, 0: for ever. now_ms: unix time, milliseconds. utxo_batch_size, genesis_height: the set's."""

    block_height: int
    now_ms: int
    utxo_batch_size: int = DEFAULT_UTXO_BATCH_SIZE
    genesis_height: int = DEFAULT_GENESIS_HEIGHT
    retention: int = 288
    mined: Sequence[MinedBlock] = ()
    conflicting: bool = False
    locked: bool = False


class Creation(NamedTuple):
    """records: key and bins of each, the master first. external: the transaction (or the partial one's outputs) belongs
    in the blob store, before the records are written."""

    records: list[tuple[bytes, dict[str, Any]]]
    external: bool

    @property
    def master(self) -> dict[str, Any]:
        return self.records[0][1]


def create_records(source: Transaction | Partial, options: CreationOptions) -> Creation:
    """All records that keep a transaction. Raises ValueError where a partial one has no output, or a vout out of range;
    where an amount, or a sum of amounts, is more than there is; where a coinbase is not of the block it is mined in."""
    _check_amounts(source)
    if source.is_coinbase:
        _check_own_block(options)
    utxos = _utxos(source, options)
    batch_size = options.utxo_batch_size
    external = len(utxos) > batch_size or _stored_bytes(source) > EXTERNAL_ABOVE_BYTES
    bins = _common_bins(source, options, utxos)
    children = _children(source.txid, bins, utxos, batch_size) if len(utxos) > batch_size else []
    _add_utxo_bins(bins, utxos[:batch_size])
    bins["totalUtxos"] = len(utxos)
    bins["totalExtraRecs"] = len(children)
    bins["spentExtraRecs"] = 0
    if children:
        states = [child.get("stateSeq", 0) for _, child in children]
        bins["spentExtraRecs"] = sum(states)
        bins["childStates"] = b"".join(map(_U16.pack, states))
    bins["createdAt"] = options.now_ms
    if options.mined:
        _add_blocks(bins, options.mined)
    else:
        bins["unminedSince"] = options.block_height
    if external:
        bins["external"] = True
    elif isinstance(source, Transaction):
        bins["inputs"], bins["outputs"] = source.serialised_inputs, source.serialised_outputs
    else:
        bins["inputs"], bins["outputs"] = [], _sparse_outputs(source, len(utxos))
    return Creation([(source.txid, bins), *children], external)


def _check_amounts(source: Transaction | Partial) -> None:
    """Raises ValueError where an amount, or the sum of the outputs or of the inputs, is above MAX_SATOSHIS."""
    if isinstance(source, Partial):
        outputs, inputs = sum(output.satoshis for output in source.outputs.values()), 0
    else:
        outputs, inputs = sum(source.satoshis), source.spent_satoshis or 0
    if outputs > MAX_SATOSHIS or inputs > MAX_SATOSHIS:  # none is negative, so a sum is not below any amount in it
        what, satoshis = ("outputs", outputs) if outputs > MAX_SATOSHIS else ("inputs", inputs)
        raise ValueError(f"{what}: {satoshis} satoshis, where there are {MAX_SATOSHIS} in all")


def move_out(creation: Creation) -> Creation:
    """The same, with the transaction in the blob store: for one that is too big for a record."""
    (key, master), *children = creation.records
    kept = {name: value for name, value in master.items() if name not in ("inputs", "outputs")}
    return Creation([(key, kept | {"external": True}), *children], external=True)


def _check_own_block(options: CreationOptions) -> None:
    """Of a coinbase."""
    for block in options.mined:
        if block.block_height != options.block_height:
            raise ValueError(f"mined: a coinbase at block height {options.block_height} is in no other block")


def _utxos(source: Transaction | Partial, options: CreationOptions) -> list[bytes | None]:
    """The hash of each output, None where it is no UTXO."""
    locking_scripts: Iterable[tuple[int, bytes]]
    satoshis: Sequence[int] | Mapping[int, int]
    if isinstance(source, Transaction):
        utxos: list[bytes | None] = [None] * len(source.satoshis)
        locking_scripts, satoshis = enumerate(source.locking_scripts), source.satoshis
    else:
        utxos = [None] * _slots(source)
        locking_scripts = [(vout, output.locking_script) for vout, output in source.outputs.items()]
        satoshis = {vout: output.satoshis for vout, output in source.outputs.items()}
    txid, height, genesis_height = source.txid, options.block_height, options.genesis_height
    if source.is_coinbase and height == 0:  # that of the first block can't be spent
        return utxos
    for vout, locking_script in locking_scripts:
        if is_utxo(locking_script, height, genesis_height):
            utxos[vout] = utxo_hash(txid, vout, locking_script, satoshis[vout])
    return utxos


def _slots(partial: Partial) -> int:
    if not partial.outputs:
        raise ValueError("partial transaction: has no output")
    last = max(partial.outputs)
    if min(partial.outputs) < 0 or last > MAX_PARTIAL_VOUT:
        raise ValueError(f"partial transaction: a vout is not between 0 and {MAX_PARTIAL_VOUT}")
    return last + 1


def _delete_at_birth(options: CreationOptions, utxos: Sequence[bytes | None]) -> int | None:
    """The delete-at-height rule, on the state that a creation makes. utxos: of all its records."""
    if not options.retention or options.locked:
        return None
    if options.conflicting:
        return options.block_height + options.retention
    if options.mined and not any(utxos):
        return max(block.block_height for block in options.mined) + options.retention
    return None


def _stored_bytes(source: Transaction | Partial) -> int:
    if isinstance(source, Transaction):
        return len(source.raw)
    return sum(len(output.serialise()) for output in source.outputs.values())


def _sparse_outputs(partial: Partial, slots: int) -> list[bytes | None]:
    outputs: list[bytes | None] = [None] * slots
    for vout, output in partial.outputs.items():
        outputs[vout] = output.serialise()
    return outputs


def _common_bins(
    source: Transaction | Partial, options: CreationOptions, utxos: Sequence[bytes | None]
) -> dict[str, Any]:
    bins: dict[str, Any] = {
        "txID": source.txid,
        "isCoinbase": source.is_coinbase,
        "conflicting": options.conflicting,
        "locked": options.locked,
    }
    if isinstance(source, Transaction):
        bins["version"] = source.version
        bins["locktime"] = source.locktime
        bins["sizeInBytes"] = source.size
        if source.extended_size is not None:
            bins["extendedSize"] = source.extended_size
        fee = source.fee
        if fee is not None:
            bins["fee"] = fee
    if source.is_coinbase:
        bins["spendingHeight"] = options.block_height + COINBASE_MATURITY
    dah = _delete_at_birth(options, utxos)
    if dah is not None:
        bins["deleteAtHeight"] = dah
    return bins


def _add_utxo_bins(bins: dict[str, Any], utxos: list[bytes | None]) -> None:
    bins["utxos"] = utxos
    bins["recordUtxos"] = len(utxos) - utxos.count(None)
    bins["spentUtxos"] = 0


def _children(
    txid: bytes, common: Mapping[str, Any], utxos: list[bytes | None], batch_size: int
) -> list[tuple[bytes, dict[str, Any]]]:
    """The child records: all but the first `batch_size` UTXOs are theirs."""
    children = []
    for index, start in enumerate(range(batch_size, len(utxos), batch_size), 1):
        bins = dict(common)
        _add_utxo_bins(bins, utxos[start : start + batch_size])
        if bins["recordUtxos"] == 0:
            bins["lastSpentState"] = ALL_SPENT
            bins["stateSeq"] = 1
        children.append((child_key(txid, index), bins))
    return children


def _add_blocks(bins: dict[str, Any], mined: Sequence[MinedBlock]) -> None:
    bins["blockIDs"], bins["blockHeights"], bins["subtreeIdxs"] = map(list, zip(*mined, strict=True))


def raw_transaction(bins: Mapping[str, Any]) -> bytes | None:
    """The raw transaction out of a master record that is not external, in the format it was created from; None where
    only some of its outputs are known. Raises ValueError where it is damaged."""
    if "version" not in bins:
        return None
    inputs, outputs = bins.get("inputs"), bins.get("outputs")
    if not inputs or not outputs or None in outputs:
        raise ValueError("record: inputs or outputs are missing")
    marker = EXTENDED_MARKER if "extendedSize" in bins else b""
    return b"".join(
        (
            _U32.pack(bins["version"]),
            marker,
            varint(len(inputs)),
            *inputs,
            varint(len(outputs)),
            *outputs,
            _U32.pack(bins["locktime"]),
        )
    )
