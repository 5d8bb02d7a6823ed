"""One connection of a client: a DEALER socket and its monitor. When it is lost it is thrown away for a new one.

Nothing is sent before ZeroMQ's handshake, nor once it is known that the connection is lost: so nothing is queued for a
daemon that is not there. IMMEDIATE would see to that, too; but with it ZeroMQ throws away, at the end of a connection,
what has come and was not received yet. No linger: what a lost connection held is not delivered later. The identity is
left to ZeroMQ, so that no answer meant for an earlier connection can reach this one. Heartbeats: a peer that vanished
without a word is noticed.
"""

import struct
import time
from typing import Final

import zmq

from .session import Session

RECONNECT_MS: Final = 20  # while nobody listens; doubled each time, up to
RECONNECT_MAX_MS: Final = 500
CONNECT_TIMEOUT_MS: Final = 5_000
ZMTP_HANDSHAKE_MS: Final = 10_000
HEARTBEAT_MS: Final = 5_000
HEARTBEAT_TIMEOUT_MS: Final = 10_000
# As plain numbers, and a frame at a time: what the library makes of its own enumerations, and of lists of frames, is
# half of what sending and receiving one message costs.
_EVENTS: Final = int(zmq.EVENTS)
_POLLIN: Final = int(zmq.POLLIN)
_POLLOUT: Final = int(zmq.POLLOUT)
_RCVMORE: Final = int(zmq.RCVMORE)
_DONTWAIT: Final = int(zmq.DONTWAIT)
_MORE: Final = int(zmq.DONTWAIT | zmq.SNDMORE)
_OPENED: Final = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
# Where an event's message begins (zmq_socket_monitor).
_EVENT: Final = struct.Struct("=H")
RECEIVE_SECONDS: Final = 0.02  # the longest that is received for before the driver, and its program, get their turn


class Connection:
    """retried: where nobody is at the endpoint, ZeroMQ tries again and again; otherwise the connection counts as lost.

    Raises zmq.ZMQError where the endpoint is invalid.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, *, retried: bool) -> None:
        self.socket = socket = context.socket(zmq.DEALER)
        self.monitor: zmq.Socket[bytes] | None = None
        self.descriptors: list[int] = []  # readable when `pump` is due, also where a blocked socket takes more again
        self.has_sent = False  # something was sent
        self.has_more = False  # something is to be received
        self.is_blocked = False  # something is to be sent, and the socket takes no more, or nothing yet
        self._is_open = False
        self._is_lost = False
        try:
            socket.linger = 0
            socket.setsockopt(zmq.IPV6, 1)
            socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
            socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
            socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS)
            socket.setsockopt(zmq.HANDSHAKE_IVL, ZMTP_HANDSHAKE_MS)
            socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
            failed = 0 if retried else zmq.EVENT_CONNECT_RETRIED
            self.monitor = socket.get_monitor_socket(_OPENED | zmq.EVENT_DISCONNECTED | failed)
            socket.connect(endpoint)
            self.descriptors = [int(each.getsockopt(zmq.FD)) for each in (socket, self.monitor)]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Again, too: where the first time was interrupted."""
        if self.monitor is not None and not self.socket.closed:
            self.socket.disable_monitor()
            self.monitor.close(0)
        self.socket.close(0)

    def pump(self, session: Session) -> bool:
        """Sends what the session has, and hands it what has come; never blocks. False where the connection is lost.

        It leaves no event of the socket unseen, as its descriptor tells of each only once; but where `has_more` is set,
        so that the driver gets to do something else before it comes back, and where nothing more is waited for. The
        monitor's descriptor tells again and again: it is looked at when there is nothing else. So what the daemon said
        before the connection was lost is read.
        """
        quiet = not self._send(session)
        events = _POLLIN if quiet else 0  # where there is nothing to send, something has come, mostly
        self.has_more = False
        now = time.monotonic()
        until = now + RECEIVE_SECONDS
        while now <= until:
            events = events or _events(self.socket)
            if events & _POLLIN and (frames := self._receive()):
                ready = session.handshake.ready
                session.received(frames, now)
                if session.handshake.ready is not ready:
                    self._send(session)  # what has waited for the welcome, or HELLO
                if not (self.is_blocked or self._is_lost or session.awaits_answer):
                    return True
                now = time.monotonic()
            elif self._is_lost:
                return False
            elif self.is_blocked and self._is_open and _events(self.socket) & _POLLOUT:
                self._send(session)
            elif not (quiet and self._heard()):
                return True
            elif self._is_open:
                self._send(session)
            events = 0
            quiet = False
        self.has_more = True
        return True

    def seconds_until_due(self, session: Session, now: float) -> float | None:
        """Seconds after which `pump` is due though no descriptor says so; None: not before one does."""
        return 0.0 if self.has_more else session.seconds_until_due(now, can_send=not self.is_blocked)

    def _send(self, session: Session) -> bool:
        """True where something was sent."""
        sent, self.is_blocked = False, not self._is_open
        while self._is_open and (frames := session.outgoing(time.monotonic())) is not None:
            if not sent and self._heard():  # that it is lost
                session.give_back(frames)
                self.is_blocked = True
                return False
            try:
                for frame in frames[:-1]:
                    self.socket.send(frame, _MORE)
                self.socket.send(frames[-1], _DONTWAIT)
            except zmq.Again:  # of the first frame only
                session.give_back(frames)
                self.is_blocked = True
                return sent
            sent = self.has_sent = True
        return sent

    def _receive(self) -> list[bytes]:
        """The next message; empty where there is none."""
        try:
            frames = [self.socket.recv(_DONTWAIT)]
        except zmq.Again:
            return []
        while self.socket.get(_RCVMORE):
            frames.append(self.socket.recv(_DONTWAIT))
        return frames

    def _heard(self) -> bool:
        """Whether the connection has come to be, or was lost, since it was last looked at. Lost it is for good, though
        ZeroMQ makes another one."""
        heard = False
        while self.monitor is not None and _events(self.monitor) & _POLLIN:
            (event,) = _EVENT.unpack_from(self.monitor.recv_multipart(zmq.DONTWAIT)[0])
            self._is_lost = self._is_lost or event != _OPENED
            self._is_open = not self._is_lost
            heard = True
        return heard


def _events(socket: "zmq.Socket[bytes]") -> int:
    return int(socket.get(_EVENTS))
