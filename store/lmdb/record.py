"""A record of the embedded store, and its bytes: what the rules ask for is in two places of a known form.

    prefix            CRC-32 of what follows of prefix and bins, expiry (unix time in seconds, 0: never), length of the
                      bins, number of slots, lengths of inputs and outputs: uint32 little-endian each; 0xFFFFFFFF slots:
                      there is no bin `utxos`
    bins              all small bins: the fields of Bins in their order, an array in MessagePack
    slots             one per output, SLOT_BYTES each: the size of its UTXO (NO_UTXO: none), then the UTXO
    inputs, outputs   these bins, MessagePack each; empty: no such bin
    checksum          CRC-32 of all before it, uint32 little-endian

So a spend decodes the array and looks at one slot; who asks for small bins reads prefix and bins alone. A compiled
decoder reads the array, and checks the bins' types, several times faster than Python takes numbers out of fixed places.
Bytes of another form, or with one bit changed in what is read, are Damaged: no expiry, no state of a coin is taken from
them.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn
from zlib import crc32

import msgspec

from store.interface import Value
from store.layout import LARGE_BINS

SLOT_BYTES: Final = 69
NO_UTXO: Final = 0xFF
MAX_UTXO_BYTES: Final = SLOT_BYTES - 1
MAX_BIN_NAME_BYTES: Final = 15

_NO_SLOTS: Final = 0xFFFFFFFF
_PREFIX = struct.Struct("<6I")
_SIZES = struct.Struct("<5I")  # the prefix without its checksum
_UINT32 = struct.Struct("<I")
_SLOT = struct.Struct(f"<B{MAX_UTXO_BYTES}s")
_SOUND: Final = 0x2144DF1C  # the CRC-32 of what ends with its own CRC-32
_EMPTY_SLOT: Final = _SLOT.pack(NO_UTXO, b"")


class Damaged(Exception):
    """What was read is not a record."""


class Bins(msgspec.Struct, array_like=True, gc=False):
    """The small bins, by the names of the layout; None: no such bin. rest: those without a field, as a map that is
    decoded when it is asked for: what is rarely needed, or can be long.

    A field's place is part of the layout: a new one goes to the end, and raises the layout's version, since a program
    that does not know it would drop it."""

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


_NAMES: Final = tuple(name for name in Bins.__struct_fields__ if name != "rest")
_FIELDS: Final = frozenset(_NAMES)
UNSTORABLE: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError, struct.error)
_decode_bins = msgspec.msgpack.Decoder(Bins).decode
_decode_rest = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_part = msgspec.msgpack.Decoder(list[bytes | None]).decode
_encode = msgspec.msgpack.Encoder().encode


class Head(msgspec.Struct, gc=False):
    """What a record begins with. bins: to be read and assigned. expires: unix time in seconds, 0: never."""

    bins: Bins
    expires: int = 0
    _rest: dict[str, Any] | None = None

    @classmethod
    def unpack(cls, raw: bytes) -> "Head":
        """Of a record. Raises Damaged where the head is; what is behind it is not looked at."""
        try:
            checksum, expires, bins_size, _, _, _ = _PREFIX.unpack_from(raw)
            head = raw[_UINT32.size : _PREFIX.size + bins_size]
            if crc32(head) != checksum:
                raise Damaged("its checksum is another one")
            return cls(_decode_bins(head[_PREFIX.size - _UINT32.size :]), expires)
        except (struct.error, msgspec.MsgspecError) as error:
            raise Damaged(str(error)) from error

    @property
    def rest(self) -> dict[str, Any]:
        """The bins that have no field, by name: to be read and assigned."""
        if self._rest is None:
            self._rest = _decode_rest(self.bins.rest)
        return self._rest

    def read_bins(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Of these bins, those that exist; None: all bins."""
        if names is None:
            names = self._names()
        bins = self.bins
        found = {}
        for name in names:
            value = getattr(bins, name) if name in _FIELDS else self._read_bin(name)
            if value is not None:
                found[name] = value
        if "joined" in found:
            found["joined"] = {offset: list(pair) for offset, pair in found["joined"].items()}
        return found

    def _names(self) -> Iterable[str]:
        return (*_NAMES, *self.rest)

    def _read_bin(self, name: str) -> Any:
        """One that has no field; None: no such bin."""
        return self.rest.get(name)


