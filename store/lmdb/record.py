"""A record of the embedded store, and its bytes: what the rules ask for is in two places of a known form.

    prefix            expiry (unix time in seconds, 0: never), length of the bins, number of slots, lengths of inputs
                      and outputs: uint32 little-endian each; 0xFFFFFFFF slots: there is no bin `utxos`
    bins              all small bins: the fields of Bins in their order, an array in MessagePack
    slots             one per output, SLOT_BYTES each: the size of its UTXO (NO_UTXO: none), then the UTXO
    inputs, outputs   these bins, MessagePack each; empty: no such bin

So a spend decodes the array and looks at one slot. A compiled decoder reads the array, and checks the types of the bins,
several times faster than Python takes numbers out of fixed places. Bytes that do not have this form are Damaged.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgpack
import msgspec

from store.interface import Value

SLOT_BYTES: Final = 69
NO_UTXO: Final = 0xFF
MAX_UTXO_BYTES: Final = SLOT_BYTES - 1
MAX_BIN_NAME_BYTES: Final = 15

_NO_SLOTS: Final = 0xFFFFFFFF
_PREFIX = struct.Struct("<5I")
_EMPTY_SLOT: Final = bytes([NO_UTXO]).ljust(SLOT_BYTES, b"\0")


class Damaged(Exception):
    """What was read is not a record."""


class Bins(msgspec.Struct, array_like=True, gc=False):
    """The small bins, by the names of the layout; None: no such bin. rest: those without a field, as a map that is
    decoded when it is asked for: what is rarely needed, or can be long.

    A field's place is part of the layout: a new one goes to the end."""

    txID: bytes | None = None
    version: int | None = None
    locktime: int | None = None
    fee: int | None = None
    sizeInBytes: int | None = None
    extendedSize: int | None = None
    isCoinbase: bool | None = None
    createdAt: int | None = None
    totalUtxos: int | None = None
    recordUtxos: int | None = None
    spentUtxos: int | None = None
    totalExtraRecs: int | None = None
    spentExtraRecs: int | None = None
    spendingHeight: int | None = None
    unminedSince: int | None = None
    deleteAtHeight: int | None = None
    preserveUntil: int | None = None
    lockHeight: int | None = None
    lockSeq: int | None = None
    stateSeq: int | None = None
    lastSpentState: str | None = None
    conflicting: bool | None = None
    locked: bool | None = None
    creating: bool | None = None
    external: bool | None = None
    blockIDs: list[int] | None = None
    blockHeights: list[int] | None = None
    subtreeIdxs: list[int] | None = None
    utxoSpendableIn: dict[int, int] | None = None
    deletedChildren: dict[str, Any] | None = None
    joined: dict[int, tuple[int, int]] | None = None
    rest: msgspec.Raw = msgspec.Raw(b"\x80")


_FIELDS: Final = frozenset(Bins.__struct_fields__) - {"rest"}
_decode_bins = msgspec.msgpack.Decoder(Bins).decode
_encode = msgspec.msgpack.Encoder().encode


class Record:
    """bins: to be read and assigned. slots: the UTXOs, one after the other; None: no bin `utxos`. is_changed: set by a
    rule that wants the record kept as it is now."""

    __slots__ = ("_rest", "bins", "expires", "inputs", "is_changed", "outputs", "slots")

    def __init__(
        self,
        bins: Bins,
        slots: bytes | bytearray | None = None,
        inputs: bytes = b"",
        outputs: bytes = b"",
        expires: int = 0,
    ) -> None:
        self.bins = bins
        self.slots = slots
        self.inputs = inputs
        self.outputs = outputs
        self.expires = expires
        self.is_changed = False
        self._rest: dict[str, Any] | None = None

    @classmethod
    def unpack(cls, raw: bytes) -> "Record":
        """Raises Damaged."""
        try:
            expires, bins_size, slot_count, inputs_size, outputs_size = _PREFIX.unpack_from(raw)
            slots_at = _PREFIX.size + bins_size
            inputs_at = slots_at + (0 if slot_count == _NO_SLOTS else SLOT_BYTES * slot_count)
            outputs_at = inputs_at + inputs_size
            if outputs_at + outputs_size != len(raw):
                raise Damaged("its parts have other lengths than it says")
            bins = _decode_bins(raw[_PREFIX.size : slots_at])
        except (struct.error, msgspec.MsgspecError) as error:
            raise Damaged(str(error)) from error
        slots = None if slot_count == _NO_SLOTS else raw[slots_at:inputs_at]
        return cls(bins, slots, raw[inputs_at:outputs_at], raw[outputs_at:], expires)

    def pack(self) -> bytes:
        """The record's bytes. Raises TypeError or OverflowError where a bin has a value that cannot be kept."""
        if self._rest is not None:
            self.bins.rest = msgspec.Raw(msgpack.packb(self._rest))
        bins = _encode(self.bins)
        slots = self.slots
        slot_count = _NO_SLOTS if slots is None else len(slots) // SLOT_BYTES
        prefix = _PREFIX.pack(self.expires, len(bins), slot_count, len(self.inputs), len(self.outputs))
        return b"".join((prefix, bins, slots or b"", self.inputs, self.outputs))

    def utxo(self, offset: int) -> bytes | None:
        """The UTXO of an output of this record; None where the output is none, or there is no such output."""
        slots = self.slots
        at = SLOT_BYTES * offset
        if slots is None or at >= len(slots):
            return None
        size = slots[at]
        return None if size == NO_UTXO else bytes(slots[at + 1 : at + 1 + size])

    def set_utxo(self, offset: int, utxo: bytes) -> None:
        """Of an output that the record has."""
        slots = self.slots
        if type(slots) is not bytearray:
            slots = self.slots = bytearray(slots or b"")
        at = SLOT_BYTES * offset
        slots[at : at + SLOT_BYTES] = _slot(utxo)

    @property
    def rest(self) -> dict[str, Any]:
        """The bins that have no field, by name: to be read and assigned."""
        if self._rest is None:
            self._rest = msgpack.unpackb(self.bins.rest, strict_map_key=False)
        return self._rest


def _slot(utxo: bytes | None) -> bytes:
    if utxo is None:
        return _EMPTY_SLOT
    return (bytes([len(utxo)]) + utxo).ljust(SLOT_BYTES, b"\0")
