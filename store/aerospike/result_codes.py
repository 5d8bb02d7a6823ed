"""The result codes of Aerospike's servers (positive) and of its client (negative), as far as they matter here."""

from typing import Final

from store.interface import Status

OK: Final = 0
NO_NODE: Final = 1  # of a batch of which nothing was sent; of a single record it is a server's error
TIMEOUT: Final = 9
NO_NAMESPACE: Final = 20
UDF_FAILED: Final = 100
BATCH_TOO_LARGE: Final = 151
CLIENT_ERROR: Final = -1
NO_RESPONSE: Final = -15
BATCH_FAILED: Final = -16  # of a batch: some operation of it failed

FORBIDDEN: Final = frozenset({80, 81, 82})  # not logged in, lacks the right, or may not from this address

STATUSES: Final = {
    OK: Status.OK,
    2: Status.NOT_FOUND,
    5: Status.EXISTS,
    13: Status.TOO_BIG,
    27: Status.CONDITION_FALSE,
    # No room left, too many ask for one record, the device lags behind, the batch queues are full.
    8: Status.OVERLOADED,
    14: Status.OVERLOADED,
    18: Status.OVERLOADED,
    152: Status.OVERLOADED,
    # Sent in smaller parts from now on.
    BATCH_TOO_LARGE: Status.OVERLOADED,
    # The namespace, or the set, takes no writes as it is now.
    22: Status.UNAVAILABLE,
    # No node has the partition, no node to ask, the client's own breaker, every connection is taken, no node of it.
    11: Status.UNAVAILABLE,
    -14: Status.UNAVAILABLE,
    -7: Status.UNAVAILABLE,
    -8: Status.UNAVAILABLE,
    -10: Status.UNAVAILABLE,
}
_NAMES: Final = {
    -16: "batch failed",
    -15: "no response",
    -14: "max error rate reached: the client lets the node rest",
    -12: "max retries exceeded",
    -10: "connection failed",
    -8: "no such node",
    -7: "no more connections",
    1: "server error",
    4: "invalid request",
    8: "out of space: the namespace stops writes",
    9: "timeout",
    11: "partition unavailable",
    14: "hot key: too many ask for this record",
    18: "device overload: writes lag behind the device",
    20: "no such namespace",
    22: "forbidden for now: the nodes' clocks differ too much, a set has stopped writes, rules are switched off, or a "
    "time to live needs nsup-period > 0",
    81: "role violation: the user lacks the right",
    100: "the rule raised an error",
    BATCH_TOO_LARGE: "batch too large: a node's batch-max-requests is lower than it was",
    152: "batch queues full",
}
# What the server answers before it has changed anything.
REFUSALS: Final = frozenset(
    {2, 3, 4, 5, 8, 10, 11, 12, 13, 14, 16, 18, 20, 21, 22, 26, 27, 80, 81, 82, 83, 100, BATCH_TOO_LARGE, 152}
)


def describe(code: int) -> str:
    return f"Aerospike: {_NAMES.get(code, 'failed')} (result code {code})"
