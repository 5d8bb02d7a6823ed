"""The client's core: what is asked, what is sent, what is answered. No I/O and no clock: events in, actions out.

The rules it keeps:

1.  The handshake comes first. Nothing else is sent before the daemon has told its epoch, its clock and its limits
    (handshake.py).
2.  Calls that wait when the driver next gets to run are packed together: one request per operation, flags and deadline,
    within the daemon's limits. No call waits for a timer, or for the answer to another.
3.  A deadline on the wire is never later than the caller asked for, but for what the two clocks have drifted apart
    since the daemon's was sampled last (handshake.py). It is rounded down to a tick, so that calls made at the same
    time share one.
4.  A call larger than the limits is sent in pieces, and their results are put together (split_call.py). An item too
    large alone fails alone. The spends of one transaction are neither split nor put together with others.
5.  Every call is settled: by its answer; or as NO_ANSWER. That is "unknown" for what was handed to the socket: at the
    deadline plus the grace, and at once where the connection is lost, the daemon turns out to be another one than
    before, or the session is closed. It is "no" for what never left: at the deadline, or when the session is closed.
    What never left outlives the connection: the next daemon is asked. The items of a call that was split may differ.
6.  A message that fits no pending request, or is not what the protocol says, is dropped and counted.

The driver and its channel feed it (`submit`, `cancel`, `received`, `connection_lost`, `expire`, `close`), send what
`outgoing` gives, return with `give_back` what the socket does not take, and wake the callers of what `take_settled`
gives.
"""

import heapq
import os
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgpack

from .. import codes, wire
from ..wire import ARRAY_HEADER_BYTES, Error
from .call import REPORT_CALL, Call
from .handshake import Handshake
from .split_call import fits, split

TICK_US: Final = 10_000  # deadlines on the wire are multiples of it;
FINE_TICK_US: Final = 1_000  # of this one
FINE_TICK_BELOW: Final = 0.1  # when fewer seconds are left
SWEEP: Final = 0.05  # seconds between two looks at what has expired
RECONNECT_MAX: Final = 1.0  # seconds between two connections that did not get as far as a welcome

_REQUEST_ID = struct.Struct("<8sQ")
_ok_header = lru_cache(256)(wire.ok_header)  # to be compared with costs a third of being read
_array_header = msgpack.Packer().pack_array_header


@dataclass(slots=True)
class Counters:
    """What a client has done, and what it has dropped."""

    items: int = 0  # sent
    requests: int = 0  # sent
    answers: int = 0  # to requests that were waited for
    greetings: int = 0  # handshakes that were begun: HELLO was sent
    epochs: int = 0  # daemons that were met: one per start of a daemon
    connections_lost: int = 0
    no_answer: int = 0  # calls settled without an answer
    late: int = 0  # answers to a request that was settled before, or a second answer to one
    unknown: int = 0  # answers to a request that this session never sent
    malformed: int = 0  # messages that are not what the protocol says


class _Request:
    """Calls under way together. deadline: seconds on the client's clock. wanted: how many of them are waited for."""

    __slots__ = ("bucket", "calls", "count", "deadline", "frames", "id", "operation", "wanted")

    def __init__(self, request_id: bytes, operation: str, calls: list[Call], count: int, frames: list[bytes]) -> None:
        self.id = request_id
        self.operation = operation
        self.calls = calls
        self.wanted = len(calls)
        self.count = count
        self.deadline = calls[0].deadline
        self.frames = frames
        self.bucket: dict[bytes, _Request] = {}
        first = 0
        for call in calls:
            call.request, call.request_id, call.first = self, request_id, first
            first += call.count


