"""Doors: newcomers come in only when we open, and only while descriptors are left for them.

libzmq ends its process where it has no descriptor for a connection that it accepts (over ipc), and can't be told to
wait: unbinding takes the connections along that were made. So it never waits for newcomers itself. It is given a slot,
a descriptor that stands for a bell of ours (an eventfd), and accepts when the bell can be read; what it accepts from is
then what we have put into the slot with dup2: the listening socket of a place (places.py). epoll goes by what a
descriptor stood for when it was added, accept(2) by what it stands for now; both are promised by the kernel.

One door is open at a time, for as long as a batch takes. Before, it is tried whether the batch and a reserve can be
had; where not, newcomers wait at the place until others have left. Where a batch can't be bounded, but libzmq survives
the want of a descriptor (tcp), the reserve is held while the door is open.
"""

import logging
import math
import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import zmq

from .descriptors import can_take, give_back, take
from .places import BATCH_AT_MOST, Place

log = logging.getLogger("utxod.doors")

# What opening takes for itself: the next socket of the place.
_TO_OPEN: Final = 2
# More than come in within a turn where nothing bounds them, and libzmq does not survive the want.
_UNBOUNDED: Final = 1024
_CATCH_UP_MS: Final = 10_000
# While newcomers wait the log says so, but not more often.
_SAY_SECONDS: Final = 10.0


class Door:
    """entered: the socket that takes in those who are let in. reserve: descriptors that must be left when they are."""

    def __init__(self, entered: "zmq.Socket[bytes]", place: Place, reserve: int) -> None:
        self.place = place
        self.reserve = reserve
        self._entered = entered
        self._taken: socket.socket | None = None
        self._kept: list[int] = []
        try:
            self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._slot = self._bind(place.address, self._bell)
            self._catch_up()
        except BaseException:
            place.release()
            raise

    def has_room(self) -> bool:
        batch = BATCH_AT_MOST if self.place.is_bounded or self.place.survives_want else _UNBOUNDED
        return can_take(_TO_OPEN + batch + self.reserve, self._bell)

    def open(self) -> None:
        """Raises OSError where the place gives nothing."""
        self._taken = self.place.take()
        if self.place.survives_want:
            self._kept = take(self.reserve, self._bell)
        os.dup2(self._taken.fileno(), self._slot, inheritable=False)
        os.eventfd_write(self._bell, 1)

    def is_through(self) -> bool:
        """Whether all are in that an opening is for. What is not bounded is open for a turn."""
        return self._taken is None or not self.place.is_bounded or not _is_readable(self._taken)

    def shut(self) -> None:
        if self._taken is None:
            return
        os.eventfd_read(self._bell)
        give_back(self._kept)
        if self.place.is_bounded:
            self._taken.close()  # the slot still stands for it, so that a late look finds nobody
        self._taken = None

    def unhinge(self) -> None:
        """Before the socket is closed: libzmq must find in its slot what it has been given."""
        self.shut()
        with suppress(OSError, zmq.ZMQError):  # where no descriptor is left for it, there was none to open either
            self._catch_up()
        os.dup2(self._bell, self._slot, inheritable=False)

    def release(self) -> None:
        """After the socket was closed."""
        os.close(self._bell)
        self.place.release()

    def _bind(self, address: str, like: int) -> int:
        slot = os.dup(like)  # libzmq closes it
        self._entered.setsockopt(zmq.USE_FD, slot)
        self._entered.bind(address)
        return slot

    def _catch_up(self) -> None:
        """Until libzmq's thread has done all that it was told, and is through with what it had seen: it works in its
        own time, but in order. So something is bound and unbound, and its end waited for."""
        with socket.socket(socket.AF_UNIX) as nowhere, self._entered.get_monitor_socket(zmq.EVENT_CLOSED) as monitor:
            nowhere.bind("")
            nowhere.listen()
            nowhere.setblocking(False)
            self._bind("ipc://nowhere", nowhere.fileno())
            self._entered.unbind(self._entered.getsockopt_string(zmq.LAST_ENDPOINT))
            if not monitor.poll(_CATCH_UP_MS):
                log.error("libzmq's thread does not answer")
            self._entered.disable_monitor()


class Doors:
    """watch, unwatch: call back when a descriptor can be read."""

    def __init__(self, watch: Callable[[int, Callable[[], None]], None], unwatch: Callable[[int], None]) -> None:
        self._watch = watch
        self._unwatch = unwatch
        self._doors: list[Door] = []
        self._watched: dict[Door, int] = {}
        self._is_open: Door | None = None
        self._said_full = -math.inf

    @property
    def is_open(self) -> bool:
        return self._is_open is not None

    def add(self, door: Door) -> None:
        self._doors.append(door)
        self._listen(door)

    def turn(self) -> None:
        """Shuts the door that is open, once all are in."""
        door = self._is_open
        if door is not None and door.is_through():
            door.shut()
            self._is_open = None
            self._listen(door)

    def tend(self) -> None:
        """From time to time: puts places right, and looks again where newcomers had to wait."""
        for door in self._doors:
            if door is self._is_open:
                continue
            try:
                door.place.renew()
            except OSError as error:
                log.error("%s is gone, and can't be made anew: %s", door.place.address, error)
                continue
            self._listen(door)

    def unhinge(self) -> None:
        for door in self._doors:
            door.unhinge()

    def release(self) -> None:
        for door in self._doors:
            door.release()

    def _listen(self, door: Door) -> None:
        descriptor = door.place.fileno()
        if self._watched.get(door) != descriptor:
            self._ignore(door)
            self._watched[door] = descriptor
            self._watch(descriptor, lambda: self._knocked(door))

    def _ignore(self, door: Door) -> None:
        descriptor = self._watched.pop(door, None)
        if descriptor is not None:
            self._unwatch(descriptor)

    def _knocked(self, door: Door) -> None:
        if self._is_open is not None:
            return
        self._ignore(door)
        if not door.has_room():
            self._say_full(door)
            return
        try:
            door.open()
        except OSError as error:
            log.warning("newcomers can't be let in at %s: %s", door.place.address, error)
        else:
            self._is_open = door

    def _say_full(self, door: Door) -> None:
        now = time.monotonic()
        if now - self._said_full > _SAY_SECONDS:
            self._said_full = now
            log.warning(
                "no descriptors are left for newcomers at %s: they wait until others have left. "
                "A higher hard limit (ulimit -Hn, LimitNOFILE=) makes room for more",
                door.place.address,
            )


def _is_readable(listening: socket.socket) -> bool:
    poll = select.poll()  # select(2) can't look at high descriptors
    poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))
