"""The hash by which a submitter and the store name the same output."""

import struct
from hashlib import sha256

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


def utxo_hash(txid: bytes, vout: int, locking_script: bytes, satoshis: int) -> bytes:
    """SHA-256(txid || varint(vout) || locking script || varint(satoshis)): what a spend shows to name its output.

    txid: 32 bytes in wire order. vout: index of the output in its transaction. Returns 32 bytes.
    """
    return sha256(b"".join((txid, varint(vout), locking_script, varint(satoshis)))).digest()


def varint(value: int) -> bytes:
    """Bitcoin's integer of variable length (CompactSize): 1, 3, 5 or 9 bytes, little-endian. value: 0 to 2^64 - 1."""
    if value < 0xFD:
        return value.to_bytes(1, "little")
    if value <= 0xFFFF:
        return b"\xfd" + _U16.pack(value)
    if value <= 0xFFFF_FFFF:
        return b"\xfe" + _U32.pack(value)
    return b"\xff" + _U64.pack(value)
