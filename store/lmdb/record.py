"""A record of the embedded store, and its bytes: what the rules ask for is in two places of a known form.

    mark              0, then 0xFFFFFFFF: to a program of layout 1 or 2 a record that never expires, and is damaged
    prefix            CRC-32 of the key, and of what follows of prefix and bins; expiry (unix time in seconds, 0:
                      never), length of the bins, number of outputs (0xFFFFFFFF: there is no bin `utxos`), number of
                      slots, lengths of inputs and outputs
    bins              all small bins: the fields of Bins in their order, an array in MessagePack
    slots             one per output up to the last that has a UTXO, SLOT_BYTES each: the size of its UTXO (NO_UTXO:
                      none), then the UTXO
    inputs, outputs   these bins, MessagePack each; empty: no such bin
    checksum          CRC-32 of the key, and of all before it

Numbers are uint32, little-endian. A record of no UTXO has no slots: so thousands of them, which one request can make,
are small.

So a spend decodes the array and looks at one slot; who asks for small bins reads prefix and bins alone. A compiled
decoder reads the array, and checks the bins' types, several times faster than Python takes numbers out of fixed places.
Bytes of another form, with one bit changed in what is read, or of another key, are Damaged: no expiry, no state of a
coin is taken from them.
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

_MARK: Final = bytes(4) + b"\xff" * 4
_NO_UTXOS: Final = 0xFFFFFFFF
_PREFIX = struct.Struct(f"<{len(_MARK)}x7I")  # and the mark, which is there for others
_SIZES = struct.Struct("<6I")  # the prefix behind its checksum
_SIZES_AT: Final = _PREFIX.size - _SIZES.size
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
    def unpack(cls, key: bytes, raw: bytes) -> "Head":
        """Of the record with this key. Raises Damaged where the head is; what is behind it is not looked at."""
        try:
            checksum, expires, bins_size, _, _, _, _ = _PREFIX.unpack_from(raw)
            head = raw[_SIZES_AT : _PREFIX.size + bins_size]
            if crc32(head, crc32(key)) != checksum:
                raise Damaged("its checksum is another one")
            return cls(_decode_bins(head[_SIZES.size :]), expires)
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
            names = (*_NAMES, *LARGE_BINS, *self.rest)
        bins = self.bins
        found = {}
        for name in names:
            value = getattr(bins, name) if name in _FIELDS else self._read_bin(name)
            if value is not None:
                found[name] = value
        if "joined" in found:
            found["joined"] = {offset: list(pair) for offset, pair in found["joined"].items()}
        return found

    def _read_bin(self, name: str) -> Any:
        """One that has no field; None: no such bin."""
        return self.rest.get(name)


class Record(Head, gc=False):
    """slots: those of the outputs up to the last that has a UTXO; None: no bin `utxos`. outputs_count: how many outputs
    the record has, _NO_UTXOS where it has no such bin. inputs, outputs: in MessagePack. is_changed: set by a rule that
    wants the record kept as it is now."""

    slots: bytes | bytearray | None = None
    outputs_count: int = _NO_UTXOS
    inputs: bytes = b""
    outputs: bytes = b""
    is_changed: bool = False

    @classmethod
    def unpack(cls, key: bytes, raw: bytes) -> "Record":
        """The one with this key. Raises Damaged."""
        if crc32(raw, crc32(key)) != _SOUND:
            raise Damaged("its checksum is another one")
        try:
            _, expires, bins_size, count, slot_count, inputs_size, outputs_size = _PREFIX.unpack_from(raw)
            slots_at = _PREFIX.size + bins_size
            inputs_at = slots_at + SLOT_BYTES * slot_count
            outputs_at = inputs_at + inputs_size
            bins = _decode_bins(raw[_PREFIX.size : slots_at])
        except (struct.error, msgspec.MsgspecError) as error:
            raise Damaged(str(error)) from error
        slots = None if count == _NO_UTXOS else raw[slots_at:inputs_at]
        outputs = raw[outputs_at : outputs_at + outputs_size]
        return cls(bins, expires, None, slots, count, raw[inputs_at:outputs_at], outputs)

    def pack(self, key: bytes) -> bytes:
        """The record's bytes, under this key. Raises one of UNSTORABLE where a bin has a value that cannot be kept."""
        if self._rest is not None:
            self.bins.rest = msgspec.Raw(_encode(self._rest))
        bins, slots = _encode(self.bins), self.slots or b""
        return _assemble(key, self.expires, bins, self.outputs_count, slots, self.inputs, self.outputs)

    def utxo(self, offset: int) -> bytes | None:
        """The UTXO of an output of this record; None where the output is none, or there is no such output."""
        slots = self.slots
        at = SLOT_BYTES * offset
        if slots is None or not 0 <= at < len(slots):
            return None
        size = slots[at]
        return None if size == NO_UTXO else bytes(slots[at + 1 : at + 1 + size])

    def set_utxo(self, offset: int, utxo: bytes) -> None:
        """Of an output that has a UTXO. utxo: at most MAX_UTXO_BYTES."""
        slots = self.slots
        if type(slots) is not bytearray:
            slots = self.slots = bytearray(slots or b"")
        _SLOT.pack_into(slots, SLOT_BYTES * offset, len(utxo), utxo)

    def _read_bin(self, name: str) -> Any:
        if name == "utxos":
            return None if self.slots is None else _unpack_slots(self.slots, self.outputs_count)
        if name == "inputs":
            return _decode_part(self.inputs) if self.inputs else None
        if name == "outputs":
            return _decode_part(self.outputs) if self.outputs else None
        return super()._read_bin(name)


