"""Reads a block and checks it: what its header does not vouch for is never fed (P15)."""

import os
from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from typing import Final

from store.transaction import Transaction, iter_block

from .block_files import BlockFileError, BlockPlace, has_witness
from .merkle import RepeatedError, merkle_root

_ROOT: Final = slice(36, 68)
# A block is in memory twice: as it lies in its file, and as its transactions.
_COPIES: Final = 2


class BadBlockError(ValueError):
    """A block that can't be fed. The message names its place."""


def read_block(place: BlockPlace) -> list[Transaction]:
    """The block's transactions, in its order; they are those that its header's merkle root stands for.

    Raises BadBlockError; BlockFileError where no block of the file can be read: it can't be opened, or carries witness
    data.
    """
    if _COPIES * place.size > _memory_bytes():
        raise _too_large(place)  # a kernel may promise it all the same, and then end whoever uses it
    try:
        raw = place.read()
        transactions = list(iter_block(raw))
        root = merkle_root([transaction.txid for transaction in transactions])
    except OSError as error:
        raise BlockFileError(f"{place.file}: can't be read: {error.strerror}") from None
    except MemoryError:
        raise _too_large(place) from None
    except RepeatedError as error:
        raise BadBlockError(f"{place}: {error}") from None
    except ValueError as error:
        if has_witness(raw):
            raise BlockFileError(f"{place} carries witness data, which is not read here") from None
        raise BadBlockError(f"{place}: {error}") from None
    if root != raw[_ROOT]:
        raise BadBlockError(f"{place}: its transactions do not give the merkle root of its header")
    return transactions


def _too_large(place: BlockPlace) -> BadBlockError:
    return BadBlockError(f"{place}: its {place.size:,} bytes are more than the memory here can hold")


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def in_dependency_order(transactions: Sequence[Transaction]) -> Iterator[Transaction]:
    """Parents before children; a block may hold them in any order."""
    by_txid = {transaction.txid: transaction for transaction in transactions}
    parents = {
        transaction.txid: [spent.previous_txid for spent in transaction.inputs if spent.previous_txid in by_txid]
        for transaction in transactions
    }
    return (by_txid[txid] for txid in TopologicalSorter(parents).static_order())
