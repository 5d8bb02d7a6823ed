"""What a client's leader and its idle thread sleep on: one set of descriptors, and a bell that any thread may ring.

Two may sleep, and only one is to be woken. So what the leader polls is itself a descriptor in what the idle thread
polls, and is taken out of it while somebody leads: by a call of the kernel that wakes nobody.
"""

import contextlib
import os
import select
from typing import Final

_MOST: Final = 4  # events at once: of a socket, its monitor, and the bell


class _Bell:
    """Closed with its last user, as an epoll is: by its number alone, a late one would write to another's file."""

    def __init__(self) -> None:
        self.number = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # there was no descriptor left
            os.close(self.number)

    def ring(self) -> None:
        os.eventfd_write(self.number, 1)

    def hear(self) -> None:
        with contextlib.suppress(BlockingIOError):  # another has heard it
            os.eventfd_read(self.number)


class SharedPoll:
    """Three descriptors. Any thread may call any method at any time; once it is closed, none does anything."""

    def __init__(self) -> None:
        self._ending = False
        bell, leaders, idle = _Bell(), select.epoll(), select.epoll()
        leaders.register(bell.number, select.EPOLLIN)
        idle.register(leaders, select.EPOLLIN)
        self._bell: _Bell | None = bell
        self._leaders: select.epoll | None = leaders
        self._idle: select.epoll | None = idle

    def add(self, descriptor: int) -> None:
        if (leaders := self._leaders) is not None:
            leaders.register(descriptor, select.EPOLLIN)

    def remove(self, descriptor: int) -> None:
        if (leaders := self._leaders) is not None:
            try:
                leaders.unregister(descriptor)
            except OSError as error:  # it was interrupted, and is done again
                if error.errno is None:
                    raise  # not the kernel's: a signal handler's TimeoutError

    def ring(self) -> None:
        """Wakes who sleeps. Rung before, it wakes who sleeps next."""
        if (bell := self._bell) is not None:
            bell.ring()

    def wait(self, seconds: float) -> None:
        """The leader sleeps until something can be read, or the bell rings, or the time is over."""
        leaders, bell = self._leaders, self._bell
        if leaders is None or bell is None:
            return
        try:
            events = leaders.poll(seconds, _MOST)
        except (OSError, ValueError):
            if self._leaders is not None:
                raise
            return  # this is a copy, forked by a handler that came over the sleep
        for descriptor, _ in events:
            if descriptor == bell.number:
                bell.hear()
                if self._ending:
                    bell.ring()

    def wait_idle(self, seconds: float) -> None:
        """As `wait`, for the idle thread: only the time wakes it from `hold_idle` to `rouse_idle`. A bell rings on."""
        if (idle := self._idle) is not None:
            idle.poll(seconds, 1)

    def hold_idle(self) -> None:
        """Somebody leads."""
        self._watch(0)

    def rouse_idle(self) -> None:
        """Nobody leads: what can be read by now wakes the idle thread, too."""
        self._watch(select.EPOLLIN)

    def end(self) -> None:
        """Wakes all who sleep, and nobody sleeps any more."""
        self._ending = True
        self.ring()
        self.rouse_idle()

    def close(self) -> None:
        """Who still sleeps on it is not woken by that, but by `end`."""
        self._idle = self._leaders = self._bell = None

    def forked(self) -> None:
        """This process is a copy: who sleeps here would sleep on what is the parent's. No thread is left in it that may
        use what is closed."""
        leaders, idle = self._leaders, self._idle
        self.close()
        if leaders is not None and idle is not None:
            leaders.close()
            idle.close()

    def _watch(self, events: int) -> None:
        idle, leaders = self._idle, self._leaders
        if idle is not None and leaders is not None:
            idle.modify(leaders, events)
