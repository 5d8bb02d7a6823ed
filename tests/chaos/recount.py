"""Counters of child records, and asking again where one is off: a note was lost with who was to bring it. A spend that
is there, and an unspend that finds nothing to undo, send it again."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from protocol import Client, Spend

Bins = Mapping[str, Any]

_HASH_BYTES: Final = 32
_TXID_BYTES: Final = 32
_NOBODY: Final = bytes(_TXID_BYTES + 4)
_TRIES: Final = 100
_PAUSE: Final = 0.05


def is_counted(records: Sequence[Bins]) -> bool:
    """records: the master's, and those of all its children."""
    master, children = records[0], records[1:]
    return (master["totalExtraRecs"], master["spentExtraRecs"]) == (len(children), count_spent(children))


def count_spent(children: Sequence[Bins]) -> int:
    return sum(child["spentUtxos"] == child["recordUtxos"] for child in children)


def is_complete(records: Sequence[Bins]) -> bool:
    return count_spent(records) == len(records)


def wrong_height(records: Sequence[Bins]) -> str:
    """What is wrong about the master's delete-at-height, of a transaction in a block that was never locked: it is there
    when, and only when, all of it is spent."""
    complete, height = is_complete(records), records[0].get("deleteAtHeight")
    return f"complete {complete}, deleted at height {height}" if complete != (height is not None) else ""


def ask_again(client: Client, child: Bins, spend_of: Callable[[int, bytes, int], Spend]) -> None:
    """About one output of the child record. spend_of: offset in the record, spender and input -> the spend."""
    offset = next((offset for offset, utxo in enumerate(child["utxos"]) if utxo is not None), None)
    if offset is None:
        return
    utxo = child["utxos"][offset]
    data = utxo[_HASH_BYTES:] or _NOBODY
    spend = spend_of(offset, data[:_TXID_BYTES], int.from_bytes(data[_TXID_BYTES:], "little"))
    for _ in range(_TRIES):
        (outcome,) = client.spend_many([spend]) if data != _NOBODY else client.unspend_many([spend])
        if outcome.ok:
            break
        time.sleep(_PAUSE)
