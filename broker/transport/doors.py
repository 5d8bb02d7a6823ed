"""Doors: newcomers come in only when we open, and only while descriptors are left for them.

libzmq ends its process where it has no descriptor for a connection that it accepts (over ipc), and can't be told to
wait: unbinding takes the connections along that were made. So it never waits for newcomers itself. It is given a slot,
a descriptor that stands for a bell of ours (an eventfd), and accepts when the bell can be read; what it accepts from is
then what we have put into the slot with dup2: those who wait at a place (places.py). epoll goes by what a descriptor
stood for when it was added, accept(2) by what it stands for now; both are promised by the kernel. While the bell is
silent the slot stands for a socket at which nobody waits, because libzmq's thread may look once more.

A door is open for moments, while nothing else is done. Before, it is asked whether descriptors for those who wait
and a reserve can be had; where not, newcomers wait until others have left. Where the queue can't be closed to others
but libzmq survives the want of a descriptor (tcp), the reserve is held while the door is open.
"""

import logging
import os
import select
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Final

import zmq

from protocol.endpoint import IPC

from .descriptors import FOR_PENDING_CONNECTIONS, give_back, left, take
from .path import PathPlace
from .places import NAME, TCP, NamePlace, PendingConnections, Place, look_up, tcp_places

log = logging.getLogger("utxod.doors")

# More than come in within moments where nothing bounds them, and libzmq does not survive the want.
_UNBOUNDED: Final = 1024
_LOOK_SECONDS: Final = 0.0001
_CATCH_UP_MS: Final = 10_000
_FULL: Final = (
    "no descriptors are left for newcomers: they wait until others have left. "
    "A higher hard limit (ulimit -Hn, LimitNOFILE=) makes room for more"
)
# What goes on is logged so often.
_LOG_SECONDS: Final = 10.0


def find_places(address: str) -> list[Place]:
    """Listens at an address: one place, or one for each of a host's addresses.

    Raises OSError, SocketTaken too, with the address in its message.
    """
    if address.startswith(NAME):
        return [NamePlace(address)]
    if address.startswith(IPC):
        return [PathPlace(address)]
    if address.startswith(TCP):
        return list(tcp_places(look_up(address)))
    raise OSError(f"{address}: wanted ipc:///PATH, ipc://@NAME or tcp://HOST:PORT")


class Door:
    """entered: the socket that takes in those who are let in. reserve: descriptors that must be left when they are.
    idle: a listening socket at which nobody waits."""

    def __init__(self, entered: "zmq.Socket[bytes]", place: Place, reserve: int, idle: socket.socket) -> None:
        self.place = place
        self.reserve = reserve
        self._entered = entered
        self._idle = idle
        self._catch_ups = 0
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._slot = self._bind(place.address, self._bell)
            self._catch_up()
        except BaseException:
            os.close(self._bell)
            raise

    def has_room(self) -> bool:
        """Whether descriptors are left for those who may wait, and for the reserve."""
        return left() >= FOR_PENDING_CONNECTIONS + self.reserve

    def let_in(self) -> None:
        """Those who wait. Raises OSError where the place does not give them, or there is no room for who may come."""
        pending = self.place.take()
        kept: list[int] = []
        try:
            if not pending.is_closed and self.place.survives_want:
                kept = take(self.reserve, self._bell)
            elif not pending.is_closed and left() < _UNBOUNDED + self.reserve:
                raise OSError("others could not be kept out, and too few descriptors are left for any number of them")
            os.dup2(pending.listening.fileno(), self._slot, inheritable=False)
            os.eventfd_write(self._bell, 1)
            _wait_until_empty(pending)
        finally:
            with ExitStack() as rest:
                rest.callback(self.place.renew)
                rest.callback(give_back, kept)
                if pending.is_closed:
                    rest.callback(pending.listening.close)
                self._shut()

    def unhinge(self) -> None:
        """Before the socket is closed: libzmq must find in its slot what it has been given."""
        with suppress(OSError, zmq.ZMQError):  # where no descriptor is left for it, it was long ago that one was opened
            self._catch_up()
        try:
            os.dup2(self._bell, self._slot, inheritable=False)
        except OSError as error:
            log.error("%s: its door can't be taken down: %s", self.place.address, error)

    def release(self) -> None:
        """After the socket was closed."""
        os.close(self._bell)
        try:
            self.place.release()
        except OSError as error:
            log.error("%s can't be removed: %s", self.place.address, error)

    def _shut(self) -> None:
        with suppress(BlockingIOError):  # it was not opened
            os.eventfd_read(self._bell)
        os.dup2(self._idle.fileno(), self._slot, inheritable=False)

    def _bind(self, address: str, like: int) -> int:
        slot = os.dup(like)  # libzmq closes it
        self._entered.setsockopt(zmq.USE_FD, slot)
        self._entered.bind(address)
        return slot

    def _catch_up(self) -> None:
        """Until libzmq's thread has done all that it was told, and is through with what it had seen: it works in its
        own time, but in order. So something is bound and unbound, and its end waited for."""
        # An address of its own: that of a monitor before is given free in libzmq's own time, too.
        self._catch_ups += 1
        address = f"inproc://door-{id(self)}-{self._catch_ups}"
        self._entered.monitor(address, zmq.EVENT_CLOSED)
        with self._entered.context.socket(zmq.PAIR) as monitor:
            monitor.connect(address)
            self._bind("ipc://nowhere", self._idle.fileno())
            self._entered.unbind(self._entered.getsockopt_string(zmq.LAST_ENDPOINT))
            if not monitor.poll(_CATCH_UP_MS):
                log.error("libzmq's thread does not answer")
        self._entered.disable_monitor()


