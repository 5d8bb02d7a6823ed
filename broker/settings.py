"""What of the broker can be set. Durations are seconds; the core counts in microseconds."""

from dataclasses import dataclass, field

from protocol.wire import Limits

MICROSECONDS = 1_000_000

_LIMITS = Limits()


def _seconds(default: float, help: str) -> float:
    value: float = field(default=default, metadata={"help": help})
    return value


@dataclass(frozen=True)
class BrokerSettings:
    sweep_seconds: float = _seconds(0.05, "how often deadlines are rechecked, in seconds")
    batch_limit: int = field(default=1000, metadata={"help": "items in one dispatch at most"})
    max_items: int = field(default=_LIMITS.max_items, metadata={"help": "items in one request at most"})
    max_body_bytes: int = field(default=_LIMITS.max_body_bytes, metadata={"help": "bytes of a request's body at most"})
    max_timeout_seconds: float = _seconds(3600.0, "how far ahead a deadline may lie, in seconds")
    queue_items: int = field(default=200_000, metadata={"help": "items that may wait in one pool's queue"})
    queue_bytes: int = field(default=512 * 1024 * 1024, metadata={"help": "bytes that may wait in one pool's queue"})
    owed_items: int = field(
        default=50_000, metadata={"help": "owed follow-up items from which on new parents are held back"}
    )
    budget_seconds: float = _seconds(5.0, "what one dispatch may take in the store, in seconds")
    grace_seconds: float = _seconds(
        1.0, "how far a dispatch may outlast its time until its worker is ended, in seconds"
    )
    workerless_seconds: float = _seconds(5.0, "how long a pool without a worker keeps its items waiting, in seconds")
    probe_seconds: float = _seconds(1.0, "how long an open breaker waits before it lets a probe through, in seconds")

    @property
    def limits(self) -> Limits:
        return Limits(self.max_items, self.max_body_bytes, int(self.max_timeout_seconds * MICROSECONDS))

    @property
    def execution_limit_seconds(self) -> float:
        """From dispatch to where a worker counts as wedged. A store refuses what it can't begin within the budget (the
        embedded one: what waits that long for its writer's lock), so that waiting is never taken for a wedge."""
        return self.budget_seconds + self.grace_seconds