class Record(Head, gc=False):
    """slots: the UTXOs, one after the other; None: no bin `utxos`. inputs, outputs: in MessagePack. is_changed: set by
    a rule that wants the record kept as it is now."""

    slots: bytes | bytearray | None = None
    inputs: bytes = b""
    outputs: bytes = b""
    is_changed: bool = False

    @classmethod
    def unpack(cls, raw: bytes) -> "Record":
        """Raises Damaged."""
        if crc32(raw) != _SOUND:
            raise Damaged("its checksum is another one")
        try:
            _, expires, bins_size, slot_count, inputs_size, outputs_size = _PREFIX.unpack_from(raw)
            slots_at = _PREFIX.size + bins_size
            inputs_at = slots_at + (0 if slot_count == _NO_SLOTS else SLOT_BYTES * slot_count)
            outputs_at = inputs_at + inputs_size
            bins = _decode_bins(raw[_PREFIX.size : slots_at])
        except (struct.error, msgspec.MsgspecError) as error:
            raise Damaged(str(error)) from error
        slots = None if slot_count == _NO_SLOTS else raw[slots_at:inputs_at]
        return cls(bins, expires, None, slots, raw[inputs_at:outputs_at], raw[outputs_at : outputs_at + outputs_size])

    def pack(self) -> bytes:
        """The record's bytes. Raises one of UNSTORABLE where a bin has a value that cannot be kept."""
        if self._rest is not None:
            self.bins.rest = msgspec.Raw(_encode(self._rest))
        return _assemble(self.expires, _encode(self.bins), self.slots, self.inputs, self.outputs)

    def utxo(self, offset: int) -> bytes | None:
        """The UTXO of an output of this record; None where the output is none, or there is no such output."""
        slots = self.slots
        at = SLOT_BYTES * offset
        if slots is None or not 0 <= at < len(slots):
            return None
        size = slots[at]
        return None if size == NO_UTXO else bytes(slots[at + 1 : at + 1 + size])

    def set_utxo(self, offset: int, utxo: bytes) -> None:
        """Of an output that the record has. utxo: at most MAX_UTXO_BYTES."""
        slots = self.slots
        if type(slots) is not bytearray:
            slots = self.slots = bytearray(slots or b"")
        _SLOT.pack_into(slots, SLOT_BYTES * offset, len(utxo), utxo)

    def _names(self) -> Iterable[str]:
        return (*_NAMES, *LARGE_BINS, *self.rest)

    def _read_bin(self, name: str) -> Any:
        if name == "utxos":
            return None if self.slots is None else _unpack_slots(self.slots)
        if name == "inputs":
            return _decode_part(self.inputs) if self.inputs else None
        if name == "outputs":
            return _decode_part(self.outputs) if self.outputs else None
        return self.rest.get(name)


def pack_bins(bins: Mapping[str, Value], expires: int = 0) -> bytes:
    """The bytes of a record with these bins; None: no such bin. expires: unix time in seconds, 0: never. Raises
    ValueError that names the bin that cannot be kept."""
    try:
        return _pack_bins(bins, expires)
    except UNSTORABLE as error:
        raise _unstorable(bins, error) from error


def _unstorable(bins: Mapping[str, Any], fault: Exception) -> ValueError:
    """Names the first of these that cannot be kept; fault: what all of them met."""
    for name, value in bins.items():
        try:
            _pack_bins({name: value}, 0)
        except UNSTORABLE as error:
            return ValueError(f"{name}: {error}")
    return ValueError(str(fault))


def _pack_bins(bins: Mapping[str, Any], expires: int) -> bytes:
    """Raises one of UNSTORABLE."""
    fields = dict(bins)
    slots = _pack_slots(fields.pop("utxos", None))
    inputs = _pack_part(fields.pop("inputs", None))
    outputs = _pack_part(fields.pop("outputs", None))
    if not _FIELDS.issuperset(fields):
        others = [name for name in fields if name not in _FIELDS]
        fields["rest"] = _pack_rest({name: fields.pop(name) for name in others})
    packed = _encode(Bins(**fields))
    _decode_bins(packed)  # only a decoder looks at the types
    return _assemble(expires, packed, slots, inputs, outputs)


def _pack_rest(bins: dict[Any, Any]) -> msgspec.Raw:
    """Of those that have no field. Raises one of UNSTORABLE."""
    kept = {name: value for name, value in bins.items() if value is not None}
    for name in kept:
        if type(name) is not str or len(name.encode()) > MAX_BIN_NAME_BYTES:
            raise ValueError("no name of a bin")
    packed = _encode(kept)
    _decode_rest(packed)
    return msgspec.Raw(packed)


def _pack_part(value: Any) -> bytes:
    """Of inputs or outputs. Raises one of UNSTORABLE."""
    if value is None:
        return b""
    packed = _encode(value)
    _decode_part(packed)
    return packed


def _pack_slots(utxos: Any) -> bytes | None:
    """Raises one of UNSTORABLE."""
    if utxos is None:
        return None
    if type(utxos) is not list:
        raise ValueError("no list")
    pack = _SLOT.pack
    return b"".join(
        [
            _EMPTY_SLOT if utxo is None else pack(len(utxo), utxo) if len(utxo) <= MAX_UTXO_BYTES else _too_long(utxo)
            for utxo in utxos
        ]
    )


def _too_long(utxo: bytes) -> NoReturn:
    raise ValueError(f"a UTXO of {len(utxo)} bytes, of {MAX_UTXO_BYTES} at most")


def _unpack_slots(slots: bytes | bytearray) -> list[bytes | None]:
    return [None if size == NO_UTXO else utxo[:size] for size, utxo in _SLOT.iter_unpack(slots)]


def _assemble(expires: int, bins: bytes, slots: bytes | bytearray | None, inputs: bytes, outputs: bytes) -> bytes:
    """A record, of its parts. Raises struct.error where one of them is too long, or there is no such time."""
    slot_count = _NO_SLOTS if slots is None else len(slots) // SLOT_BYTES
    head = _SIZES.pack(expires, len(bins), slot_count, len(inputs), len(outputs)) + bins
    packed = b"".join((_UINT32.pack(crc32(head)), head, slots or b"", inputs, outputs))
    return packed + _UINT32.pack(crc32(packed))
