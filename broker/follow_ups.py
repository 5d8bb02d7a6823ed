"""Work that follows from work, as entries of the ledger's kind: follow-ups, and reads that are dispatched again."""

from collections.abc import Sequence

from protocol.worker_wire import FollowUp

from .entry import NEVER, NO_REQUEST, Entry
from .pool import Dispatch, Pool
from .scheduling import POOL_OF_FOLLOW_UP, POOLS


def follow_up_entries(
    pool: Pool, dispatch: Dispatch, follow_ups: Sequence[FollowUp], now: int
) -> tuple[dict[int, list[Entry]], list[Entry]]:
    """What follows now from a dispatch of `pool`: parts, by the index of the request whose answer waits for them; and
    what is owed. Raises ValueError where one is not allowed: out of this pool, or for an item that there is not."""
    parts: dict[int, list[Entry]] = {}
    owed: list[Entry] = []
    for request_index, item_index, operation, key, weight, body in follow_ups:
        target = POOL_OF_FOLLOW_UP.get(operation)
        if target is None or not pool.kind.has_follow_ups or POOLS[target].rank <= pool.kind.rank:
            raise ValueError(f"follow-up {operation!r} out of pool {pool.name}")
        parent = None if request_index is None else _parent(dispatch, request_index, item_index)
        entry = Entry(
            operation=operation,
            pool=target,
            deadline=NEVER if parent is None else parent.deadline,
            weight=weight,
            body=body,
            arrived=now,
            request_id=NO_REQUEST if parent is None else parent.request_id,
            parent=parent,
            parent_item=item_index,
            key=key,
        )
        (owed if request_index is None else parts.setdefault(request_index, [])).append(entry)
    return parts, owed


def _parent(dispatch: Dispatch, request_index: int, item_index: int) -> Entry:
    entries = dispatch.entries
    if not 0 <= request_index < len(entries) or not 0 <= item_index < entries[request_index].item_count:
        raise ValueError(f"follow-up of item {item_index} of request {request_index}, which was not in the dispatch")
    return entries[request_index]


def single_reads(entry: Entry) -> list[Entry]:
    """Each item of a read that lost its worker, alone, so that a poisonous one takes no neighbour with it. It has
    waited since the read arrived."""
    return [
        Entry(
            operation=entry.operation,
            pool=entry.pool,
            deadline=entry.deadline,
            weight=1,
            body=entry.body,
            arrived=entry.arrived,
            request_id=entry.request_id,
            flags=entry.flags,
            parent=entry,
            parent_item=item,
            only_item=item,
        )
        for item in range(entry.item_count)
    ]
