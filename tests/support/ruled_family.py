"""A master and its children under the rules: what they know, and what it has heard of each."""

import struct
from typing import Any

from tests.support.ruled import HASHES, OURS, Ruled

Note = tuple[int, int]  # a child's index, and its stateSeq
# Of a record of two outputs.
SPENT = {"utxos": [HASHES[0] + OURS, HASHES[1] + OURS], "spentUtxos": 2}


def states(*seqs: int) -> bytes:
    return b"".join(struct.pack("<H", seq % 65536) for seq in seqs)


def heard(record: Ruled) -> list[int]:
    """What a master has heard of each child."""
    return [seq for (seq,) in struct.iter_unpack("<H", record["childStates"])]


def partly(*seqs: int) -> bytes:
    """What a master keeps that has not heard of all its children."""
    return states(*seqs) + b"\0"


def master(*seqs: int, **bins: Any) -> Ruled:
    """A master that is finished but for its children; seqs: what it has heard of each."""
    known = {"totalExtraRecs": len(seqs), "childStates": states(*seqs), "spentExtraRecs": sum(seq % 2 for seq in seqs)}
    return Ruled.mined(**(SPENT | {"external": True} | known | bins))


def single(**bins: Any) -> Ruled:
    """A child of one output."""
    return Ruled.child(**({"utxos": [HASHES[0]], "recordUtxos": 1} | bins))
