"""The links to the workers, by the workers' identities: each a pair of sockets, one side of which is the worker's own.

A link never blocks. What a worker does not read yet waits here; it is one dispatch, for it gets no more before it has
answered that.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

import zmq

from broker.entry import Body
from protocol.worker_link import WorkerLink
from protocol.worker_wire import WorkerWireError


class WorkerLinks:
    """poller: is to tell when a link can be read, or takes more."""

    def __init__(self, poller: zmq.Poller) -> None:
        self._poller = poller
        self._links: dict[bytes, WorkerLink] = {}
        self._identities: dict[int, bytes] = {}  # by the descriptors that the poller tells of

    def connect(self, identity: bytes) -> socket.socket:
        """The worker's side of a new link, which the caller closes. Raises OSError where there are no descriptors."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        link = self._links[identity] = WorkerLink(ours)
        self._identities[link.fileno()] = identity
        self._poller.register(link.fileno(), zmq.POLLIN)
        return theirs

    def disconnect(self, identity: bytes) -> None:
        """Closes the link, where there is one; what it has not given is lost."""
        link = self._links.pop(identity, None)
        if link is not None:
            del self._identities[link.fileno()]
            self._poller.unregister(link.fileno())
            link.close()

    def close(self) -> None:
        for identity in list(self._links):
            self.disconnect(identity)

    def identity_of(self, descriptor: int) -> bytes | None:
        """Whose link it is that the poller tells of; None where it is none."""
        return self._identities.get(descriptor)

    def receive(self, identity: bytes) -> Iterator[list[Body]]:
        """What the worker has sent: the messages that are whole after one read. What waits for it is sent. Where it is
        gone, its link is closed.

        Raises WorkerWireError where what has come can't be a message: then the link is closed, too.
        """
        link = self._links.get(identity)
        if link is None:
            return
        if link.is_sending:
            with suppress(OSError):  # it is gone, and may have said something before
                link.flush()
            self._watch(link)
        try:
            yield from link.receive()
        except BlockingIOError:
            return
        except (EOFError, OSError):
            self.disconnect(identity)
        except WorkerWireError:
            self.disconnect(identity)
            raise

    def receive_rest(self, identity: bytes) -> Iterator[list[Body]]:
        """All that is left of a worker that has ended; its link is closed. Raises WorkerWireError, as `receive`.

        It is no more than the kernel holds of a stream: a process that the worker has left behind can't add to it."""
        link = self._links.get(identity)
        if link is None:
            return
        try:
            link.refuse_more()
            while True:
                yield from link.receive()
        except (EOFError, OSError):  # there is nothing, or nothing more
            return
        finally:
            self.disconnect(identity)

    def send(self, identity: bytes, frames: Sequence[Body]) -> bool:
        """Whether the worker is there to be sent the message."""
        link = self._links.get(identity)
        if link is None:
            return False
        try:
            link.send(frames)
        except OSError:
            return False
        if link.is_sending:
            self._watch(link)
        return True

    def _watch(self, link: WorkerLink) -> None:
        self._poller.register(link.fileno(), zmq.POLLIN | zmq.POLLOUT if link.is_sending else zmq.POLLIN)
