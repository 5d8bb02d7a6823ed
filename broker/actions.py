"""What the core wants done; its driver, the supervisor, does it. A submitter is whatever the driver has called it."""

from collections.abc import Hashable
from typing import Any, Literal, NamedTuple

from protocol import wire

from .entry import Body


class Send(NamedTuple):
    """Frames for a submitter. item_count: items that they answer."""

    submitter: Any
    frames: list[Body]
    item_count: int


def reply(submitter: Hashable, request_id: bytes, header: Body, body: Body, item_count: int) -> Send:
    """The reply to a request of so many items."""
    return Send(submitter, [wire.pack_prefix(wire.REPLY, request_id), header, body], item_count)


class Instruct(NamedTuple):
    """Frames for a worker."""

    worker: bytes
    frames: list[Body]


Cause = Literal["stopped", "wedged", "nonsense", "not_ready"]


class Terminate(NamedTuple):
    """The worker is stopped, wedged or answers nonsense: it must be ended. Its items are answered when it is lost.
    reason: the cause in words."""

    worker: bytes
    cause: Cause
    reason: str


class InDoubt(NamedTuple):
    """Owed work whose outcome is not known: the record of `key` may be out of date."""

    key: bytes
    operation: str
    reason: str


class LostRequest(NamedTuple):
    """A request that was in the hands of a worker that is gone, and whose follow-up work may be lost with it: the
    masters that its body names may be out of date."""

    operation: str
    body: Body
    reason: str


class ReportWanted(NamedTuple):
    """Submitters ask how the daemon is: each by its request id. One report is for all of them."""

    askers: list[tuple[Any, bytes]]


Action = Send | Instruct | Terminate | InDoubt | LostRequest | ReportWanted
