"""Raw blocks as tests want them: of any version and difficulty, on any block, and sound unless a test damages them."""

import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from protocol.hashing import varint
from store.transaction import COINBASE_OUTPOINT, Output, Transaction, parse_transaction
from utxod.merkle import double_sha256, merkle_root

EASY, HARDER = 0x207FFFFF, 0x1F7FFFFF  # two tries, and 256 times as many
REGTEST = bytes.fromhex("fabfb5da")
MAIN = bytes.fromhex("f9beb4d9")

REAL_BLOCKS = Path(os.environ.get("UTXOD_BLOCKS", Path(__file__).resolve().parents[2].parent / "shared" / "blocks"))
needs_real_blocks = pytest.mark.skipif(
    not REAL_BLOCKS.is_dir(), reason="the real blocks are not beside the checkout (or UTXOD_BLOCKS)"
)

Outputs = Sequence[tuple[int, bytes]]


def transaction(outpoints: Sequence[bytes], outputs: Outputs = ((1, b"\x51"),), script: bytes = b"\x51") -> Transaction:
    inputs = [outpoint + varint(len(script)) + script + b"\xff" * 4 for outpoint in outpoints]
    made = [Output(*output).serialise() for output in outputs]
    return parse_transaction(
        b"".join([struct.pack("<I", 1), varint(len(inputs)), *inputs, varint(len(made)), *made, bytes(4)])
    )


def coinbase(tag: int, outputs: Outputs = ((1, b"\x51"),), states: int | None = None) -> Transaction:
    """tag: makes it differ from others. states: the height that it states."""
    begins = b"" if states is None else b"\x04" + struct.pack("<I", states)
    return transaction([COINBASE_OUTPOINT], outputs, begins + b"\x08" + struct.pack("<Q", tag))


def spending(
    parent: Transaction, vout: int = 0, outputs: Outputs = ((1, b"\x51"),), script: bytes = b"\x51"
) -> Transaction:
    return transaction([parent.txid + struct.pack("<I", vout)], outputs, script)


def block(
    transactions: Sequence[Transaction],
    previous: bytes = bytes(32),
    *,
    bits: int = EASY,
    version: int = 1,
    root: bytes | None = None,
) -> bytes:
    root = root or merkle_root([made.txid for made in transactions])
    header = struct.pack("<i32s32sII", version, previous, root, 1_300_000_000, bits)
    target = (bits & 0xFFFFFF) << 8 * ((bits >> 24) - 3)
    nonce = 0
    while int.from_bytes(double_sha256(header + struct.pack("<I", nonce)), "little") > target:
        nonce += 1
    return header + struct.pack("<I", nonce) + varint(len(transactions)) + b"".join(made.raw for made in transactions)


def hash_of(raw: bytes) -> bytes:
    return double_sha256(raw[:80])


def chain(length: int, previous: bytes = bytes(32), tag: int = 0, **options: Any) -> list[bytes]:
    """Blocks of one coinbase each, one upon the other."""
    blocks = []
    for index in range(length):
        blocks.append(block([coinbase(tag + index)], previous, **options))
        previous = hash_of(blocks[-1])
    return blocks


def framed(blocks: Iterable[bytes], magic: bytes = REGTEST, gap: bytes = b"") -> bytes:
    return b"".join(magic + struct.pack("<I", len(raw)) + raw + gap for raw in blocks)


def write(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path
