"""What of the broker can be set. Durations are seconds; the core counts in microseconds.

The ranges are checked by whoever reads settings from a file, the environment or flags.
"""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Gt

from protocol.wire import Limits

MICROSECONDS = 1_000_000

PositiveInt = Annotated[int, Gt(0)]
Seconds = Annotated[float, Gt(0)]
SecondsOrNone = Annotated[float, Ge(0)]

_LIMITS = Limits()


@dataclass(frozen=True)
class BrokerSettings:
    sweep_seconds: Seconds = field(default=0.05, metadata={"help": "how often deadlines are rechecked, in seconds"})
    batch_limit: PositiveInt = field(default=1000, metadata={"help": "items in one dispatch at most"})
    max_items: PositiveInt = field(default=_LIMITS.max_items, metadata={"help": "items in one request at most"})
    max_body_bytes: PositiveInt = field(default=_LIMITS.max_body_bytes, metadata={"help": "bytes of a request's body"})
    max_timeout_seconds: Seconds = field(
        default=3600.0, metadata={"help": "how far ahead a deadline may lie, in seconds"}
    )
    queue_items: PositiveInt = field(default=200_000, metadata={"help": "items that may wait in one pool's queue"})
    queue_bytes: PositiveInt = field(default=1 << 29, metadata={"help": "bytes that may wait in one pool's queue"})
    owed_items: PositiveInt = field(
        default=50_000, metadata={"help": "owed follow-up items from which on new parents are held back"}
    )
    budget_seconds: Seconds = field(
        default=5.0, metadata={"help": "what one dispatch may take in the store, in seconds"}
    )
    grace_seconds: SecondsOrNone = field(
        default=1.0, metadata={"help": "how far a dispatch may outlast its time until its worker is ended, in seconds"}
    )
    workerless_seconds: SecondsOrNone = field(
        default=5.0, metadata={"help": "how long a pool without a worker keeps its items waiting, in seconds"}
    )
    probe_seconds: Seconds = field(
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
