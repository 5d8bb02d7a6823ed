"""The codes an answer can carry. They are stable: a code is never renamed, and never changes its meaning.

An answer is `OK`, a *rejection* (the rules of the UTXO set said no; nothing was executed) or a *fault* (the request
could not be served). An error says whether it was executed: `NO` is never wrong, nothing of the item was or will be
executed; `UNKNOWN` means that it may have been, and that asking again is safe, but for a few operations
(docs/protocol.md, Asking again).
"""

OK = "OK"

# Was the item executed? (Every error says so; an answer that is OK was.)
NO = "no"
UNKNOWN = "unknown"

# Faults.
STALE = "STALE"
BAD_REQUEST = "BAD_REQUEST"
TOO_LARGE = "TOO_LARGE"
UNSUPPORTED = "UNSUPPORTED"
OVERLOADED = "OVERLOADED"
UNAVAILABLE = "UNAVAILABLE"
SHUTTING_DOWN = "SHUTTING_DOWN"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
WORKER_CRASHED = "WORKER_CRASHED"
STORE_ERROR = "STORE_ERROR"
NO_ANSWER = "NO_ANSWER"
INTERNAL = "INTERNAL"

FAULTS = frozenset(
    {
        STALE,
        BAD_REQUEST,
        TOO_LARGE,
        UNSUPPORTED,
        OVERLOADED,
        UNAVAILABLE,
        SHUTTING_DOWN,
        DEADLINE_EXCEEDED,
        WORKER_CRASHED,
        STORE_ERROR,
        NO_ANSWER,
        INTERNAL,
    }
)

# Rejections, by the rules of the UTXO set.
TX_NOT_FOUND = "TX_NOT_FOUND"
TX_EXISTS = "TX_EXISTS"
LEFTOVER = "LEFTOVER"
CREATING = "CREATING"
CONFLICTING = "CONFLICTING"
LOCKED = "LOCKED"
COINBASE_IMMATURE = "COINBASE_IMMATURE"
UTXOS_NOT_FOUND = "UTXOS_NOT_FOUND"
UTXO_NOT_FOUND = "UTXO_NOT_FOUND"
UTXO_HASH_MISMATCH = "UTXO_HASH_MISMATCH"
UTXO_INVALID_SIZE = "UTXO_INVALID_SIZE"
UTXO_NOT_FROZEN = "UTXO_NOT_FROZEN"
ALREADY_FROZEN = "ALREADY_FROZEN"
FROZEN = "FROZEN"
FROZEN_UNTIL = "FROZEN_UNTIL"
SPENT = "SPENT"
INVALID_SPEND = "INVALID_SPEND"
INVALID_PARAMETER = "INVALID_PARAMETER"
ABANDONED = "ABANDONED"
SPENDER_EXISTS = "SPENDER_EXISTS"
SPENDER_MINED = "SPENDER_MINED"

REJECTIONS = frozenset(
    {
        TX_NOT_FOUND,
        TX_EXISTS,
        LEFTOVER,
        CREATING,
        CONFLICTING,
        LOCKED,
        COINBASE_IMMATURE,
        UTXOS_NOT_FOUND,
        UTXO_NOT_FOUND,
        UTXO_HASH_MISMATCH,
        UTXO_INVALID_SIZE,
        UTXO_NOT_FROZEN,
        ALREADY_FROZEN,
        FROZEN,
        FROZEN_UNTIL,
        SPENT,
        INVALID_SPEND,
        INVALID_PARAMETER,
        ABANDONED,
        SPENDER_EXISTS,
        SPENDER_MINED,
    }
)
