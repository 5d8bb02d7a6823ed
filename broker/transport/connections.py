"""How many submitters are connected: a ROUTER socket does not know, so its monitor's events are counted.

There are two for each connection, none for a message. libzmq's thread waits where nobody takes them: so they may pile
up without a bound, and the monitor goes before who takes its events. They are taken from time to time, and when
somebody asks."""

import struct
from typing import Final

import zmq

_CHANGES: Final[dict[int, int]] = {zmq.EVENT_ACCEPTED: 1, zmq.EVENT_DISCONNECTED: -1}
# Where an event's message begins (zmq_socket_monitor). zmq.utils.monitor would read it, and load asyncio for that.
_EVENT: Final = struct.Struct("=H")
# Taken in one go: some 5 ms.
_BURST: Final = 1_000


class Connections:
    """Of one socket, from its making on: there are none before. count: of those accepted and not closed, as far as the
    events are taken; also of who connects and never says anything, until it is closed for that."""

    def __init__(self, entered: "zmq.Socket[bytes]") -> None:
        self.count = 0
        self._entered = entered
        self._events: zmq.Socket[bytes] = entered.context.socket(zmq.PAIR)
        try:
            self._events.rcvhwm = 0
            address = f"inproc://connections-{id(self)}"
            entered.monitor(address, sum(_CHANGES))
            self._events.connect(address)
        except BaseException:
            self.close()
            raise

    def take(self) -> None:
        """Takes what has happened, up to a bound."""
        for _ in range(_BURST):
            try:
                message = self._events.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            (event,) = _EVENT.unpack_from(message[0])
            self.count += _CHANGES.get(event, 0)

    def close(self) -> None:
        """Nothing is counted any more. Before the socket is closed, and before another monitor is made of it."""
        self._entered.disable_monitor()
        self._events.close(linger=0)
