"""The client for asyncio. Its methods are those of `Client`, awaited: parameters, results and errors are said there.

The socket's descriptor is watched by the loop itself. What is asked within one turn of the loop goes out together at
its end.
"""

import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from ..default_endpoint import default_endpoint
from ..mined_block import MinedBlock
from ..wire import ONE_TRANSACTION
from . import items
from .asyncio_driver import IOLoop
from .blocking import DEFAULT_GRACE, DEFAULT_TIMEOUT, NOT_COPIED
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

T = TypeVar("T")


class AsyncClient:
    """As `Client`; to be made, used and closed within one running loop: in another one its calls raise ClientClosed,
    and nothing is sent. A call that is cancelled is forgotten: what it asked may be executed all the same."""

    def __init__(
        self, endpoint: str | None = None, *, timeout: float = DEFAULT_TIMEOUT, grace: float = DEFAULT_GRACE
    ) -> None:
        self._timeout = items.checked_timeout(timeout)
        self._io = IOLoop(endpoint or default_endpoint(), grace)
        # Kept alive by this, what a client holds is closed in order, also where the garbage collector finds it.
        weakref.finalize(self, self._io.abandon).atexit = False

    async def close(self) -> None:
        """Fails the calls that are pending with NO_ANSWER, at once. Closing again does nothing. A client that is
        dropped unclosed is closed too, with a ResourceWarning."""
        await self._io.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(NOT_COPIED)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._io.close()

    @property
    def counters(self) -> Counters:
        """What the client has done, and what it has dropped."""
        return self._io.session.counters

    async def status(self, *, timeout: float | None = None) -> dict[str, Any]:
        return items.read_single(items.REPORT, await self._ask(Call(STATUS, b"", 1), timeout))

    async def get(
        self, txid: bytes, fields: Sequence[str] | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        return await self._one(items.GET, (txid, fields), timeout)

    async def get_many(
        self, txids: Iterable[bytes], fields: Sequence[str] | None = None, *, timeout: float | None = None
    ) -> list[Outcome[dict[str, Any]]]:
        return await self._many(items.GET, [(txid, fields) for txid in txids], timeout)

    async def outpoint(self, txid: bytes, vout: int, *, timeout: float | None = None) -> Outpoint:
        return await self._one(items.OUTPOINT, (txid, vout), timeout)

    async def outpoint_many(
        self, outpoints: Iterable[tuple[bytes, int]], *, timeout: float | None = None
    ) -> list[Outcome[Outpoint]]:
        return await self._many(items.OUTPOINT, outpoints, timeout)

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
        item = CreateItem.whole(raw, block_height=block_height, mined=mined, conflicting=conflicting, locked=locked)
        return await self._one(items.CREATE, item, timeout)

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
        item = CreateItem.partial(
            txid,
            outputs,
            block_height=block_height,
            mined=mined,
            coinbase=coinbase,
            conflicting=conflicting,
            locked=locked,
        )
        return await self._one(items.CREATE, item, timeout)

    async def create_many(
        self, creations: Iterable[CreateItem], *, timeout: float | None = None
    ) -> list[Outcome[dict[str, Any]]]:
        return await self._many(items.CREATE, creations, timeout)

    async def spend(self, spend: Spend, *, timeout: float | None = None) -> bool:
        return await self._one(items.SPEND, spend, timeout)

    async def spend_many(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[Outcome[bool]]:
        return await self._many(items.SPEND, spends, timeout)

    async def spend_transaction(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[bool]:
        outcomes = await self._many(items.SPEND, spends, timeout, ONE_TRANSACTION)
        return items.all_or_refusal(outcomes)

    async def abandon(self, spend: Spend, *, timeout: float | None = None) -> bool:
        return await self._one(items.ABANDON, spend, timeout)

    async def abandon_many(self, spends: Iterable[Spend], *, timeout: float | None = None) -> list[Outcome[bool]]:
        return await self._many(items.ABANDON, spends, timeout)

    async def increment(
        self, txid: bytes, delta: int, block_height: int, *, timeout: float | None = None
    ) -> Incremented:
        return await self._one(items.INCREMENT, (txid, delta, block_height), timeout)

    async def increment_many(
        self, increments: Iterable[Increment], *, timeout: float | None = None
    ) -> list[Outcome[Incremented]]:
        return await self._many(items.INCREMENT, increments, timeout)

    async def set_dah(self, txid: bytes, child_index: int, height: int, *, timeout: float | None = None) -> bool:
        return await self._one(items.SET_DAH, (txid, child_index, height), timeout)

    async def set_dah_many(self, settings: Iterable[SetDah], *, timeout: float | None = None) -> list[Outcome[bool]]:
        return await self._many(items.SET_DAH, settings, timeout)

    async def set_locked(self, txid: bytes, value: bool, *, timeout: float | None = None) -> int:
        return await self._one(items.SET_LOCKED, (txid, value), timeout)

    async def set_locked_many(
        self, settings: Iterable[SetLocked], *, timeout: float | None = None
    ) -> list[Outcome[int]]:
        return await self._many(items.SET_LOCKED, settings, timeout)

    async def _one(self, operation: Operation[T], item: Any, timeout: float | None) -> T:
        call = await self._ask(Call(operation.name, items.encode_item(item), 1), timeout)
        return items.read_single(operation, call)

    async def _many(
        self, operation: Operation[T], many: Iterable[Any], timeout: float | None, flags: int = 0
    ) -> list[Outcome[T]]:
        listed = list(many)
        payload, unsent = items.encode_items(listed)
        call = Call(operation.name, payload, len(listed) - len(unsent), flags)
        if call.count and not (flags and unsent):
            await self._ask(call, timeout)
        return items.read_outcomes(operation, call, unsent)

    async def _ask(self, call: Call, timeout: float | None) -> Call:
        call.deadline = time.monotonic() + (self._timeout if timeout is None else items.checked_timeout(timeout))
        await self._io.ask(call)
        return call