class Doors:
    """watch, unwatch: whether a descriptor that can be read is told of to `answer`."""

    def __init__(self, watch: Callable[[int], None], unwatch: Callable[[int], None]) -> None:
        self._watch = watch
        self._unwatch = unwatch
        self._doors: list[Door] = []
        self._watched: dict[Door, int] = {}
        self._logged_at: dict[tuple[Door, str], float] = {}
        self._idle = _listen_to_nobody()

    def add(self, entered: "zmq.Socket[bytes]", address: str, reserve: int) -> str:
        """A door for each place of the address. Returns the address with the port that was chosen. Raises OSError, and
        ZMQError."""
        found = find_places(address)
        for place in found:
            try:
                door = Door(entered, place, reserve, self._idle)
            except BaseException:
                for unused in found[found.index(place) :]:
                    unused.release()
                raise
            self._doors.append(door)
            self._listen(door)
        return found[0].address

    def answer(self, descriptor: int) -> bool:
        """Lets in those who wait at the descriptor that can be read. Returns whether it is a door's at all."""
        for door, watched in self._watched.items():
            if watched == descriptor:
                self._knocked(door)
                return True
        return False

    def tend(self) -> None:
        """From time to time: puts places right, and looks again where newcomers had to wait."""
        for door in self._doors:
            try:
                door.place.renew()
            except OSError as error:
                self._log(door, f"{error}")
            self._listen(door)

    def keep(self, reserve: int) -> None:
        """So many descriptors must be left from now on when newcomers are let in."""
        for door in self._doors:
            door.reserve = reserve

    def unhinge(self) -> None:
        """All doors, before their sockets are closed."""
        for door in self._doors:
            door.unhinge()

    def release(self) -> None:
        """All doors and their places, after the sockets were closed."""
        for door in self._doors:
            door.release()
        self._idle.close()

    def _listen(self, door: Door) -> None:
        descriptor = door.place.fileno()
        if self._watched.get(door) == descriptor:
            return
        self._ignore(door)
        if descriptor >= 0:
            self._watched[door] = descriptor
            self._watch(descriptor)

    def _ignore(self, door: Door) -> None:
        descriptor = self._watched.pop(door, None)
        if descriptor is not None:
            self._unwatch(descriptor)

    def _knocked(self, door: Door) -> None:
        """Where nobody can be let in, the next look is `tend`'s: they would knock all the time."""
        self._ignore(door)
        try:
            if not door.has_room():
                raise OSError(_FULL)
            door.let_in()
        except OSError as error:
            self._log(door, str(error))
        else:
            self._listen(door)

    def _log(self, door: Door, text: str) -> None:
        now = time.monotonic()
        if now - self._logged_at.get((door, text), -_LOG_SECONDS) >= _LOG_SECONDS:
            self._logged_at[door, text] = now
            log.warning("%s: %s", door.place.address, text)


def _listen_to_nobody() -> socket.socket:
    """Nobody can come: the file is gone again."""
    idle = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with tempfile.TemporaryDirectory(prefix="utxod-idle-") as directory:
        idle.bind(f"{directory}/s")
        idle.listen(1)
    idle.setblocking(False)
    return idle


def _wait_until_empty(pending: PendingConnections) -> None:
    """Until nobody waits any more, or the time is up."""
    poll = select.poll()  # select(2) can't look at high descriptors
    poll.register(pending.listening, select.POLLIN)
    until = time.monotonic() + pending.seconds
    while time.monotonic() < until and poll.poll(0):
        time.sleep(_LOOK_SECONDS)
