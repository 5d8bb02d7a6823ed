"""What of the broker can be set. Durations are seconds; the core counts in microseconds.

Every number has a least and a greatest value, and within them a daemon starts and serves. They are checked by whoever
reads settings from a file, the environment or flags.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final

from annotated_types import Interval

from protocol.wire import Limits

MICROSECONDS = 1_000_000

Items = Annotated[int, Interval(ge=1, le=10_000_000)]
Patience = Annotated[float, Interval(ge=0, le=3600)]

PATIENCE_REASON: Final = "to have none is to be impatient; beyond an hour nobody waits for it"
_ITEMS_REASON: Final = "ten million take some 10 GB of memory; a daemon that should keep more waiting should refuse it"

_LIMITS = Limits()


@dataclass(frozen=True)
class BrokerSettings:
    """Each with its help, its unit, the reason of its range, and whether a reload changes it while the daemon runs."""

    sweep_seconds: Annotated[float, Interval(ge=0.001, le=1)] = field(
        default=0.05,
        metadata={
            "help": "how often deadlines are rechecked",
            "unit": "seconds",
            "reason": "the loop waits in whole milliseconds, and looks after workers once a sweep, which is to be soon",
        },
    )
    batch_limit: Annotated[int, Interval(ge=1, le=100_000)] = field(
        default=1000,
        metadata={
            "help": "items in one dispatch at most",
            "unit": "items",
            "reason": "each item may be a request, and so a frame of the message to the worker",
            "live": True,
        },
    )
    max_items: Annotated[int, Interval(ge=1, le=1_000_000)] = field(
        default=_LIMITS.max_items,
        metadata={
            "help": "items in one request at most",
            "unit": "items",
            "reason": "one request is one dispatch: what it holds must be done within broker.budget_seconds",
        },
    )
    max_body_bytes: Annotated[int, Interval(ge=1024, le=(1 << 32) - 1)] = field(
        default=_LIMITS.max_body_bytes,
        metadata={
            "help": "size of a request's body at most",
            "unit": "bytes",
            "reason": "MessagePack's lengths have 32 bits",
        },
    )
    max_timeout_seconds: Annotated[float, Interval(ge=0.1, le=86_400)] = field(
        default=3600.0,
        metadata={
            "help": "how far ahead a deadline may lie",
            "unit": "seconds",
            "reason": "clients cut their deadlines to it: less than their own ticks would be none; who waits for days "
            "waits for ever",
        },
    )
    queue_items: Items = field(
        default=200_000,
        metadata={
            "help": "items that may wait in one pool's queue",
            "unit": "items",
            "reason": _ITEMS_REASON,
            "live": True,
        },
    )
    queue_bytes: Annotated[int, Interval(ge=1, le=1 << 40)] = field(
        default=1 << 29,
        metadata={
            "help": "what may wait in one pool's queue, in size",
            "unit": "bytes",
            "reason": "an empty queue takes any request, so that it may be smaller than a body; the most is more than "
            "a host has",
            "live": True,
        },
    )
    owed_items: Items = field(
        default=50_000,
        metadata={
            "help": "owed follow-up items from which on new parents are held back",
            "unit": "items",
            "reason": _ITEMS_REASON,
            "live": True,
        },
    )
    budget_seconds: Annotated[float, Interval(ge=0.01, le=30)] = field(
        default=5.0,
        metadata={
            "help": "what one dispatch may take in the store",
            "unit": "seconds",
            "reason": 'stores count in milliseconds, some with 0 for "for ever"; a creation\'s lock is held for '
            "30 s at least, and all that is done under it must have ended by then",
            "live": True,
        },
    )
    grace_seconds: Patience = field(
        default=1.0,
        metadata={
            "help": "how far a dispatch may outlast its time until its worker is ended",
            "unit": "seconds",
            "reason": PATIENCE_REASON,
            "live": True,
        },
    )
    workerless_seconds: Patience = field(
        default=5.0,
        metadata={
            "help": "how long a pool without a worker keeps its items waiting",
            "unit": "seconds",
            "reason": PATIENCE_REASON,
            "live": True,
        },
    )
    probe_seconds: Annotated[float, Interval(ge=0.01, le=3600)] = field(
        default=1.0,
        metadata={
            "help": "how long an open breaker waits before it lets a probe through",
            "unit": "seconds",
            "reason": "without a pause every request would be a probe",
            "live": True,
        },
    )

    @property
    def limits(self) -> Limits:
        return Limits(self.max_items, self.max_body_bytes, int(self.max_timeout_seconds * MICROSECONDS))

    @property
    def execution_limit_seconds(self) -> float:
        """From dispatch to where a worker counts as wedged. A store refuses what it can't begin within the budget (the
        embedded one: what waits that long for its writer's lock), so that waiting is never taken for a wedge."""
        return self.budget_seconds + self.grace_seconds
