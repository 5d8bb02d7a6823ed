"""Transactions of the model's node, made of nothing but bytes: their two serialisations, txids and utxo hashes, as the
protocol of Bitcoin and records.md have them."""

import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

Outpoint = tuple[bytes, int]

NO_OUTPOINT: Outpoint = (bytes(32), 0xFFFFFFFF)  # what a coinbase spends


class Output(NamedTuple):
    satoshis: int
    script: bytes


class Tx(NamedTuple):
    """txid: wire order. raw: in the standard format. sequence: what its inputs end with."""

    txid: bytes
    raw: bytes
    inputs: tuple[Outpoint, ...]
    outputs: tuple[Output, ...]

    @property
    def is_coinbase(self) -> bool:
        return self.inputs == (NO_OUTPOINT,)

    @property
    def spends(self) -> tuple[Outpoint, ...]:
        """What it takes out of the set."""
        return () if self.is_coinbase else self.inputs


def make_tx(inputs: Sequence[Outpoint], outputs: Sequence[Output], tag: int) -> Tx:
    """tag: tells it from every other transaction of the same inputs and outputs."""
    raw = _serialise([_input(outpoint, tag) for outpoint in inputs], outputs, b"")
    return Tx(sha256(sha256(raw).digest()).digest(), raw, tuple(inputs), tuple(outputs))


def extended(tx: Tx, spent: Sequence[Output], tag: int) -> bytes:
    """In the extended format (BRC-30). spent: the outputs that its inputs spend."""
    inputs = [_input(outpoint, tag) + _output(output) for outpoint, output in zip(tx.inputs, spent, strict=True)]
    return _serialise(inputs, tx.outputs, bytes.fromhex("0000000000ef"))


def hash_of(txid: bytes, vout: int, output: Output) -> bytes:
    """The utxo hash."""
    return sha256(txid + _varint(vout) + output.script + _varint(output.satoshis)).digest()


def _input(outpoint: Outpoint, tag: int) -> bytes:
    txid, vout = outpoint
    return txid + struct.pack("<I", vout) + b"\x08" + struct.pack("<Q", tag) + b"\xff" * 4


def _output(output: Output) -> bytes:
    return struct.pack("<Q", output.satoshis) + _varint(len(output.script)) + output.script


def _serialise(inputs: Sequence[bytes], outputs: Sequence[Output], marker: bytes) -> bytes:
    counted = _varint(len(inputs)), *inputs, _varint(len(outputs)), *map(_output, outputs)
    return b"".join((struct.pack("<I", 1), marker, *counted, bytes(4)))


def _varint(value: int) -> bytes:
    for limit, prefix, packing in ((0xFD, b"", "<B"), (1 << 16, b"\xfd", "<H"), (1 << 32, b"\xfe", "<I")):
        if value < limit:
            return prefix + struct.pack(packing, value)
    return b"\xff" + struct.pack("<Q", value)