class Session:
    """grace: seconds beyond its deadline in which a call's answer is still waited for. counters: go on counting."""

    def __init__(self, grace: float, counters: Counters | None = None) -> None:
        self.counters = counters or Counters()
        self.handshake = Handshake()
        self.problem = ""  # what keeps the channel from connecting, for people
        self._grace = grace
        self._number = os.urandom(8)
        self._sequence = 0
        self._last_outgoing: _Request | None = None  # what `outgoing` gave; None: HELLO
        self._reconnect_delay = 0.0
        self._waiting: dict[Call, None] = {}  # an ordered set
        self._outbox: deque[_Request] = deque()
        self._pending: dict[bytes, _Request] = {}
        self._buckets: dict[int, dict[bytes, _Request]] = {}  # of `_pending`, by when they expire, in SWEEPs
        self._bucket_times: list[int] = []  # a heap
        self._settled: list[Call] = []

    # Events.

    def submit(self, call: Call) -> None:
        """A caller asks. Its call goes out with the next `outgoing`."""
        self._waiting[call] = None

    def cancel(self, call: Call) -> None:
        """The caller waits no longer. An answer that still comes is dropped."""
        call.waiter = None
        for piece in call.pieces:
            self._waiting.pop(piece, None)
            request, piece.request = piece.request, None  # an interrupt may make it come again
            if request is not None:
                request.wanted -= 1
                if not request.wanted and request.id in self._pending:
                    self._forget(request)

    def received(self, frames: Sequence[bytes], now: float) -> None:
        """A message has come."""
        prefix = wire.unpack_prefix(frames[0])
        try:
            if prefix is None or prefix.version != wire.VERSION:
                raise wire.ProtocolError(codes.UNSUPPORTED, "prefix")
            if prefix.request_id == self.handshake.request_id:
                self._handshake_answered(prefix.type, frames, now)
            elif prefix.request_id in self._pending:
                self._answered(self._pending[prefix.request_id], prefix.type, frames, now)
            else:
                number, sequence = _REQUEST_ID.unpack(prefix.request_id)
                if number == self._number and sequence <= self._sequence:
                    self.counters.late += 1
                else:
                    self.counters.unknown += 1
        except wire.ProtocolError:
            self.counters.malformed += 1

    def connection_lost(self, now: float) -> float:
        """Nobody will answer what was sent. Returns when to connect again."""
        self.counters.connections_lost += 1
        self._fail_sent("the connection to the daemon was lost")
        self.handshake.restart(now)
        again = now + self._reconnect_delay
        self._reconnect_delay = min(RECONNECT_MAX, 0.02 + 2 * self._reconnect_delay)
        return again

    def expire(self, now: float) -> None:
        """Settles what has waited too long. To be called every SWEEP while `busy`."""
        while self._bucket_times and self._bucket_times[0] * SWEEP <= now:
            for request in list(self._buckets.pop(heapq.heappop(self._bucket_times)).values()):
                self._fail(request.calls, codes.UNKNOWN, "no answer in time")
                self._forget(request)
        expired = [call for call in self._waiting if call.deadline <= now]
        for call in expired:
            del self._waiting[call]
        self._fail(expired, codes.NO, self._unsent)
        self._drop_expired_outbox(now)

    def close(self, reason: str) -> None:
        """Settles every call."""
        self._fail_sent(reason)
        for request in self._outbox:
            self._fail(request.calls, codes.NO, reason)
        self._fail(self._waiting, codes.NO, reason)
        self._outbox.clear()
        self._waiting.clear()

    # Actions.

    @property
    def busy(self) -> bool:
        """Somebody waits."""
        return bool(self._pending or self._waiting or self._outbox)

    @property
    def awaits_answer(self) -> bool:
        """To a request, or to HELLO."""
        return bool(self._pending or self.handshake.request_id)

    def seconds_until_due(self, now: float, *, can_send: bool) -> float | None:
        """Seconds until time alone makes something due; None: never. can_send: there is a daemon to send HELLO to."""
        if self.busy:
            return SWEEP
        return max(0.0, self.handshake.due - now) if can_send else None

    def outgoing(self, now: float) -> list[bytes] | None:
        """The next message to be sent, None if there is nothing to send. It counts as sent, unless it is given back:
        also if the driver is interrupted in between."""
        if now >= self.handshake.due:
            self._last_outgoing, hello = None, self._next_id()
            self.handshake.sent(hello, now)
            self.counters.greetings += 1
            return [wire.pack_prefix(wire.HELLO, hello)]
        if not self.handshake.ready:
            return None
        self._drop_expired_outbox(now)
        if self._waiting and not self._outbox:
            self._pack(now)
        return self._hand_over() if self._outbox else None

    def give_back(self, frames: list[bytes]) -> None:
        """The socket took nothing of what `outgoing` gave last: it is the next message again."""
        request = self._last_outgoing
        if request is None:
            self.handshake.given_back()
            self.counters.greetings -= 1
            return
        self._forget(request)
        request.frames = frames
        self._outbox.appendleft(request)
        self.counters.requests -= 1
        self.counters.items -= request.count

    def take_settled(self) -> list[Call]:
        """The calls settled since it was last asked. Their callers are to be woken."""
        settled, self._settled = self._settled, []
        return settled

    def _hand_over(self) -> list[bytes]:
        """Takes the first request out of the outbox: it counts as sent."""
        self._last_outgoing = request = self._outbox.popleft()
        self.counters.requests += 1
        self.counters.items += request.count
        bucket_time = int((request.deadline + self._grace) / SWEEP) + 1
        if bucket_time not in self._buckets:
            self._buckets[bucket_time] = {}
            heapq.heappush(self._bucket_times, bucket_time)
        request.bucket = self._buckets[bucket_time]
        request.bucket[request.id] = self._pending[request.id] = request
        frames, request.frames = request.frames, []
        return frames

    # Packing.

    def _pack(self, now: float) -> None:
        """Turns what waits into requests."""
        limits, offset = self.handshake.limits, self.handshake.clock_offset
        latest = int(now * 1_000_000) + offset + limits.max_timeout_us
        groups: dict[tuple[str, int], list[Call]] = {}
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            if call.deadline <= now:
                self._fail([call], codes.NO, self._unsent)
                continue
            deadline = min(int(call.deadline * 1_000_000) + offset, latest)
            deadline -= deadline % (TICK_US if call.deadline - now >= FINE_TICK_BELOW else FINE_TICK_US)
            if not fits(call, limits):
                pieces, settled = split(call, limits)
                if settled is not None:
                    self._settled.append(settled)
                for piece in pieces:
                    self._enqueue([piece], piece.count, deadline)
            elif call.flags or call.operation == REPORT_CALL:
                self._enqueue([call], call.count, deadline)
            else:
                groups.setdefault((call.operation, deadline), []).append(call)
        for (_, deadline), calls in groups.items():
            self._pack_together(calls, deadline, limits)

    def _pack_together(self, calls: Iterable[Call], deadline: int, limits: wire.Limits) -> None:
        """As few requests as the limits allow, in the order of the calls."""
        room = limits.max_body_bytes - ARRAY_HEADER_BYTES
        together: list[Call] = []
        count = size = 0
        for call in calls:
            count += call.count
            size += len(call.payload)
            if count > limits.max_items or size > room:
                self._enqueue(together, count - call.count, deadline)
                together, count, size = [], call.count, len(call.payload)
            together.append(call)
        self._enqueue(together, count, deadline)

    def _enqueue(self, calls: list[Call], count: int, deadline: int) -> None:
        request_id = self._next_id()
        first = calls[0]
        if first.operation == REPORT_CALL:
            frames = [wire.pack_prefix(wire.STATUS, request_id)]
        else:
            header = wire.RequestHeader(self.handshake.epoch or 0, first.operation, deadline, count, first.flags)
            body = b"".join([_array_header(count), *[call.payload for call in calls]])
            frames = [wire.pack_prefix(wire.REQUEST, request_id), wire.pack_request_header(header), body]
        self._outbox.append(_Request(request_id, first.operation, calls, count, frames))

    def _next_id(self) -> bytes:
        self._sequence += 1
        return _REQUEST_ID.pack(self._number, self._sequence)

    # Answers.

    def _handshake_answered(self, message_type: int, frames: Sequence[bytes], now: float) -> None:
        if message_type == wire.WELCOME and len(frames) == 2:
            if self.handshake.welcomed(wire.unpack_welcome(frames[1]), now):
                self.counters.epochs += 1
                self._fail_sent("the daemon was started anew")
            # What was packed, but not sent, was packed for the epoch and the limits known before.
            packed = [call for request in self._outbox for call in request.calls]
            for call in packed:
                call.request_id = b""
            self._waiting = dict.fromkeys([*packed, *self._waiting])
            self._outbox.clear()
            self._reconnect_delay = 0.0
            return
        error = _refusal(message_type, frames)
        self.handshake.refused()
        if not self.handshake.ready:
            waiting, self._waiting = self._waiting, {}
            for call in waiting:
                self._collect(call.fail(error))

    def _answered(self, request: _Request, message_type: int, frames: Sequence[bytes], now: float) -> None:
        if message_type == wire.REPORT and request.operation == REPORT_CALL and len(frames) == 2:
            try:
                header, results = wire.ReplyHeader(None, 1, {}), [wire.unpack_report(frames[1])]
            except wire.ProtocolError as error:  # whoever asked hears why, and at once
                header, results = wire.ReplyHeader(Error(error.code, codes.NO, str(error)), 1, {}), []
        elif request.operation == REPORT_CALL:
            header, results = wire.ReplyHeader(_refusal(message_type, frames), 1, {}), []
        elif message_type == wire.REPLY and len(frames) == 3:
            well = frames[1] == _ok_header(request.count)
            header = wire.ReplyHeader(None, request.count, {}) if well else wire.unpack_reply_header(frames[1])
            if header.error is None and header.count != request.count:
                raise wire.ProtocolError(codes.INTERNAL, "count")
            results = wire.unpack_body(frames[2], request.count) if header.error is None else []
        else:
            raise wire.ProtocolError(codes.INTERNAL, "message type or number of frames")
        self._forget(request)
        self.counters.answers += 1
        if header.error is not None:
            if header.error.code == codes.STALE and request.deadline > now and self.handshake.ready:
                self.handshake.restart(now)  # the epoch or the clock is not what it was
            for call in request.calls:
                self._collect(call.fail(header.error))
            return
        errors = header.errors
        start = 0
        for call in request.calls:
            end = start + call.count
            own = {index - start: errors[index] for index in range(start, end) if index in errors} if errors else {}
            self._collect(call.settle(results[start:end], own))
            start = end

    # Settling.

    def _collect(self, call: Call | None) -> None:
        """For `take_settled`. None: nobody waits for it, or pieces of it are open."""
        if call is not None:
            self._settled.append(call)

    def _fail(self, calls: Iterable[Call], executed: str, reason: str) -> None:
        error = Error(codes.NO_ANSWER, executed, reason)
        for call in calls:
            if call.settled:  # in a turn that was interrupted
                continue
            self.counters.no_answer += 1
            if executed == codes.NO:
                call.request_id = b""
            self._collect(call.fail(error))

    @property
    def _unsent(self) -> str:
        return "no daemon to send it to in time" + (f" ({self.problem})" if self.problem else "")

    def _fail_sent(self, reason: str) -> None:
        for request in list(self._pending.values()):
            self._fail(request.calls, codes.UNKNOWN, reason)
            self._forget(request)

    def _forget(self, request: _Request) -> None:
        del self._pending[request.id]
        request.bucket.pop(request.id, None)

    def _drop_expired_outbox(self, now: float) -> None:
        while self._outbox and (self._outbox[0].deadline <= now or not self._outbox[0].wanted):
            self._fail(self._outbox.popleft().calls, codes.NO, "the daemon took no more in time")


def _refusal(message_type: int, frames: Sequence[bytes]) -> Error:
    """The error of an answer that can be nothing else. Raises ProtocolError where it is not one."""
    error = wire.unpack_reply_header(frames[1]).error if message_type == wire.REPLY and len(frames) > 1 else None
    if error is None:
        raise wire.ProtocolError(codes.INTERNAL, "neither the answer that was asked for nor an error")
    return error
