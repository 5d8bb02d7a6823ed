"""The sockets: moves frames between ZeroMQ and the core, and never waits for anybody.

One ROUTER per frontend address for submitters, one ROUTER for workers. All are MANDATORY, so that an answer nobody can
take raises instead of vanishing, and nothing is sent but without waiting: a submitter that does not read fills its own
queue of `_ANSWERS_WAITING` answers, and what does not fit is counted as undeliverable. Bodies are passed on as the
frames they came in, uncopied.

What is read of submitters in one turn is bounded in messages, frames and time. A message of more frames than any has is
judged by its first ones, and the rest is dropped piece by piece. A connection that does not get through ZeroMQ's
handshake is closed.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import zmq

from broker.actions import Action, Condemn, InDoubt, Instruct, LostRequest, ReportWanted, Send
from broker.core import Core
from broker.entry import Body
from protocol import wire
from protocol.worker_wire import DONE, READY, unpack_ready

from .doors import Doors

log = logging.getLogger("utxod.transport")

# Messages read from one socket before the others, and the clock, get their turn; and how long that may take.
_BURST: Final = 256
_TURN_US: Final = 10_000
# Answers that may wait for one submitter that does not read.
_ANSWERS_WAITING: Final = 10_000
_REQUESTS_WAITING: Final = 10_000
# A frame larger than any body that could be admitted ends its connection; up to here it gets an answer.
_FRAME_FACTOR: Final = 2
_ALWAYS_COPY: Final = (1 << 31) - 1
_HEARTBEAT_MS: Final = 2_000
# Who connects and says nothing is closed after this.
_HANDSHAKE_MS: Final = 5_000
# How long answers given to ZeroMQ may still be delivered when the daemon ends.
_LINGER_MS: Final = 1_000
# Frames of a message that are read as bytes: identity, prefix or tag, header. The rest is passed on as it came.
_READ_FRAMES: Final = 3
# Frames that are dropped between two looks at the clock.
_DROP: Final = 64
# What is read of a submitter's message: identity and one frame more than a request has.
_MOST_FRAMES: Final = 5


class Transport:
    """frontends: addresses for submitters. backend: the address for workers.

    reserve: descriptors that newcomers among the submitters must leave. addresses: the frontends', with the ports that
    were chosen. on_condemn, on_in_doubt, on_report: what only the supervisor can do.
    """

    def __init__(
        self,
        core: Core,
        frontends: Sequence[str],
        backend: str,
        *,
        max_body_bytes: int,
        reserve: int,
        clock: Callable[[], int],
        on_condemn: Callable[[bytes, str], None],
        on_in_doubt: Callable[[InDoubt | LostRequest], None],
        on_report: Callable[[], dict[str, Any]],
    ) -> None:
        self._core = core
        self._clock = clock
        self._on_condemn = on_condemn
        self._on_in_doubt = on_in_doubt
        self._on_report = on_report
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._files: dict[int, Callable[[], None]] = {}
        self._doors = Doors(self.watch, self.unwatch)
        self._frontends: list[zmq.Socket[bytes]] = []
        self._excess: set[int] = set()
        self.addresses: list[str] = []
        try:
            for address in frontends:
                socket, told = self._bind(address, max_body_bytes * _FRAME_FACTOR, reserve)
                self._frontends.append(socket)
                self.addresses.append(told)
            self._backend, _ = self._bind(backend, -1, 0)
        except BaseException:
            self.close()
            raise

    def _bind(self, address: str, max_frame_bytes: int, reserve: int) -> "tuple[zmq.Socket[bytes], str]":
        """Gives the address too, with the port that was chosen. Raises OSError, or ZMQError, with the address in its
        message, where it can't be bound."""
        socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        socket.router_mandatory = True
        socket.linger = 0
        socket.sndhwm = _ANSWERS_WAITING
        socket.rcvhwm = _REQUESTS_WAITING
        socket.maxmsgsize = max_frame_bytes
        # Frames that came in are passed on uncopied. For large bytes of ours pyzmq would start a thread and a context.
        socket.copy_threshold = _ALWAYS_COPY
        socket.heartbeat_ivl = _HEARTBEAT_MS
        socket.handshake_ivl = _HANDSHAKE_MS
        # With a domain libzmq refuses who speaks no ZMTP 3 by the first bytes; without a handler it asks nobody.
        socket.zap_domain = b"utxod"
        told = self._doors.add(socket, address, reserve)
        self._poller.register(socket, zmq.POLLIN)
        return socket, told

    # ---- files beside the sockets: signals, ends of processes

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Calls back, from `turn`, when the descriptor can be read."""
        self._files[descriptor] = callback
        self._poller.register(descriptor, zmq.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        del self._files[descriptor]
        self._poller.unregister(descriptor)

    # ---- the loop's turn

    def turn(self, timeout_ms: int) -> None:
        """Waits for something to come in, at most `timeout_ms`; passes it to the core, and sends what follows."""
        for source, _ in self._poller.poll(timeout_ms):
            if isinstance(source, int):
                # An earlier callback of this turn may have ended the watch.
                if source in self._files:
                    self._files[source]()
            elif source is self._backend:
                self.read_workers()
            else:
                self._read_submitters(self._frontends.index(source), source)
        self.flush()

    def flush(self) -> None:
        """Hands out what is queued, and carries out what the core wants done."""
        core = self._core
        core.dispatch(self._clock())
        while core.actions:
            actions, core.actions = core.actions, []
            for action in actions:
                self._carry_out(action)

    def read_workers(self) -> None:
        """Passes in what workers have sent, up to a burst."""
        for _ in range(_BURST):
            message = _receive(self._backend, sys.maxsize)
            if message is None:
                return
            identity, *frames = message
            if frames[0] == DONE:
                self._core.on_done(identity, frames[1:], self._clock())
            elif frames[0] == READY:
                try:
                    pool, pid = unpack_ready(frames)
                    self._core.on_ready(identity, pool, pid)
                except (ValueError, KeyError, IndexError, TypeError):
                    log.warning("a worker's greeting can't be read; it gets no work")
            else:
                log.warning("a worker sent %r, which is no message of the protocol", frames[0][:8])

    def can_reach(self, identity: bytes) -> bool:
        """Whether a worker's connection still stands. When it does not, all that it had sent has been read."""
        try:
            self._backend.send_multipart([identity, b""], zmq.DONTWAIT)
        except zmq.ZMQError as error:
            return error.errno != zmq.EHOSTUNREACH
        return True

    def tend(self) -> None:
        """From time to time: what was taken away is put right, and newcomers that had to wait are looked at again."""
        self._doors.tend()

    def close(self) -> None:
        """Answers already given to ZeroMQ are still delivered, within `_LINGER_MS`."""
        self._doors.unhinge()
        self._context.destroy(linger=_LINGER_MS)
        self._doors.release()

    def _read_submitters(self, index: int, socket: "zmq.Socket[bytes]") -> None:
        now = self._clock()
        until = now + _TURN_US
        for _ in range(_BURST):
            if index in self._excess and not self._drop_excess(index, socket, until):
                return
            message = _receive(socket, _MOST_FRAMES)
            if message is None:
                return
            if len(message) == _MOST_FRAMES and socket.rcvmore:
                self._excess.add(index)
                self._core.counters["excess frames"] += 1
            self._core.on_message((index, message[0]), message[1:], now)
            if self._clock() > until:
                return

    def _drop_excess(self, index: int, socket: "zmq.Socket[bytes]", until: int) -> bool:
        """Whether all that is left of a message with too many frames is dropped."""
        while self._clock() <= until:
            for _ in range(_DROP):
                if not socket.get(zmq.RCVMORE):
                    self._excess.remove(index)
                    return True
                socket.recv()
        return False

    # ---- actions

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Send):
            self._send(action.submitter, action.frames, action.items)
        elif isinstance(action, Instruct):
            self._instruct(action)
        elif isinstance(action, Condemn):
            self._on_condemn(action.worker, action.reason)
        elif isinstance(action, InDoubt | LostRequest):
            self._on_in_doubt(action)
        else:
            self._report(action)

    def _send(self, submitter: Any, frames: list[Body], items: int) -> None:
        index, identity = submitter
        try:
            self._frontends[index].send_multipart([identity, *frames], zmq.DONTWAIT, copy=False)
        except zmq.ZMQError:
            self._core.counters["undeliverable"] += max(1, items)

    def _instruct(self, action: Instruct) -> None:
        try:
            self._backend.send_multipart([action.worker, *action.frames], zmq.DONTWAIT, copy=False)
        except zmq.ZMQError:
            # Its connection is gone. One of ours is about to be seen as dead; the end of another's tells nobody else.
            self._core.on_lost(action.worker, "can't be reached", self._clock())

    def _report(self, action: ReportWanted) -> None:
        report = wire.pack_report(self._on_report())
        self._send(action.submitter, [wire.pack_prefix(wire.REPORT, action.request_id), report], 0)


def _receive(socket: "zmq.Socket[bytes]", most_frames: int) -> list[Any] | None:
    """The next message, up to so many frames, None where there is none: the first frames as bytes, the others as
    frames, uncopied."""
    try:
        frames: list[Any] = [socket.recv(zmq.DONTWAIT)]
    except zmq.Again:
        return None
    while socket.rcvmore and len(frames) < most_frames:
        frames.append(socket.recv(copy=len(frames) < _READ_FRAMES))
    return frames