def is_record(key: bytes, raw: bytes) -> bool:
    """Whether these bytes are a record of this layout, and of this key."""
    try:
        Record.unpack(key, raw)
    except Damaged:
        return False
    return True


def pack_bins(key: bytes, bins: Mapping[str, Value], expires: int = 0) -> bytes:
    """The bytes of the record with this key and these bins; None: no such bin. expires: unix time in seconds, 0: never.
    Raises ValueError that names the bin that cannot be kept."""
    try:
        return _pack_bins(key, bins, expires)
    except UNSTORABLE as error:
        raise _unstorable(bins, error) from error


def _unstorable(bins: Mapping[str, Any], fault: Exception) -> ValueError:
    """Names the first of these that cannot be kept; fault: what all of them met."""
    for name, value in bins.items():
        try:
            _pack_bins(b"", {name: value}, 0)
        except UNSTORABLE as error:
            return ValueError(f"{name}: {error}")
    return ValueError(str(fault))


def _pack_bins(key: bytes, bins: Mapping[str, Any], expires: int) -> bytes:
    """Raises one of UNSTORABLE."""
    fields = dict(bins)
    count, slots = _pack_slots(fields.pop("utxos", None))
    inputs = _pack_part(fields.pop("inputs", None))
    outputs = _pack_part(fields.pop("outputs", None))
    if not _FIELDS.issuperset(fields):
        others = [name for name in fields if name not in _FIELDS]
        fields["rest"] = _pack_rest({name: fields.pop(name) for name in others})
    packed = _encode(Bins(**fields))
    _decode_bins(packed)  # only a decoder looks at the types
    return _assemble(key, expires, packed, count, slots, inputs, outputs)


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


def _pack_slots(utxos: Any) -> tuple[int, bytes]:
    """The number of outputs, and the slots up to the last that has a UTXO. Raises one of UNSTORABLE."""
    if utxos is None:
        return _NO_UTXOS, b""
    if type(utxos) is not list:
        raise ValueError("no list")
    count = len(utxos)
    if count and utxos[-1] is None:
        utxos = utxos[: _end(utxos)]
    pack = _SLOT.pack
    return count, b"".join(
        [
            _EMPTY_SLOT if utxo is None else pack(len(utxo), utxo) if len(utxo) <= MAX_UTXO_BYTES else _too_long(utxo)
            for utxo in utxos
        ]
    )


def _end(utxos: list[Any]) -> int:
    """Behind the last that is one."""
    return next((place for place in range(len(utxos), 0, -1) if utxos[place - 1] is not None), 0)


def _too_long(utxo: bytes) -> NoReturn:
    raise ValueError(f"a UTXO of {len(utxo)} bytes, of {MAX_UTXO_BYTES} at most")


def _unpack_slots(slots: bytes | bytearray, count: int) -> list[bytes | None]:
    utxos = [None if size == NO_UTXO else utxo[:size] for size, utxo in _SLOT.iter_unpack(slots)]
    return utxos + [None] * (count - len(utxos))


def _assemble(
    key: bytes, expires: int, bins: bytes, count: int, slots: bytes | bytearray, inputs: bytes, outputs: bytes
) -> bytes:
    """A record, of its parts. count: of its outputs. Raises struct.error where one of them is too long, or there is no
    such time."""
    seed = crc32(key)
    head = _SIZES.pack(expires, len(bins), count, len(slots) // SLOT_BYTES, len(inputs), len(outputs)) + bins
    packed = b"".join((_MARK, _UINT32.pack(crc32(head, seed)), head, slots, inputs, outputs))
    return packed + _UINT32.pack(crc32(packed, seed))
