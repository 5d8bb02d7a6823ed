"""Block hashes, and the merkle root of a block's transactions."""

from collections.abc import Sequence
from hashlib import sha256


class RepeatedError(ValueError):
    """Two neighbours with the same hash: a list without the second would have the same root (CVE-2012-2459)."""


def double_sha256(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def merkle_root(txids: Sequence[bytes]) -> bytes:
    """The root of a block's txids, one at least; 32 bytes, wire order. Raises RepeatedError."""
    level = list(txids)
    while len(level) > 1:
        if any(level[i] == level[i + 1] for i in range(0, len(level) - 1, 2)):
            raise RepeatedError("transactions are repeated in a way that does not change the merkle root")
        level += level[-1:] * (len(level) % 2)
        level = [double_sha256(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]
