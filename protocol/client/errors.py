"""What a client raises: one small hierarchy, so that a caller can catch as widely or as narrowly as it needs.

UtxodError
  Rejection           the rules of the UTXO set said no; nothing was executed
    Spent, Locked, TxNotFound, TxExists, Leftover, Creating, Abandoned, SpenderExists, or this class itself
  Fault               the request could not be served; see `.executed`
    NoAnswer (ClientClosed), Overloaded, Unavailable, DeadlineExceeded, BadRequest, or this class itself
"""

import copyreg
from collections.abc import Mapping
from typing import Any

from .. import codes
from ..wire import Error


class UtxodError(Exception):
    """code: a stable string of `codes`. executed: "no" or "unknown". retry_after: seconds, None where asking again
    later is no use. details: what the code's entry in docs/protocol.md says. request_id: what `utxod explain` tells the
    fate of, the request's id in hexadecimal and the item's index in it, as in "00...00/7"; empty where nothing was ever
    sent. It survives pickling and copying whole."""

    _tells_id = False  # in its text

    def __init__(self, error: Error, request_id: str = "") -> None:
        text = f"{error.code}: {error.message}" if error.message else error.code
        # A rejection is what the rules say, whoever asks.
        super().__init__(f"{text} (request {request_id})" if request_id and self._tells_id else text)
        self.code = error.code
        self.executed = error.executed
        self.message = error.message
        self.retry_after = error.retry_after / 1000 if error.retry_after else None
        self.details: Mapping[str, Any] = error.details
        self.request_id = request_id

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception's own way back is by its constructor, from the text: that is not what this one takes.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class Rejection(UtxodError):
    """The rules of the UTXO set said no; nothing was executed."""


class TxNotFound(Rejection):
    """TX_NOT_FOUND: no transaction with this txid is in the set."""


class TxExists(Rejection):
    """TX_EXISTS: the transaction is in the set already."""


class Leftover(Rejection):
    """LEFTOVER: child records of an earlier life of the transaction are there; an operator may remove them."""


class Creating(Rejection):
    """CREATING: another creator has not finished; ask again after `.retry_after` seconds."""


class Abandoned(Rejection):
    """ABANDONED: the transaction is being abandoned; ask again after `.retry_after` seconds."""


class SpenderExists(Rejection):
    """SPENDER_EXISTS: the transaction that was to give back its spends came to be, and is not conflicting."""


class Spent(Rejection):
    """SPENT: another transaction has spent the output; `.details` names it."""


class Locked(Rejection):
    """LOCKED: the transaction is locked."""


class Fault(UtxodError):
    """The request could not be served. Where `.executed` is "unknown", asking again is safe, but for freeze, unfreeze,
    reassign and increment (docs/protocol.md, Asking again)."""

    _tells_id = True


class NoAnswer(Fault):
    """NO_ANSWER: it never left the client ("no"); or nothing came in time, or the connection was lost ("unknown")."""


class ClientClosed(NoAnswer):
    """NO_ANSWER ("no"): the client is closed, is the copy of one that a fork made, or belongs to another event loop;
    nothing was sent."""


class Overloaded(Fault):
    """OVERLOADED: a queue bound was hit; ask again after `.retry_after` seconds."""


class Unavailable(Fault):
    """UNAVAILABLE: nobody could execute it just now."""


class DeadlineExceeded(Fault):
    """DEADLINE_EXCEEDED: the deadline passed, in the queue ("no") or in execution ("unknown")."""


class BadRequest(Fault):
    """BAD_REQUEST, TOO_LARGE, UNSUPPORTED: not what the protocol says; the message names the field."""


_CLASSES: Mapping[str, type[UtxodError]] = {
    codes.TX_NOT_FOUND: TxNotFound,
    codes.TX_EXISTS: TxExists,
    codes.LEFTOVER: Leftover,
    codes.CREATING: Creating,
    codes.ABANDONED: Abandoned,
    codes.SPENDER_EXISTS: SpenderExists,
    codes.SPENT: Spent,
    codes.LOCKED: Locked,
    codes.NO_ANSWER: NoAnswer,
    codes.OVERLOADED: Overloaded,
    codes.UNAVAILABLE: Unavailable,
    codes.DEADLINE_EXCEEDED: DeadlineExceeded,
    codes.BAD_REQUEST: BadRequest,
    codes.TOO_LARGE: BadRequest,
    codes.UNSUPPORTED: BadRequest,
}


def to_exception(error: Error, request_id: str = "") -> UtxodError:
    """The exception for an answer's error: of the code's own class, or a Rejection, or a Fault (as an unknown code).
    request_id: as the exception's."""
    kind = _CLASSES.get(error.code, Rejection if error.code in codes.REJECTIONS else Fault)
    return kind(error, request_id)
