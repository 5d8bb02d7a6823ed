"""What of the broker can be set. Durations are seconds; the core counts in microseconds.

Every number has a least and a greatest value, and within them a daemon starts and serves. They are checked by whoever
reads settings from a file, the environment or flags.
"""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Interval

from protocol.wire import Limits

MICROSECONDS = 1_000_000

# Ten million entries take some 10 GB of the broker's memory; a daemon that should keep more waiting should refuse it.
Items = Annotated[int, Interval(ge=1, le=10_000_000)]
# To have none is to be impatient; beyond an hour nobody waits for it.
Patience = Annotated[float, Interval(ge=0, le=3600)]

_LIMITS = Limits()


@dataclass(frozen=True)
class BrokerSettings:
    # The loop waits in whole milliseconds; and it looks after workers once a sweep, which is to be soon.
    sweep_seconds: Annotated[float, Interval(ge=0.001, le=1)] = field(
        default=0.05, metadata={"help": "how often deadlines are rechecked, in seconds"}
    )
    # Each item may be a request, and so a frame of the message to the worker.
    batch_limit: Annotated[int, Interval(ge=1, le=100_000)] = field(
        default=1000, metadata={"help": "items in one dispatch at most"}
    )
    # One request is one dispatch: what it holds must be done within `budget_seconds`.
    max_items: Annotated[int, Interval(ge=1, le=1_000_000)] = field(
        default=_LIMITS.max_items, metadata={"help": "items in one request at most"}
    )
    # MessagePack's lengths have 32 bits.
    max_body_bytes: Annotated[int, Interval(ge=1024, le=(1 << 32) - 1)] = field(
        default=_LIMITS.max_body_bytes, metadata={"help": "bytes of a request's body"}
    )
    # Clients cut their deadlines to it: less than their own ticks would be none. Who waits for days waits for ever.
    max_timeout_seconds: Annotated[float, Interval(ge=0.1, le=86_400)] = field(
        default=3600.0, metadata={"help": "how far ahead a deadline may lie, in seconds"}
    )
    queue_items: Items = field(default=200_000, metadata={"help": "items that may wait in one pool's queue"})
    # An empty queue takes any request, so that it may be smaller than a body. The most: more than a host has.
    queue_bytes: Annotated[int, Interval(ge=1, le=1 << 40)] = field(
        default=1 << 29, metadata={"help": "bytes that may wait in one pool's queue"}
    )
    owed_items: Items = field(
        default=50_000, metadata={"help": "owed follow-up items from which on new parents are held back"}
    )
    # Stores count in milliseconds, some of them with 0 for "for ever". A creation's lock is held for 30 s at least: all
    # that is done under it must have ended by then.
    budget_seconds: Annotated[float, Interval(ge=0.01, le=30)] = field(
        default=5.0, metadata={"help": "what one dispatch may take in the store, in seconds"}
    )
    grace_seconds: Patience = field(
        default=1.0, metadata={"help": "how far a dispatch may outlast its time until its worker is ended, in seconds"}
    )
    workerless_seconds: Patience = field(
        default=5.0, metadata={"help": "how long a pool without a worker keeps its items waiting, in seconds"}
    )
    # Without a pause every request would be a probe.
    probe_seconds: Annotated[float, Interval(ge=0.01, le=3600)] = field(
        default=1.0, metadata={"help": "how long an open breaker waits before it lets a probe through, in seconds"}
    )

    @property
    def limits(self) -> Limits:
        return Limits(self.max_items, self.max_body_bytes, int(self.max_timeout_seconds * MICROSECONDS))

    @property
    def execution_limit_seconds(self) -> float:
        """From dispatch to where a worker counts as wedged. A store refuses what it can't begin within the budget (the
        embedded one: what waits that long for its writer's lock), so that waiting is never taken for a wedge."""
        return self.budget_seconds + self.grace_seconds
