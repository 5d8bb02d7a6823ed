"""The codes an answer can carry. They are stable: a code is never renamed, and never changes its meaning.

An answer is `OK`, a *rejection* (the rules of the UTXO set said no; nothing was executed) or a *fault* (the request
could not be served). An error says whether it was executed: `NO` is never wrong, nothing of the item was or will be
executed; `UNKNOWN` means that it may have been, and that asking again is safe, but for a few operations
(docs/protocol.md, Asking again).

What is said here of each code is what the documents say: their tables are made from it (`python -m tests.references`).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

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


class Meaning(NamedTuple):
    """executed: what an answer with this code may say of it. when: why it is given. advice: what the caller should do.
    Markdown, all three, and each fits into a table."""

    executed: str
    when: str
    advice: str


_EITHER: Final = f"{NO}, {UNKNOWN}"
_AGAIN: Final = "ask again"
_LATER: Final = "ask again after `retry_after`"
_MEND: Final = "mend the program: asking again gives the same"
_ACCEPT: Final = "take it for the answer"
_LOOK: Final = "look at the output (`utxo`): the caller's picture of it is wrong"

FAULT_MEANINGS: Final[Mapping[str, Meaning]] = {
    STALE: Meaning(
        NO,
        "meant for an earlier start of the daemon, or past its deadline on arrival",
        "shake hands anew, and ask again",
    ),
    BAD_REQUEST: Meaning(
        NO, "the frames or the item are not what the protocol says; the message names the field", _MEND
    ),
    TOO_LARGE: Meaning(
        NO, "more items, or a larger body, than the limits", "split the request, or have the limits raised"
    ),
    UNSUPPORTED: Meaning(
        NO,
        "a version, a message type or an operation the daemon does not know",
        "use the daemon's version of the client",
    ),
    OVERLOADED: Meaning(NO, "a queue is full; `retry_after`", _LATER),
    UNAVAILABLE: Meaning(
        NO,
        "the store does not answer just now, or refuses for now, or there is no worker; `retry_after`",
        _LATER,
    ),
    SHUTTING_DOWN: Meaning(NO, "the daemon is shutting down", "ask the next daemon, or another one"),
    DEADLINE_EXCEEDED: Meaning(
        _EITHER,
        "the deadline passed: in the queue (`no`), or after the item had been handed to a worker (`unknown`)",
        "ask again, with more time",
    ),
    WORKER_CRASHED: Meaning(
        UNKNOWN,
        "the worker that had it died, was ended as wedged, or still had it when the time to drain was over",
        _AGAIN,
    ),
    STORE_ERROR: Meaning(_EITHER, "the store failed; unknown: where it may have written", _AGAIN),
    INTERNAL: Meaning(
        _EITHER,
        "a fault of the daemon, before or after the store was called; or a result that can't be read",
        "ask again, and tell the operator: the log has more",
    ),
    NO_ANSWER: Meaning(
        _EITHER,
        "never sent by the daemon: what a client tells its caller where the request never left it (`no`); where "
        "nothing came in time, or the connection was lost (`unknown`)",
        _AGAIN,
    ),
}
REJECTION_MEANINGS: Final[Mapping[str, Meaning]] = {
    TX_NOT_FOUND: Meaning(NO, "the set has no such transaction, or no such record of it", _ACCEPT),
    TX_EXISTS: Meaning(NO, "`create`: it is there already", "take it for done"),
    ABANDONED: Meaning(NO, "`create`, `accept`: the transaction is being abandoned; `retry_after`", _LATER),
    LEFTOVER: Meaning(
        NO,
        "`create`, `accept`: child records of an earlier life of the transaction are there, without their master; "
        "final until an operator removes them (`utxod leftovers TXID --remove`)",
        "tell the operator",
    ),
    CREATING: Meaning(
        NO, "another creator has not finished; of `create` and `accept` with `retry_after`", "ask again a little later"
    ),
    CONFLICTING: Meaning(NO, "the transaction is marked as conflicting", _ACCEPT),
    LOCKED: Meaning(NO, "the transaction is marked as locked", "ask again once it is unlocked or mined"),
    COINBASE_IMMATURE: Meaning(NO, "the coinbase may not be spent at this height yet", "ask again at a later height"),
    UTXOS_NOT_FOUND: Meaning(NO, "the record has no list of outputs", _ACCEPT),
    UTXO_NOT_FOUND: Meaning(NO, "there is no such output, or it is no UTXO", _ACCEPT),
    UTXO_HASH_MISMATCH: Meaning(NO, "the output is another than the caller thinks", _LOOK),
    UTXO_INVALID_SIZE: Meaning(
        NO,
        "`unfreeze`, `reassign`: the output is unspent, and not frozen; or what is stored of it has a wrong size",
        _LOOK,
    ),
    UTXO_NOT_FROZEN: Meaning(NO, "`unfreeze`, `reassign`: the output is spent", _LOOK),
    ALREADY_FROZEN: Meaning(NO, "`freeze`: the output is frozen", "take it for done, by whomever"),
    FROZEN: Meaning(NO, "the output is frozen", _ACCEPT),
    FROZEN_UNTIL: Meaning(
        NO, "the output was reassigned, and is not spendable at this height yet", "ask again at a later height"
    ),
    SPENT: Meaning(NO, "another has spent it", "take it for the answer: the details name the spender"),
    INVALID_SPEND: Meaning(
        NO,
        "this spender did spend an output of the record, and was pruned since: it neither spends nor gives back",
        _ACCEPT,
    ),
    SPENDER_EXISTS: Meaning(
        NO, "`abandon`: the transaction is in the set, and not conflicting: what it spends stands", _ACCEPT
    ),
    SPENDER_MINED: Meaning(NO, "`unspend`, `abandon`: the spender is mined on the longest chain", _ACCEPT),
    INVALID_PARAMETER: Meaning(
        NO,
        "a parameter that the rules refuse: a hash that is not 32 bytes, spending data of FF only, a negative offset, "
        "a count out of range",
        _MEND,
    ),
}

FAULTS = frozenset(FAULT_MEANINGS)
REJECTIONS = frozenset(REJECTION_MEANINGS)
