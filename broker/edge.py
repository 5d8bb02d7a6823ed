"""The sockets: moves frames between ZeroMQ and the core, and never waits for anybody.

One ROUTER per frontend address for submitters, one ROUTER for workers. All are MANDATORY, so that an answer nobody can
take raises instead of vanishing, and nothing is sent but without waiting: a submitter that does not read fills its own
queue of `_ANSWERS_WAITING` answers, and what does not fit is counted as undeliverable. Bodies are passed on as the
frames they came in, uncopied.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import zmq

from protocol import wire
from protocol.dispatch import DONE, READY, unpack_ready

from .actions import Action, Condemn, InDoubt, Instruct, LostRequest, ReportWanted, Send
from .claim import Claim, claim
from .core import Core
from .ledger import Body

log = logging.getLogger("utxod.edge")

# Messages read from one socket before the others, and the clock, get their turn.
_BURST: Final = 256
# Answers that may wait for one submitter that does not read.
_ANSWERS_WAITING: Final = 10_000
_REQUESTS_WAITING: Final = 10_000
# A frame larger than any body that could be admitted ends its connection; up to here it gets an answer.
_FRAME_FACTOR: Final = 2
_HEARTBEAT_MS: Final = 2_000
# How long answers given to ZeroMQ may still be delivered when the daemon ends.
_LINGER_MS: Final = 1_000
# Frames of a message that are read as bytes: identity, prefix or tag, header. The rest is passed on as it came.
_READ_FRAMES: Final = 3


class Edge:
    """frontends: addresses for submitters. backend: the address for workers.

    on_condemn, on_in_doubt, on_report: what only the supervisor can do.
    """

    def __init__(
        self,
        core: Core,
        frontends: Sequence[str],
        backend: str,
        *,
        max_body_bytes: int,
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
        self._frontends: list[zmq.Socket[bytes]] = []
        self._claims: list[Claim | None] = []
        try:
            for address in frontends:
                self._frontends.append(self._bind(address, max_body_bytes * _FRAME_FACTOR))
            self._backend = self._bind(backend, -1)
        except (OSError, zmq.ZMQError):
            self.close()
            raise

    def _bind(self, address: str, max_frame_bytes: int) -> "zmq.Socket[bytes]":
        """Raises ZMQError, or OSError, with the address, where it can't be bound."""
        self._claims.append(claim(address))
        socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        socket.router_mandatory = True
        socket.linger = 0
        socket.sndhwm = _ANSWERS_WAITING
        socket.rcvhwm = _REQUESTS_WAITING
        socket.maxmsgsize = max_frame_bytes
        socket.heartbeat_ivl = _HEARTBEAT_MS
        socket.bind(address)
        self._poller.register(socket, zmq.POLLIN)
        return socket

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
            message = _receive(self._backend)
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

    def close(self) -> None:
        """Answers already given to ZeroMQ are still delivered, within `_LINGER_MS`."""
        self._context.destroy(linger=_LINGER_MS)
        for held in self._claims:
            if held is not None:
                held.release()

    def _read_submitters(self, index: int, socket: "zmq.Socket[bytes]") -> None:
        now = self._clock()
        for _ in range(_BURST):
            message = _receive(socket)
            if message is None:
                return
            self._core.on_message((index, message[0]), message[1:], now)

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


def _receive(socket: "zmq.Socket[bytes]") -> list[Any] | None:
    """The next message, None where there is none: the first frames as bytes, the others as frames, uncopied."""
    try:
        frames: list[Any] = [socket.recv(zmq.DONTWAIT)]
    except zmq.Again:
        return None
    while socket.rcvmore:
        frames.append(socket.recv(copy=len(frames) < _READ_FRAMES))
    return frames
