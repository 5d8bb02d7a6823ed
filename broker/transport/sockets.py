"""The transport receives frames and sends frames. It never blocks when it sends, and does not look into frames.

There is one ROUTER socket of ZeroMQ per frontend address for submitters, and one link per worker (worker_links.py).
The sockets are ROUTER_MANDATORY, so a message that can't be delivered is reported. A submitter that does not read fills
its own queue of `_ANSWERS_WAITING` answers; what does not fit can't be delivered. Bodies are passed on as the frames
they came in, uncopied.

What is read of submitters in one turn is bounded in messages, frames and time. A message of more frames than any has is
judged by its first ones, and the rest is dropped piece by piece. A connection that does not get through ZeroMQ's
handshake is closed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import zmq

from broker.entry import Body

from .connections import Connections
from .descriptors import in_use
from .doors import Doors
from .worker_links import WorkerLinks

# Messages read from one socket before the others, and the clock, get their turn; and how long that may take.
_BURST: Final = 256
_TURN_US: Final = 10_000
# Answers that may wait for one submitter that does not read.
_ANSWERS_WAITING: Final = 10_000
_REQUESTS_WAITING: Final = 10_000
# A frame larger than any body that could be admitted ends its connection; up to here it gets an answer.
_FRAME_FACTOR: Final = 2
# A submitter that vanished without a word is noticed. One that stands still for some seconds has not: cut off, it could
# not know what became of what it waits for. As patient as the clients are with the daemon.
_HEARTBEAT_MS: Final = 5_000
_HEARTBEAT_TIMEOUT_MS: Final = 10_000
# Who connects and says nothing is closed after this.
_HANDSHAKE_MS: Final = 5_000
# How long answers given to ZeroMQ may still be delivered when the daemon ends.
_LINGER_MS: Final = 1_000
# Frames of a message that are read as bytes: prefix and header; and others up to this size: a frame of ZeroMQ's costs
# more than a copy, and keeps the buffer alive that it came in.
_READ_FRAMES: Final = 2
_COPIED_BYTES: Final = 4096
# Frames that are dropped between two looks at the clock.
_DROP: Final = 64
# What is read of a submitter's message: one frame more than a request has.
_MOST_FRAMES: Final = 4


# Numbers: zmq's own flags are enumerations, and to combine two of them costs as much as to send a frame.
_DONTWAIT: Final = int(zmq.DONTWAIT)
_MORE: Final = int(zmq.DONTWAIT | zmq.SNDMORE)
_READABLE: Final = int(zmq.POLLIN)

# Index of the address that it has come to, and identity of its connection there. A plain tuple, at which Python's
# collector need not look: each request that is pending holds one.
Submitter = tuple[int, bytes]


class Frontend(NamedTuple):
    """Submitters have sent something to the address of that number, counted from 0."""

    number: int


class Linked(NamedTuple):
    """The worker of that identity has sent something, or is gone, or takes more."""

    identity: bytes


class Readable(NamedTuple):
    """A watched descriptor can be read."""

    descriptor: int


class Transport:
    """frontends: addresses for submitters. max_body_bytes: of a request. workers: the links to them.

    reserve: descriptors that newcomers among the submitters must leave. clock_us: the time in microseconds,
    monotonic. addresses: the frontends', with the ports that were chosen. excess: messages so far that had more frames
    than any has.

    Raises OSError, or ZMQError, with the address in its message, where one can't be bound.
    """

    def __init__(
        self,
        frontends: Sequence[str],
        *,
        max_body_bytes: int,
        reserve: int,
        clock_us: Callable[[], int],
    ) -> None:
        self._clock_us = clock_us
        self._poller = zmq.Poller()
        self._watched: set[int] = set()
        self._frontends: list[zmq.Socket[bytes]] = []
        self._connections: list[Connections] = []
        self._in_excess: set[int] = set()  # the frontends at which the rest of a message is to be dropped
        self.excess = 0
        self.addresses: list[str] = []
        with ExitStack() as undo:  # what is made so far is undone where the rest fails, and all of it by `close`
            self.workers = WorkerLinks(self._poller)
            undo.callback(self.workers.close)
            self._doors = Doors(self.watch, self.unwatch)
            undo.callback(self._doors.release)
            self._context = zmq.Context()
            undo.callback(self._context.destroy, linger=_LINGER_MS)
            undo.callback(self._doors.unhinge)
            undo.callback(self._close_connections)
            for address in frontends:
                self._bind(address, max_body_bytes * _FRAME_FACTOR, reserve)
            self._undo = undo.pop_all()

    def _bind(self, address: str, max_frame_bytes: int, reserve: int) -> None:
        """Raises OSError, or ZMQError, with the address in its message, where it can't be bound."""
        frontend: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        frontend.router_mandatory = True
        frontend.linger = 0
        frontend.sndhwm = _ANSWERS_WAITING
        frontend.rcvhwm = _REQUESTS_WAITING
        frontend.maxmsgsize = max_frame_bytes
        frontend.heartbeat_ivl = _HEARTBEAT_MS
        frontend.heartbeat_timeout = _HEARTBEAT_TIMEOUT_MS
        frontend.handshake_ivl = _HANDSHAKE_MS
        # With a domain libzmq refuses who speaks no ZMTP 3 by the first bytes; without a handler it asks nobody.
        frontend.zap_domain = b"utxod"
        self.addresses.append(self._doors.add(frontend, address, reserve))
        self._connections.append(Connections(frontend))
        self._frontends.append(frontend)
        self._poller.register(frontend, zmq.POLLIN)

    # ---- descriptors beside the sockets: signals, ends of processes

    def watch(self, descriptor: int) -> None:
        """Has `poll` tell when the descriptor can be read."""
        self._watched.add(descriptor)
        self._poller.register(descriptor, zmq.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """`poll` no longer tells of it. Raises KeyError where it is not watched."""
        self._watched.remove(descriptor)
        self._poller.unregister(descriptor)

    # ---- receiving

    def poll(self, timeout_ms: int) -> Iterator[Frontend | Linked | Readable]:
        """Waits for something to come in, at most `timeout_ms`. Gives whence there is something, one after the other;
        what is to be received from there is to be taken before the next."""
        for source, _ in self._poller.poll(timeout_ms):
            if not isinstance(source, int):
                yield Frontend(self._frontends.index(source))
            elif (identity := self.workers.identity_of(source)) is not None:
                yield Linked(identity)
            # What was done since the poll may have ended the watch.
            elif source in self._watched and not self._doors.answer(source):
                yield Readable(source)

    def receive_from_submitters(self, frontend: Frontend) -> Iterator[tuple[Submitter, list[Body], int]]:
        """What submitters have sent, within the bounds of a turn: whose it is, the frames, and when it was read, in
        microseconds. What is done with one message before the next is taken counts as the turn's time."""
        index, socket = frontend.number, self._frontends[frontend.number]
        now = self._clock_us()
        until = now + _TURN_US
        for number in range(_BURST):
            # Mostly it is the only one: to be told so by an exception takes longer than to receive it.
            if number == 1 and not int(socket.get(zmq.EVENTS)) & _READABLE:
                return
            if index in self._in_excess and not self._drop_excess(index, socket, until):
                return
            message = _receive(socket)
            if message is None:
                return
            identity, frames, has_more = message
            if has_more:
                self._in_excess.add(index)
                self.excess += 1
            yield (index, identity), frames, now
            now = self._clock_us()
            if now > until:
                return

    def _drop_excess(self, index: int, socket: "zmq.Socket[bytes]", until: int) -> bool:
        """Whether all that is left of a message with too many frames is dropped."""
        while self._clock_us() <= until:
            for _ in range(_DROP):
                if not socket.get(zmq.RCVMORE):
                    self._in_excess.remove(index)
                    return True
                socket.recv()
        return False

    # ---- sending

    def send(self, submitter: Submitter, frames: Sequence[Body]) -> bool:
        """Whether the submitter could be sent the message: it is there, and reads what it is sent."""
        index, identity = submitter
        send = self._frontends[index].send
        try:
            # Copied: for large bytes that it must not copy, pyzmq would start a context and a thread.
            send(identity, _MORE)
            for frame in frames[:-1]:
                send(frame, _MORE)
            send(frames[-1], _DONTWAIT)
        except zmq.ZMQError:
            return False
        return True

    # ---- from time to time, and the end

    def keep(self, reserve: int) -> None:
        """So many descriptors newcomers among the submitters must leave from now on."""
        self._doors.keep(reserve)

    def report(self) -> dict[str, Any]:
        """What is told of it to those who watch: where it listens, how many are connected, how many descriptors are
        open and may be."""
        for connections in self._connections:
            connections.take()
        open_now, limit = in_use()
        return {
            "listen": self.addresses,
            "submitters": sum(connections.count for connections in self._connections),
            "descriptors": {"open": open_now, "limit": limit},
        }

    def tend(self) -> None:
        """From time to time: what was taken away is put right, and newcomers that had to wait are looked at again."""
        self._doors.tend()
        for connections in self._connections:
            connections.take()

    def close(self) -> None:
        """Answers already given to ZeroMQ are still delivered, within `_LINGER_MS`."""
        self._undo.close()

    def _close_connections(self) -> None:
        for connections in self._connections:
            connections.close()


def shared(data: bytes) -> Body:
    """For who sends the same to many: it is held once, for as long as any of them has not read it."""
    return zmq.Frame(data, copy=True)


def _receive(socket: "zmq.Socket[bytes]") -> tuple[bytes, list[Body], bool] | None:
    """The next message, None where there is none: its identity, up to `_MOST_FRAMES`, and whether there are more. The
    first ones are bytes, large ones of the others as they came, uncopied."""
    try:
        frame = socket.recv(_DONTWAIT, copy=False)
    except zmq.Again:
        return None
    identity = frame.bytes
    frames: list[Body] = []
    while frame.more and len(frames) < _MOST_FRAMES:
        frame = socket.recv(copy=False)
        is_copied = len(frames) < _READ_FRAMES or len(frame) <= _COPIED_BYTES
        frames.append(frame.bytes if is_copied else frame)
    return identity, frames, frame.more
