"""The blocking client. Any number of threads may use one; calls they make at the same time travel together.

Every call returns or raises by its timeout plus the grace. A method for one item returns its result, or raises a
subclass of UtxodError; its `*_many` twin returns one Outcome per item, in order, and raises for none of them. A call on
a closed client, on the copy of a client that a fork has made, or while the interpreter ends, raises ClientClosed.
"""

import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar

from ..default_endpoint import default_endpoint
from ..mined_block import MinedBlock
from ..wire import ONE_TRANSACTION
from . import items
from .calls import STATUS, Call
from .items import (
    CreateItem,
    Increment,
    Incremented,
    Operation,
    Outcome,
    Outpoint,
    SetDah,
    SetLocked,
    Spend,
)
from .session import Counters
from .thread_driver import IOThread

DEFAULT_TIMEOUT: Final = 5.0
DEFAULT_GRACE: Final = 0.25
NOT_COPIED: Final = "a client cannot be copied or pickled: open another one"

T = TypeVar("T")


class Client:
    """endpoint: of the daemon, ZeroMQ's ipc:// or tcp://; None: the usual one (endpoint.py). timeout: seconds a call
    may take, unless it says otherwise. grace: seconds beyond it in which an answer is still waited for. The daemon need
    not be there yet.

    Raises zmq.ZMQError where the endpoint is none, OSError where fewer than 12 file descriptors (EMFILE) or hardly any
    threads (EAGAIN) are left: ZeroMQ would abort the process.
    """

    def __init__(
        self, endpoint: str | None = None, *, timeout: float = DEFAULT_TIMEOUT, grace: float = DEFAULT_GRACE
    ) -> None:
        self._timeout = items.checked_timeout(timeout)
        self._io = IOThread(endpoint or default_endpoint(), grace)
        # Kept alive by this, what a client holds is closed in order, also where the garbage collector finds it.
        weakref.finalize(self, self._io.abandon).atexit = False

    def close(self) -> None:
        """Fails the calls that are pending with NO_ANSWER, at once. Closing again does nothing. A client that is
        dropped unclosed is closed too, with a ResourceWarning."""
        self._io.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(NOT_COPIED)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def counters(self) -> Counters:
        """What the client has done, and what it has dropped."""
        return self._io.session.counters

    def status(self, *, timeout: float | None = None) -> dict[str, Any]:
        """The daemon's report of itself."""
        return items.read_single(items.REPORT, self._ask(Call(STATUS, b"", 1), timeout))

    def get(self, txid: bytes, fields: Sequence[str] | None = None, *, timeout: float | None = None) -> dict[str, Any]:
        """A transaction's record: bin -> value, only those it has. fields: the bins to read, and "tx" for the raw
        transaction; None: all but utxos, inputs and outputs. Raises TxNotFound."""
        return self._one(items.GET, (txid, fields), timeout)

    def get_many(
        self, txids: Iterable[bytes], fields: Sequence[str] | None = None, *, timeout: float | None = None
    ) -> list[Outcome[dict[str, Any]]]:
        return self._many(items.GET, [(txid, fields) for txid in txids], timeout)

    def outpoint(self, txid: bytes, vout: int, *, timeout: float | None = None) -> Outpoint:
        """An output's value and locking script, whether it is spent or not. Raises TxNotFound, UTXO_NOT_FOUND."""
        return self._one(items.OUTPOINT, (txid, vout), timeout)

    def outpoint_many(
        self, outpoints: Iterable[tuple[bytes, int]], *, timeout: float | None = None
    ) -> list[Outcome[Outpoint]]:
        return self._many(items.OUTPOINT, outpoints, timeout)

    def create(
        self,
        raw: bytes,
        *,
        block_height: int,
        mined: Sequence[MinedBlock | tuple[int, int, int]] = (),
        conflicting: bool = False,
        locked: bool = False,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Adds a transaction to the set; parameters as in `CreateItem.whole`. Returns its metadata (txID, fee where it
        is known, sizeInBytes, isCoinbase, totalUtxos, records). Raises TxExists, Creating, Leftover."""
        item = CreateItem.whole(raw, block_height=block_height, mined=mined, conflicting=conflicting, locked=locked)
        return self._one(items.CREATE, item, timeout)

    def create_partial(
        self,
        txid: bytes,
        outputs: Mapping[int, tuple[int, bytes]],
        *,
        block_height: int,
        mined: Sequence[MinedBlock | tuple[int, int, int]] = (),
        coinbase: bool = False,
        conflicting: bool = False,
        locked: bool = False,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Adds a transaction of which only some outputs are known (vout -> (satoshis, locking script)). As `create`."""
        item = CreateItem.partial(
            txid,
            outputs,
            block_height=block_height,
            mined=mined,
            coinbase=coinbase,
            conflicting=conflicting,
            locked=locked,
        )
        return self._one(items.CREATE, item, timeout)

    def create_many(
        self, creations: Iterable[CreateItem], *, timeout: float | None = None
    ) -> list[Outcome[dict[str, Any]]]:
        return self._many(items.CREATE, creations, timeout)

    def spend(self, spend: Spend, *, timeout: float | None = None) -> bool:
        """True: applied now. False: this spender had spent it before. Both stand until somebody asks to abandon it.
        Raises Spent (details: spending_txid, spending_vin), Locked, and the other rejections of docs/protocol.md."""
        return self._one(items.SPEND, spend, timeout)

    def spend_many(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[Outcome[bool]]:
        """Each for itself; see `spend_transaction` for those that belong together."""
        return self._many(items.SPEND, spends, timeout)

    def spend_transaction(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[bool]:
        """All the spends of one transaction, or none: raises the first refusal; its details name the refused input
        (`because`, its index; `outpoint`) and what the transaction still has (`held`: [txid, vout] each). Where the
        error's `executed` is "unknown", some may stand (`outpoints`): ask again, or `abandon` them."""
        outcomes = self._many(items.SPEND, spends, timeout, ONE_TRANSACTION)
        return items.all_or_refusal(outcomes)

    def abandon(self, spend: Spend, *, timeout: float | None = None) -> bool:
        """Undoes a spend. True: undone now. False: that spender does not hold the output."""
        return self._one(items.ABANDON, spend, timeout)

    def abandon_many(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[Outcome[bool]]:
        return self._many(items.ABANDON, spends, timeout)

    def increment(self, txid: bytes, delta: int, block_height: int, *, timeout: float | None = None) -> Incremented:
        """Puts the number of the transaction's child records that are fully spent right: they are asked. Where another
        program created it, `delta` is added."""
        return self._one(items.INCREMENT, (txid, delta, block_height), timeout)

    def increment_many(
        self, increments: Iterable[Increment], *, timeout: float | None = None
    ) -> list[Outcome[Incremented]]:
        return self._many(items.INCREMENT, increments, timeout)

    def set_dah(self, txid: bytes, child_index: int, height: int, *, timeout: float | None = None) -> bool:
        """Sets a record's delete-at-height. child_index: 0 for the master. height: 0 removes it."""
        return self._one(items.SET_DAH, (txid, child_index, height), timeout)

    def set_dah_many(self, settings: Iterable[SetDah], *, timeout: float | None = None) -> list[Outcome[bool]]:
        return self._many(items.SET_DAH, settings, timeout)

    def set_locked(self, txid: bytes, value: bool, *, timeout: float | None = None) -> int:
        """Locks or unlocks a transaction, in all its records. Returns the number of its child records."""
        return self._one(items.SET_LOCKED, (txid, value), timeout)

    def set_locked_many(self, settings: Iterable[SetLocked], *, timeout: float | None = None) -> list[Outcome[int]]:
        return self._many(items.SET_LOCKED, settings, timeout)

    def _one(self, operation: Operation[T], item: Any, timeout: float | None) -> T:
        return items.read_single(operation, self._ask(Call(operation.name, items.encode_item(item), 1), timeout))

    def _many(
        self, operation: Operation[T], many: Iterable[Any], timeout: float | None, flags: int = 0
    ) -> list[Outcome[T]]:
        listed = list(many)
        payload, unsent = items.encode_items(listed)
        call = Call(operation.name, payload, len(listed) - len(unsent), flags)
        if call.count and not (flags and unsent):
            self._ask(call, timeout)
        return items.read_outcomes(operation, call, unsent)

    def _ask(self, call: Call, timeout: float | None) -> Call:
        call.deadline = time.monotonic() + (self._timeout if timeout is None else items.checked_timeout(timeout))
        self._io.ask(call)
        return call
