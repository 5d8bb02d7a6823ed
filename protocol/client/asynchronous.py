"""The client for asyncio. blocking.py is generated from this file: see tests/protocol/generate_blocking.py."""

import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from ..endpoint import default_endpoint
from ..mined_block import MinedBlock
from ..wire import ONE_TRANSACTION
from . import results
from .asyncio_driver import AsyncioDriver
from .call import REPORT_CALL, Call
from .driver import NOT_COPIED
from .headroom import check_headroom
from .items import CreateItem, Increment, SetDah, SetLocked, Spend, encode_item, encode_items
from .results import Incremented, Outcome, Outpoint, ResultReader
from .session import Counters
from .timeouts import DEFAULT_GRACE, DEFAULT_TIMEOUT, checked_timeout

T = TypeVar("T")


class AsyncClient:
    """A client of one daemon. It is made, used and closed within one running event loop: in another loop its calls
    raise ClientClosed, and nothing is sent. A call that is cancelled is forgotten: what it asked may be executed all
    the same.

    Every call ends by its timeout plus the client's grace. A method for one item returns its result, or raises. Its
    `*_many` twin returns one Outcome per item, in the order of the items: an item's error is in its outcome, and is not
    raised.

    In every method, txids and hashes are bytes, 32 of them, in wire order (the reverse of how they are displayed);
    amounts are satoshis; heights are block heights, below 2^32; `vout`, `vin` and child indices are below 2^32; and
    `timeout` is the seconds the call may take, None: as long as the client's own says.

    Every call may raise a Fault (docs/protocol.md, Codes), whose `executed` says whether it may have been executed
    ("unknown") or was not ("no"): NoAnswer, Overloaded, Unavailable, DeadlineExceeded, BadRequest (an item is not what
    docs/protocol.md says), or Fault itself. It raises ClientClosed where the client is closed, is the copy that a fork
    made, or the interpreter ends; and ValueError where the timeout is not a finite number above 0.
    """

    def __init__(
        self, endpoint: str | None = None, *, timeout: float = DEFAULT_TIMEOUT, grace: float = DEFAULT_GRACE
    ) -> None:
        """The daemon need not be there yet: what is asked before is sent when it is.

        endpoint: of the daemon, ipc:///PATH or tcp://HOST:PORT; None: the usual one (endpoint.py). timeout:
        seconds that a call may take which does not say otherwise. grace: seconds beyond the timeout in which an answer
        is still waited for.

        Raises zmq.ZMQError where the endpoint is invalid, ValueError where the timeout is not a finite number above 0,
        and OSError where fewer than 13 file descriptors (EMFILE) or hardly any threads (EAGAIN) are left: ZeroMQ would
        abort the process.
        """
        self._timeout = checked_timeout(timeout)
        check_headroom()
        self._driver = AsyncioDriver(endpoint or default_endpoint(), grace)
        # Kept alive by this, what a client holds is closed in order, also where the garbage collector finds it.
        weakref.finalize(self, self._driver.on_collected).atexit = False

    async def close(self) -> None:
        """Fails the calls that are pending at once, with NoAnswer ("unknown" for what was sent, "no" for the rest).

        Closing again does nothing. A client that is dropped unclosed is closed too, with a ResourceWarning.
        """
        await self._driver.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(NOT_COPIED)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def counters(self) -> Counters:
        """What the client has sent, what was answered, and what it has dropped; each since it was opened."""
        return self._driver.session.counters

    async def status(self, *, timeout: float | None = None) -> dict[str, Any]:
        """Asks the daemon for its report of itself (docs/operating.md).

        Returns a map with string keys, for people and monitoring; its keys may grow.
        """
        call = await self._ask(Call(REPORT_CALL, b"", 1), timeout)
        return results.DAEMON_REPORT.read_single(call)

    async def get(
        self, txid: bytes, fields: Sequence[str] | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        """Reads a transaction's master record.

        fields: the names of the bins to read, at most 64 of at most 15 characters each; the name "tx" gives the raw
        transaction, checked against its txid. None: every bin but utxos, inputs and outputs, which may be large.

        Returns the values by name, of those bins only that the record has. Raises TxNotFound.
        """
        return await self._ask_single(results.GET, (txid, fields), timeout)

    async def get_many(
        self, txids: Iterable[bytes], fields: Sequence[str] | None = None, *, timeout: float | None = None
    ) -> list[Outcome[dict[str, Any]]]:
        """As `get`. txids: one per transaction. fields: the same for each. Returns one outcome per txid, in order."""
        return await self._ask_many(results.GET, [(txid, fields) for txid in txids], timeout)

    async def outpoint(self, txid: bytes, vout: int, *, timeout: float | None = None) -> Outpoint:
        """Reads an output as it is now (after a reassignment too), whether it is spent or not.

        txid, vout: the transaction, and the index of the output in it.

        Returns its value in satoshis and its locking script, checked against its utxo hash. Raises TxNotFound, and
        Rejection UTXO_NOT_FOUND where the transaction has no such output.
        """
        return await self._ask_single(results.OUTPOINT, (txid, vout), timeout)

    async def outpoint_many(
        self, outpoints: Iterable[tuple[bytes, int]], *, timeout: float | None = None
    ) -> list[Outcome[Outpoint]]:
        """As `outpoint`. outpoints: (txid, vout) each. Returns one outcome per outpoint, in order."""
        return await self._ask_many(results.OUTPOINT, outpoints, timeout)

    async def create(
        self,
        raw: bytes,
        *,
        block_height: int,
        mined: Sequence[MinedBlock | tuple[int, int, int]] = (),
        conflicting: bool = False,
        locked: bool = False,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Adds a transaction to the set.

        raw: the serialised transaction, standard or extended (BRC-30). block_height: the height it is judged at; of a
        coinbase, the height of its block. mined: the blocks it is in; empty: in none. conflicting, locked: whether it
        is marked so.

        Returns its metadata: txID, fee (where it is known), sizeInBytes, isCoinbase, totalUtxos, records. Raises
        TxExists; Creating where another creator has not finished; Leftover where child records of an earlier life of
        the transaction are there. Asking again completes what an attempt may have left unfinished.
        """
        item = CreateItem.whole(raw, block_height=block_height, mined=mined, conflicting=conflicting, locked=locked)
        return await self._ask_single(results.CREATE, item, timeout)

    async def create_partial(
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
        """Adds a transaction of which only some outputs are known.

        txid: the transaction's. outputs: vout -> (satoshis, locking script). coinbase: whether it is one. The rest, the
        result and the errors are those of `create`.
        """
        item = CreateItem.partial(
            txid,
            outputs,
            block_height=block_height,
            mined=mined,
            coinbase=coinbase,
            conflicting=conflicting,
            locked=locked,
        )
        return await self._ask_single(results.CREATE, item, timeout)

    async def create_many(
        self, creations: Iterable[CreateItem], *, timeout: float | None = None
    ) -> list[Outcome[dict[str, Any]]]:
        """As `create` and `create_partial`. creations: `CreateItem.whole` or `CreateItem.partial` make one. Returns one
        outcome per creation, in order."""
        return await self._ask_many(results.CREATE, creations, timeout)

    async def spend(self, spend: Spend, *, timeout: float | None = None) -> bool:
        """Spends one output. The rules it is judged by: docs/protocol.md, Operations and Codes.

        spend: the output, its utxo hash, and the input that spends it.

        Returns True: it was applied now. False: this spender had spent it before. Both stand until somebody asks to
        take it back. Raises Spent (its details name spending_txid and spending_vin), Locked, TxNotFound, and the other
        rejections as Rejection; their details name by `held` what the spender has of this output, where that is so.
        """
        return await self._ask_single(results.SPEND, spend, timeout)

    async def spend_many(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[Outcome[bool]]:
        """As `spend`. spends: each for itself; see `spend_transaction` for those that belong together. Returns
        one outcome per spend, in order."""
        return await self._ask_many(results.SPEND, spends, timeout)

    async def spend_transaction(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[bool]:
        """Spends all the inputs of one transaction, or none of them.

        spends: all of the same spending_txid. They go in one request: at most as many as the daemon's limit of items.

        Returns what `spend` does for each, in order. Raises the first refusal: its details name the refused input
        by `because` (its index in `spends`) and `outpoint`, and by `held` ([txid, vout] each) what the transaction
        still has. Where the error's `executed` is "unknown", some may stand (its details list them as `outpoints`): ask
        again, or `unspend` them.
        """
        outcomes = await self._ask_many(results.SPEND, spends, timeout, ONE_TRANSACTION)
        return results.all_or_raise(outcomes)

    async def unspend(self, spend: Spend, *, timeout: float | None = None) -> bool:
        """Undoes a spend: what its spending_txid and vin hold, and nothing else.

        spend: as it was spent; its flags are ignored.

        Returns True: it was undone now. False: the output was unspent. Raises Spent (by another: its details name
        spending_txid and spending_vin), TxNotFound, and the other rejections as Rejection.
        """
        return await self._ask_single(results.UNSPEND, spend, timeout)

    async def unspend_many(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[Outcome[bool]]:
        """As `unspend`. spends: each is undone for itself. Returns one outcome per spend, in order."""
        return await self._ask_many(results.UNSPEND, spends, timeout)

    async def increment(
        self, txid: bytes, delta: int, block_height: int, *, timeout: float | None = None
    ) -> Incremented:
        """Puts right how many of the transaction's child records are fully spent.

        delta: 32 bits, may be negative. It is added only where the transaction was created by another program, which
        does not keep its children's states; elsewhere the children are asked, and asking again is safe. block_height:
        the height it is judged at.

        Returns the signal ("DAHSET": completely spent now, "DAHUNSET": no longer, None: neither) and the number of
        child records. Raises TxNotFound, and Rejection INVALID_PARAMETER where the count would be out of range.
        """
        return await self._ask_single(results.INCREMENT, (txid, delta, block_height), timeout)

    async def increment_many(
        self, increments: Iterable[Increment], *, timeout: float | None = None
    ) -> list[Outcome[Incremented]]:
        """As `increment`. increments: an item each. Returns one outcome per increment, in order."""
        return await self._ask_many(results.INCREMENT, increments, timeout)

    async def set_dah(self, txid: bytes, child_index: int, height: int, *, timeout: float | None = None) -> bool:
        """Sets the height at which a record may be deleted (its delete-at-height).

        child_index: 0 for the master record, else the number of the child record. height: 0 removes it.

        Returns True. Raises TxNotFound where there is no such record, or Fault STORE_ERROR where the transaction has it
        and it is missing.
        """
        return await self._ask_single(results.SET_DAH, (txid, child_index, height), timeout)

    async def set_dah_many(self, settings: Iterable[SetDah], *, timeout: float | None = None) -> list[Outcome[bool]]:
        """As `set_dah`. settings: an item each. Returns one outcome per setting, in order."""
        return await self._ask_many(results.SET_DAH, settings, timeout)

    async def set_locked(self, txid: bytes, value: bool, *, timeout: float | None = None) -> int:
        """Locks or unlocks a transaction, in all its records; it ends when all of them are done.

        value: True: no output of it may be spent. False: they may; a transaction that is finished gets a
        delete-at-height again.

        Returns the number of its child records. Raises TxNotFound. Where the work on a child record fails, raises that
        error, with `executed` "unknown": the master record was written.
        """
        return await self._ask_single(results.SET_LOCKED, (txid, value), timeout)

    async def set_locked_many(
        self, settings: Iterable[SetLocked], *, timeout: float | None = None
    ) -> list[Outcome[int]]:
        """As `set_locked`. settings: an item each. Returns one outcome per setting, in order."""
        return await self._ask_many(results.SET_LOCKED, settings, timeout)

    async def _ask_single(self, reader: ResultReader[T], item: Any, timeout: float | None) -> T:
        call = await self._ask(Call(reader.operation, encode_item(item), 1), timeout)
        return reader.read_single(call)

    async def _ask_many(
        self, reader: ResultReader[T], items: Iterable[Any], timeout: float | None, flags: int = 0
    ) -> list[Outcome[T]]:
        listed = list(items)
        payload, unsent = encode_items(listed)
        call = Call(reader.operation, payload, len(listed) - len(unsent), flags)
        if call.count and not (flags and unsent):
            call = await self._ask(call, timeout)
        return reader.read_outcomes(call, unsent)

    async def _ask(self, call: Call, timeout: float | None) -> Call:
        call.deadline = time.monotonic() + (self._timeout if timeout is None else checked_timeout(timeout))
        return await self._driver.ask(call)
