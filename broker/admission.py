"""Whether a request is let in: could this daemon, in this incarnation, execute it, and is there room for it now?

Each check answers None, or the fault to refuse the request with. All of them say `executed: no`.
"""

from collections.abc import Hashable
from typing import Final

from protocol import codes, wire
from protocol.codes import NO
from protocol.wire import Error, Limits, RequestHeader

from .pool import Pool
from .scheduling import POOL_OF_REQUEST

# When a worker of an empty pool may be back; the supervisor restarts one in about half of it.
WORKER_BACK_MS: Final = 1_000


def unacceptable(header: RequestHeader, size: int, limits: Limits, epoch: int, now: int) -> Error | None:
    """size: bytes of the body. now: microseconds on the daemon's clock."""
    if header.epoch != epoch:
        return Error(codes.STALE, NO, "epoch: meant for another start of the daemon; repeat the handshake")
    if header.deadline <= now:
        return Error(codes.STALE, NO, "deadline: had passed on arrival")
    if header.deadline > now + limits.max_timeout_us:
        return Error(codes.BAD_REQUEST, NO, f"deadline: more than {limits.max_timeout_us} us ahead")
    if header.operation not in POOL_OF_REQUEST:
        return Error(codes.UNSUPPORTED, NO, f"operation: {header.operation!r} is not known")
    if header.count == 0:
        return Error(codes.BAD_REQUEST, NO, "count: a request has at least one item")
    if header.count > limits.max_items:
        return Error(codes.TOO_LARGE, NO, f"count: {header.count} items, {limits.max_items} at most")
    if size > limits.max_body_bytes:
        return Error(codes.TOO_LARGE, NO, f"body: {size} bytes, {limits.max_body_bytes} at most")
    if header.flags & ~wire.ONE_TRANSACTION or (header.flags and header.operation != "spend"):
        return Error(codes.BAD_REQUEST, NO, f"flags: {header.flags} has no meaning for {header.operation}")
    return None


def no_room(pool: Pool, submitter: Hashable, weight: int, size: int, now: int) -> Error | None:
    """Why the pool takes nothing, or nothing more of this submitter, just now."""
    if pool.refuses(now):
        wait_ms = max(1, (pool.breaker.probe_at - now) // 1000)
        return Error(codes.UNAVAILABLE, NO, f"pool {pool.name}: its store does not answer", wait_ms)
    if pool.is_workerless_for_too_long(now):
        return Error(codes.UNAVAILABLE, NO, f"pool {pool.name} has no worker", WORKER_BACK_MS)
    if not pool.has_room(submitter, weight, size):
        return Error(codes.OVERLOADED, NO, f"pool {pool.name}: its queue is full", pool.retry_after_ms())
    return None
