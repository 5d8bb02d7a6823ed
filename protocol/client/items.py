"""The items of a request: what a caller hands to the client.

An item is a tuple in the order in which it goes over the wire (docs/protocol.md), so encoding one costs nothing beyond
MessagePack, and a plain tuple of the same fields will do in its place. Fields are not checked here: the daemon does
that, and answers a bad item alone with BAD_REQUEST. txids and hashes are 32 bytes in wire order everywhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgpack

from .. import codes
from ..item_flags import (
    ACCEPT_CONFLICTING,
    ACCEPT_IGNORE_CONFLICTING,
    ACCEPT_IGNORE_LOCKED,
    ACCEPT_LOCKED,
    CREATE_COINBASE,
    CREATE_CONFLICTING,
    CREATE_LOCKED,
    MINED_ON_LONGEST_CHAIN,
    MINED_UNSET,
)
from ..mined_block import MinedBlock
from ..wire import Error
from .errors import UtxodError, to_exception


class CreateItem(NamedTuple):
    """A transaction to be created; `whole` and `partial` make one from arguments with names.

    raw: the serialised transaction, or None, and then `known` is (txid, vout -> (satoshis, locking script)).
    block_height: the height it is judged at. mined: the blocks it is in. flags: CREATE_CONFLICTING | CREATE_LOCKED |
    CREATE_COINBASE (where raw is None), or 0."""

    raw: bytes | None
    block_height: int
    mined: Sequence[MinedBlock | tuple[int, int, int]] = ()
    flags: int = 0
    known: tuple[bytes, Mapping[int, tuple[int, bytes]]] | None = None

    @classmethod
    def whole(
        cls,
        raw: bytes,
        *,
        block_height: int,
        mined: Sequence[MinedBlock | tuple[int, int, int]] = (),
        conflicting: bool = False,
        locked: bool = False,
    ) -> "CreateItem":
        """raw: the serialised transaction, standard or extended (BRC-30). block_height: the height it is judged at.
        mined: the blocks it is in. conflicting, locked: whether it is marked so."""
        return cls(raw, block_height, mined, CREATE_CONFLICTING * conflicting | CREATE_LOCKED * locked)

    @classmethod
    def partial(
        cls,
        txid: bytes,
        outputs: Mapping[int, tuple[int, bytes]],
        *,
        block_height: int,
        mined: Sequence[MinedBlock | tuple[int, int, int]] = (),
        coinbase: bool = False,
        conflicting: bool = False,
        locked: bool = False,
    ) -> "CreateItem":
        """A transaction of which only some outputs are known. txid: 32 bytes, wire order. outputs: vout -> (satoshis,
        locking script). coinbase: whether it is one. The rest is as in `whole`."""
        flags = CREATE_CONFLICTING * conflicting | CREATE_LOCKED * locked | CREATE_COINBASE * coinbase
        return cls(None, block_height, mined, flags, (txid, outputs))


class AcceptItem(NamedTuple):
    """A transaction to be accepted; `of` makes one from arguments with names.

    raw: the serialised transaction, standard or extended (BRC-30). block_height: the height it is judged at. mined: the
    blocks it is in. flags: ACCEPT_CONFLICTING | ACCEPT_LOCKED | ACCEPT_IGNORE_CONFLICTING | ACCEPT_IGNORE_LOCKED, or
    0."""

    raw: bytes
    block_height: int
    mined: Sequence[MinedBlock | tuple[int, int, int]] = ()
    flags: int = 0

    @classmethod
    def of(
        cls,
        raw: bytes,
        *,
        block_height: int,
        mined: Sequence[MinedBlock | tuple[int, int, int]] = (),
        conflicting: bool = False,
        locked: bool = False,
        ignore_conflicting: bool = False,
        ignore_locked: bool = False,
    ) -> "AcceptItem":
        """raw, block_height, mined: as above. conflicting, locked: whether it is marked so. ignore_conflicting,
        ignore_locked: whether it may spend outputs of transactions that are marked so."""
        marks = ACCEPT_CONFLICTING * conflicting | ACCEPT_LOCKED * locked
        ignored = ACCEPT_IGNORE_CONFLICTING * ignore_conflicting | ACCEPT_IGNORE_LOCKED * ignore_locked
        return cls(raw, block_height, mined, marks | ignored)


class Spend(NamedTuple):
    """Output `vout` of `txid` is spent by input `vin` of `spending_txid`. utxo_hash: of the output, see the function of
    that name. block_height: the height it is judged at. flags: SPEND_IGNORE_CONFLICTING | SPEND_IGNORE_LOCKED, or 0."""

    txid: bytes
    vout: int
    utxo_hash: bytes
    spending_txid: bytes
    vin: int
    block_height: int
    flags: int = 0


class Abandonment(NamedTuple):
    """spending_txid: a transaction that never came to be. outpoints: (txid, vout) each, 1 to 10,000: the outputs that
    it is to give back. block_height: the height it is judged at."""

    spending_txid: bytes
    outpoints: Sequence[tuple[bytes, int]]
    block_height: int


class Reassignment(NamedTuple):
    """Output `vout` of `txid`, which is frozen, gets another value and script. utxo_hash: the one it has now. satoshis,
    locking_script: those it gets. block_height: the height it is judged at. spendable_after: blocks from then on until
    it may be spent."""

    txid: bytes
    vout: int
    utxo_hash: bytes
    satoshis: int
    locking_script: bytes
    block_height: int
    spendable_after: int


class SetMined(NamedTuple):
    """A transaction is in a block, or is no longer; `of` makes one from arguments with names.

    block_id, mined_height, subtree_index: as a MinedBlock names them. block_height: the height it is judged at. flags:
    MINED_ON_LONGEST_CHAIN | MINED_UNSET, or 0."""

    txid: bytes
    block_id: int
    mined_height: int
    subtree_index: int
    block_height: int
    flags: int = MINED_ON_LONGEST_CHAIN

    @classmethod
    def of(
        cls,
        txid: bytes,
        block: MinedBlock | tuple[int, int, int],
        *,
        block_height: int,
        on_longest_chain: bool = True,
        unset: bool = False,
    ) -> "SetMined":
        """txid: 32 bytes, wire order. block: the block. block_height: the height it is judged at. on_longest_chain:
        whether the block is on the longest chain; with `unset`, whether the transaction still is, by another block.
        unset: it is in this block no longer."""
        block_id, mined_height, subtree_index = block
        flags = MINED_ON_LONGEST_CHAIN * on_longest_chain | MINED_UNSET * unset
        return cls(txid, block_id, mined_height, subtree_index, block_height, flags)


class MarkLongestChain(NamedTuple):
    """value: whether the transaction is on the longest chain. block_height: the height it is judged at."""

    txid: bytes
    value: bool
    block_height: int


class SetConflicting(NamedTuple):
    """value: whether the transaction is marked conflicting. block_height: the height it is judged at."""

    txid: bytes
    value: bool
    block_height: int


class Increment(NamedTuple):
    """delta: to be added to the number of fully spent child records of `txid`; 32 bits, may be negative. block_height:
    the height it is judged at."""

    txid: bytes
    delta: int
    block_height: int


class SetDah(NamedTuple):
    """txid, child_index: the record, 0 for the master record. height: the delete-at-height, 0 removes it."""

    txid: bytes
    child_index: int
    height: int


class SetLocked(NamedTuple):
    """value: True to lock the transaction, False to unlock it."""

    txid: bytes
    value: bool


# What MessagePack raises: anything else is of a signal's handler, and is not for an item's outcome.
_UNPACKABLE: Final = (TypeError, ValueError, OverflowError, BufferError)


def encode_item(item: Any) -> bytes:
    """Raises BadRequest ("no") where an item holds what MessagePack cannot express."""
    try:
        packed: bytes = msgpack.packb(item)
    except _UNPACKABLE as error:
        message = f"the item cannot be encoded: {error}"
        raise to_exception(Error(codes.BAD_REQUEST, codes.NO, message)) from None
    return packed


def encode_items(items: Sequence[Any]) -> tuple[bytes | memoryview, dict[int, Error]]:
    """The bytes of the items that can be encoded, one after the other, and by index the errors of those that can't."""
    try:
        packed = msgpack.packb(items)
    except _UNPACKABLE:
        return _encode_one_by_one(items)
    # The array's own header is left away: items of several calls are put together under one.
    return memoryview(packed)[1 if len(items) < 16 else 3 if len(items) < 65_536 else 5 :], {}


def _encode_one_by_one(items: Sequence[Any]) -> tuple[bytes, dict[int, Error]]:
    packed: list[bytes] = []
    errors: dict[int, Error] = {}
    for index, item in enumerate(items):
        try:
            packed.append(encode_item(item))
        except UtxodError as error:
            errors[index] = Error(error.code, error.executed, error.message)
    return b"".join(packed), errors
