"""The order in which the transactions of a batch come into the set: parents before what spends from them."""

from collections.abc import Sequence
from graphlib import TopologicalSorter
from operator import attrgetter

from .acceptance import Acceptance


def by_depth(acceptances: Sequence[Acceptance]) -> list[list[Acceptance]]:
    """First those that spend nothing of another one here, then those that spend of these, and so on; each as early as
    it can be; of those that could come together the one whose item is the first comes first, as of rivals it is the one
    to win. acceptances: of different transactions."""
    by_txid = {acceptance.txid: acceptance for acceptance in acceptances}
    parents = {
        txid: [parent for parent, _ in acceptance.outpoints if parent in by_txid and parent != txid]
        for txid, acceptance in by_txid.items()
    }
    if not any(parents.values()):
        return [list(acceptances)]
    sorter = TopologicalSorter(parents)
    sorter.prepare()
    levels = []
    while sorter.is_active():
        ready = sorter.get_ready()
        levels.append(sorted((by_txid[txid] for txid in ready), key=attrgetter("index")))
        sorter.done(*ready)
    return levels
