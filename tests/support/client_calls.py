"""What tests of the clients ask of a scripted daemon, and a call in a thread of its own."""

import threading
from collections.abc import Callable

import psutil

from protocol import CreateItem, Increment, SetDah, SetLocked, Spend, UtxodError

TXID = b"\x11" * 32
SPEND = Spend(TXID, 0, b"\x22" * 32, b"\x33" * 32, 0, 100)
ONE = {
    "get": lambda client, **o: client.get(TXID, **o),
    "outpoint": lambda client, **o: client.outpoint(TXID, 0, **o),
    "create": lambda client, **o: client.create(b"raw", block_height=1, **o),
    "create_partial": lambda client, **o: client.create_partial(TXID, {0: (1, b"")}, block_height=1, **o),
    "spend": lambda client, **o: client.spend(SPEND, **o),
    "spend_transaction": lambda client, **o: client.spend_transaction([SPEND], **o),
    "unspend": lambda client, **o: client.unspend(SPEND, **o),
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

    def outcome(self, within: float) -> BaseException | None:
        self.thread.join(within)
        assert not self.thread.is_alive(), f"not settled within {within} s"
        return self.error


def descriptors() -> int:
    return psutil.Process().num_fds()
