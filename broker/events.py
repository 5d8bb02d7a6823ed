"""What happens to the core, as it is told of it. Frames become events in decoding.py."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from protocol.wire import RequestHeader
from protocol.worker_wire import FollowUp

from .entry import Body

# ---- of submitters


class HelloReceived(NamedTuple):
    submitter: Hashable
    request_id: bytes


class StatusReceived(NamedTuple):
    submitter: Hashable
    request_id: bytes


class RequestReceived(NamedTuple):
    submitter: Hashable
    request_id: bytes
    header: RequestHeader
    body: Body


class MalformedReceived(NamedTuple):
    """A message with a readable request id that is not a valid message of a submitter. code: of the error to refuse it
    with."""

    submitter: Hashable
    request_id: bytes
    code: str
    message: str


class UnreadableReceived(NamedTuple):
    """A message without a prefix: there is nothing that could be answered."""


class ReplyUndelivered(NamedTuple):
    """A submitter could not be sent an answer. item_count: items that it answered."""

    item_count: int


# ---- of workers


class WorkerReady(NamedTuple):
    """A worker of `pool` gives its first credit. pid: its process."""

    worker: bytes
    pool: str
    pid: int = 0


class WorkerDone(NamedTuple):
    """A worker has answered the dispatch of that number, and returns its credit. replies: header and body of each
    request's reply, one after the other. timed_out: its store gave no answer to anything. store_us: microseconds that
    its calls of the store took. ignored: items that it completed twice. dropped: lines of its log so far."""

    worker: bytes
    number: int
    follow_ups: Sequence[FollowUp]
    timed_out: bool
    store_us: int
    ignored: int
    dropped: int
    replies: Sequence[Body]


class WorkerMalformed(NamedTuple):
    """A worker has sent a message that can't be read."""

    worker: bytes
    reason: str


class WorkerLost(NamedTuple):
    """A worker is gone, and all that it had sent has been told of."""

    worker: bytes
    reason: str


SubmitterEvent = HelloReceived | StatusReceived | RequestReceived | MalformedReceived | UnreadableReceived
WorkerEvent = WorkerReady | WorkerDone | WorkerMalformed
Event = SubmitterEvent | WorkerEvent | WorkerLost | ReplyUndelivered
