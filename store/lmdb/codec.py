"""A record as bytes in the embedded store: four lengths, then MessagePack.

    bytes 0-3    unix time, in seconds, at which the record is gone (uint32 LE), 0: never
    bytes 4-15   lengths of the next three parts (uint32 LE)
    the parts    a map of the small bins; the bins utxos, inputs and outputs, each alone (empty: no such bin)

The large bins are kept apart, so that they are decoded only when they are asked for. Bytes that do not have this form
are Damaged.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgpack

from store.interface import Value
from store.layout import LARGE_BINS

MAX_BIN_NAME_BYTES: Final = 15

_HEADER = struct.Struct("<4I")
_LARGE: Final = frozenset(LARGE_BINS)


class Damaged(Exception):
    """What was read is not a record."""


class Packed(NamedTuple):
    """The parts of a record; a large bin that is not there is empty."""

    expires: int
    head: bytes
    utxos: bytes
    inputs: bytes
    outputs: bytes


def expiry(raw: bytes) -> int:
    """When the record is gone: unix time in seconds, 0 for never. Raises Damaged."""
    if len(raw) < _HEADER.size:
        raise Damaged("cut off")
    return int.from_bytes(raw[:4], "little")


def unpack_parts(raw: bytes) -> Packed:
    """The parts of a record whose expiry was read without error. Raises Damaged."""
    expires, head, utxos, inputs = _HEADER.unpack_from(raw)
    a = _HEADER.size + head
    b = a + utxos
    c = b + inputs
    if c > len(raw):
        raise Damaged("cut off")
    return Packed(expires, raw[_HEADER.size : a], raw[a:b], raw[b:c], raw[c:])


def pack_parts(parts: Packed) -> bytes:
    """The record that has these parts."""
    expires, head, utxos, inputs, outputs = parts
    return b"".join((_HEADER.pack(expires, len(head), len(utxos), len(inputs)), head, utxos, inputs, outputs))


def unpack(packed: bytes) -> Any:
    """Raises Damaged."""
    try:
        return msgpack.unpackb(packed, strict_map_key=False)
    except (ValueError, TypeError) as error:  # TypeError: a list or map as a key
        raise Damaged(str(error)) from error


def small_bins(raw: bytes) -> dict[str, Any]:
    """All bins but the large ones. Raises Damaged."""
    return _unpack_head(raw[16 : 16 + int.from_bytes(raw[4:8], "little")])


def _unpack_head(packed: bytes) -> dict[str, Any]:
    bins = unpack(packed)
    if type(bins) is not dict:
        raise Damaged("its bins are no map")
    return bins


def read_bins(raw: bytes, names: Sequence[str] | None) -> dict[str, Any]:
    """The bins with these names that exist; None: all. Raises Damaged."""
    bins = small_bins(raw)
    if names is not None and _LARGE.isdisjoint(names):
        return {name: bins[name] for name in names if name in bins}
    for name, packed in zip(LARGE_BINS, unpack_parts(raw)[2:], strict=True):
        if packed and (names is None or name in names):
            bins[name] = unpack(packed)
    if names is None:
        return bins
    return {name: bins[name] for name in names if name in bins}


ABSENT: Final = Packed(0, b"\x80", b"", b"", b"")


def apply(before: Packed, changes: Mapping[str, Value], expires: int | None = None) -> bytes:
    """The record with changed bins (None: removed). before: as it is, or ABSENT. expires: unix time, None to leave it.
    Raises ValueError, TypeError or OverflowError where a value cannot be stored; Damaged."""
    bins = _unpack_head(before.head)
    large = {"utxos": before.utxos, "inputs": before.inputs, "outputs": before.outputs}
    for name, value in changes.items():
        if type(name) is not str or len(name.encode()) > MAX_BIN_NAME_BYTES:
            raise ValueError(f"no name of a bin: {name!r}")
        if name in large:
            large[name] = b"" if value is None else msgpack.packb(value)
        elif value is None:
            bins.pop(name, None)
        else:
            bins[name] = value
    return pack_parts(Packed(before.expires if expires is None else expires, msgpack.packb(bins), **large))
