"""The layout of records: keys, UTXOs, and the bins of every record that a creation makes.

It is the one that Teranode keeps, so that either can work on a set that the other has written. Txids are 32 bytes in
wire order throughout.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from protocol.hashing import utxo_hash, varint
from protocol.mined_block import MinedBlock

from .transaction import EXTENDED_MARKER, Output, Transaction

LAYOUT_VERSION: Final = 2
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


@dataclass(frozen=True, slots=True)
class CreationOptions:
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
    check_amounts(source)
    if source.is_coinbase and any(block.block_height != options.block_height for block in options.mined):
        raise ValueError(f"mined: a coinbase at block height {options.block_height} is in no other block")
    outputs = _output_slots(source)
    batch_size = options.utxo_batch_size
    utxos = _utxos(source, outputs, options)
    slices = [utxos[start : start + batch_size] for start in range(0, len(utxos), batch_size)]
    external = len(slices) > 1 or _stored_bytes(source) > EXTERNAL_ABOVE_BYTES
    common = _common_bins(source, options)
    dah = _delete_at_birth(options, is_spendable=any(utxos))
    if dah is not None:
        common["deleteAtHeight"] = dah
    records = [
        (record_key(source.txid, index), {**common, **_utxo_bins(part, is_child=index > 0)})
        for index, part in enumerate(slices)
    ]
    master = records[0][1]
    children = [bins for _, bins in records[1:]]
    master["totalUtxos"] = len(outputs)
    master["totalExtraRecs"] = len(children)
    master["spentExtraRecs"] = sum(1 for bins in children if bins["recordUtxos"] == 0)
    if children:
        master["childStates"] = b"".join(_U16.pack(bins.get("stateSeq", 0)) for bins in children)
    master.update(_master_bins(options))
    if external:
        master["external"] = True
    else:
        master["inputs"] = [] if isinstance(source, Partial) else [spend.serialise() for spend in source.inputs]
        master["outputs"] = [None if output is None else output.serialise() for output in outputs]
    return Creation(records, external)


def check_amounts(source: Transaction | Partial) -> None:
    """Raises ValueError where an amount, or the sum of the outputs or of the inputs, is above MAX_SATOSHIS."""
    if isinstance(source, Partial):
        sums = {"outputs": sum(output.satoshis for output in source.outputs.values())}
    else:
        sums = {
            "outputs": sum(output.satoshis for output in source.outputs),
            "inputs": sum(spend.satoshis or 0 for spend in source.inputs),
        }
    for what, satoshis in sums.items():  # none is negative, so a sum is not below any amount in it
        if satoshis > MAX_SATOSHIS:
            raise ValueError(f"{what}: {satoshis} satoshis, where there are {MAX_SATOSHIS} in all")


def move_out(creation: Creation) -> Creation:
    """The same, with the transaction in the blob store: for one that is too big for a record."""
    (key, master), *children = creation.records
    kept = {name: value for name, value in master.items() if name not in ("inputs", "outputs")}
    return Creation([(key, kept | {"external": True}), *children], external=True)


def _output_slots(source: Transaction | Partial) -> list[Output | None]:
    if isinstance(source, Transaction):
        return list(source.outputs)
    if not source.outputs:
        raise ValueError("partial transaction: has no output")
    if min(source.outputs) < 0 or max(source.outputs) > MAX_PARTIAL_VOUT:
        raise ValueError(f"partial transaction: a vout is not between 0 and {MAX_PARTIAL_VOUT}")
    slots: list[Output | None] = [None] * (max(source.outputs) + 1)
    for vout, output in source.outputs.items():
        slots[vout] = output
    return slots


def _utxos(
    source: Transaction | Partial, outputs: Sequence[Output | None], options: CreationOptions
) -> list[bytes | None]:
    height, genesis_height = options.block_height, options.genesis_height
    if source.is_coinbase and height == 0:  # that of the first block can't be spent
        return [None] * len(outputs)
    return [
        utxo_hash(source.txid, vout, output.locking_script, output.satoshis)
        if output is not None and is_utxo(output.locking_script, height, genesis_height)
        else None
        for vout, output in enumerate(outputs)
    ]


def _delete_at_birth(options: CreationOptions, *, is_spendable: bool) -> int | None:
    """The delete-at-height rule, on the state that a creation makes."""
    if not options.retention or options.locked:
        return None
    if options.conflicting:
        return options.block_height + options.retention
    if options.mined and not is_spendable:
        return max(block.block_height for block in options.mined) + options.retention
    return None


def _stored_bytes(source: Transaction | Partial) -> int:
    if isinstance(source, Transaction):
        return len(source.raw)
    return sum(len(output.serialise()) for output in source.outputs.values())


def _common_bins(source: Transaction | Partial, options: CreationOptions) -> dict[str, Any]:
    bins: dict[str, Any] = {"txID": source.txid, "isCoinbase": source.is_coinbase}
    if isinstance(source, Transaction):
        bins |= {"version": source.version, "locktime": source.locktime, "sizeInBytes": source.size}
        if source.extended_size is not None:
            bins["extendedSize"] = source.extended_size
        if source.fee is not None:
            bins["fee"] = source.fee
    bins |= {"conflicting": options.conflicting, "locked": options.locked}
    if source.is_coinbase:
        bins["spendingHeight"] = options.block_height + COINBASE_MATURITY
    return bins


def _utxo_bins(utxos: list[bytes | None], is_child: bool) -> dict[str, Any]:
    count = len(utxos) - utxos.count(None)
    bins: dict[str, Any] = {"utxos": utxos, "recordUtxos": count, "spentUtxos": 0}
    if is_child and count == 0:
        bins["lastSpentState"] = ALL_SPENT
        bins["stateSeq"] = 1
    return bins


def _master_bins(options: CreationOptions) -> dict[str, Any]:
    bins: dict[str, Any] = {"createdAt": options.now_ms}
    if not options.mined:
        return bins | {"unminedSince": options.block_height}
    block_ids, heights, subtrees = zip(*options.mined, strict=True)
    return bins | {"blockIDs": list(block_ids), "blockHeights": list(heights), "subtreeIdxs": list(subtrees)}


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
