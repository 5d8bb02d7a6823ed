"""What tests of the clients ask of a scripted daemon, and a call in a thread of its own."""

import threading
from collections.abc import Callable

import psutil

from protocol import (
    Abandonment,
    AcceptItem,
    Client,
    CreateItem,
    Increment,
    MarkLongestChain,
    Reassignment,
    SetConflicting,
    SetDah,
    SetLocked,
    SetMined,
    Spend,
    UtxodError,
)
from tests.support.patience import SOON

TXID = b"\x11" * 32
SPEND = Spend(TXID, 0, b"\x22" * 32, b"\x33" * 32, 0, 100)
HASH = SPEND.utxo_hash
BLOCK = (7, 100, 2)
REASSIGNMENT = Reassignment(TXID, 0, HASH, 5, b"script", 100, 10)
ONE = {
    "get": lambda client, **o: client.get(TXID, **o),
    "outpoint": lambda client, **o: client.outpoint(TXID, 0, **o),
    "create": lambda client, **o: client.create(b"raw", block_height=1, **o),
    "create_partial": lambda client, **o: client.create_partial(TXID, {0: (1, b"")}, block_height=1, **o),
    "spend": lambda client, **o: client.spend(SPEND, **o),
    "spend_transaction": lambda client, **o: client.spend_transaction([SPEND], **o),
    "unspend": lambda client, **o: client.unspend(SPEND, **o),
    "accept": lambda client, **o: client.accept(b"raw", block_height=1, **o),
    "utxo": lambda client, **o: client.utxo(TXID, 0, block_height=100, **o),
    "abandon": lambda client, **o: client.abandon(TXID, [(TXID, 0), (TXID, 1)], block_height=100, **o),
    "set_mined": lambda client, **o: client.set_mined(TXID, BLOCK, block_height=100, **o),
    "mark_longest_chain": lambda client, **o: client.mark_longest_chain(TXID, False, block_height=100, **o),
    "freeze": lambda client, **o: client.freeze(TXID, 0, HASH, **o),
    "unfreeze": lambda client, **o: client.unfreeze(TXID, 0, HASH, **o),
    "reassign": lambda client, **o: client.reassign(REASSIGNMENT, **o),
    "preserve_until": lambda client, **o: client.preserve_until(TXID, 500, **o),
    "set_conflicting": lambda client, **o: client.set_conflicting(TXID, True, block_height=100, **o),
    "increment": lambda client, **o: client.increment(TXID, 1, 100, **o),
    "set_dah": lambda client, **o: client.set_dah(TXID, 0, 100, **o),
    "set_locked": lambda client, **o: client.set_locked(TXID, True, **o),
    "status": lambda client, **o: client.status(**o),
}
MANY = {
    "get": lambda client, **o: client.get_many([TXID] * 3, **o),
    "outpoint": lambda client, **o: client.outpoint_many([(TXID, 0)] * 3, **o),
    "create": lambda client, **o: client.create_many([CreateItem.whole(b"raw", block_height=1)] * 3, **o),
    "spend": lambda client, **o: client.spend_many([SPEND] * 3, **o),
    "unspend": lambda client, **o: client.unspend_many([SPEND] * 3, **o),
    "accept": lambda client, **o: client.accept_many([AcceptItem.of(b"raw", block_height=1)] * 3, **o),
    "utxo": lambda client, **o: client.utxo_many([(TXID, 0)] * 3, block_height=100, **o),
    "abandon": lambda client, **o: client.abandon_many([Abandonment(TXID, [(TXID, 0)], 100)] * 3, **o),
    "set_mined": lambda client, **o: client.set_mined_many([SetMined.of(TXID, BLOCK, block_height=100)] * 3, **o),
    "mark_longest_chain": lambda client, **o: client.mark_longest_chain_many(
        [MarkLongestChain(TXID, True, 100)] * 3, **o
    ),
    "freeze": lambda client, **o: client.freeze_many([(TXID, 0, HASH)] * 3, **o),
    "unfreeze": lambda client, **o: client.unfreeze_many([(TXID, 0, HASH)] * 3, **o),
    "reassign": lambda client, **o: client.reassign_many([REASSIGNMENT] * 3, **o),
    "preserve_until": lambda client, **o: client.preserve_until_many([(TXID, 500)] * 3, **o),
    "set_conflicting": lambda client, **o: client.set_conflicting_many([SetConflicting(TXID, True, 100)] * 3, **o),
    "increment": lambda client, **o: client.increment_many([Increment(TXID, 1, 100)] * 3, **o),
    "set_dah": lambda client, **o: client.set_dah_many([SetDah(TXID, 0, 100)] * 3, **o),
    "set_locked": lambda client, **o: client.set_locked_many([SetLocked(TXID, True)] * 3, **o),
}


class Pending:
    """A call in a thread of its own, and what became of it."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._call = call
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except UtxodError as error:
            self.error = error

    def outcome(self, within: float = SOON) -> BaseException | None:
        self.thread.join(within)
        assert not self.thread.is_alive(), f"not settled within {within} s"
        return self.error


def has_sent(client: Client, requests: int) -> bool:
    """Whether it has sent so many. Between two turns: a request counts as sent before the socket has taken it."""
    with client._driver._turns:
        return client.counters.requests == requests


def descriptors() -> int:
    return psutil.Process().num_fds()
