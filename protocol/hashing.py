"""The hash by which a submitter and the store name the same output."""

import struct
from hashlib import sha256

# A byte that says how long the integer is, and the integer.
_U16 = struct.Struct("<BH")
_U32 = struct.Struct("<BI")
_U64 = struct.Struct("<BQ")


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
        return _U16.pack(0xFD, value)
    if value <= 0xFFFF_FFFF:
        return _U32.pack(0xFE, value)
    return _U64.pack(0xFF, value)
