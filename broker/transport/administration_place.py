"""The file of the administration socket: made, looked after, and removed in the end.

    STATE/admin-PID.sock    SOCK_SEQPACKET, mode 0600

It is made under another name, and renamed when somebody listens: so one at which nobody does is what a dead daemon
left, and is removed. One that was swept away, with its directory maybe, is made anew; where none can be made, that is
said and tried again. All that is done by a thread, since the disk of `state` may keep who looks at it waiting.
"""

import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from protocol.endpoint import MAX_IPC_PATH_BYTES

log = logging.getLogger("utxod.administration")

_LOOK_SECONDS: Final = 1.0
# How long the end waits for a disk.
_CLOSE_SECONDS: Final = 2.0
_BACKLOG: Final = 8
_MODE: Final = 0o600


class Made(NamedTuple):
    """A listening socket, and its file."""

    listening: socket.socket
    path: Path
    found: os.stat_result

    def is_there(self) -> bool:
        """Whether the file is, and is ours."""
        with suppress(OSError):
            return os.path.samestat(self.found, self.path.lstat())
        return False


class AdministrationPlace:
    """directory: where the socket is, made if need be. made: the present one, None while there is none; whoever finds
    another one there than before is to close the one before."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()  # who is told where it is may be elsewhere
        self._trouble = ""
        self._closing = threading.Event()
        self.made: Made | None = None
        _remove_left_ones(self._directory)
        self._make()
        self._thread = threading.Thread(target=self._run, name="administration", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Removes the file, where it is still ours."""
        self._closing.set()
        self._thread.join(_CLOSE_SECONDS)
        if self.made is not None:
            self.made.listening.close()
            with suppress(OSError):
                if not self._thread.is_alive() and self.made.is_there():
                    self.made.path.unlink()

    def _run(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            if self.made is None or not self.made.is_there():
                self._make()

    def _make(self) -> None:
        is_the_first = self.made is None and not self._trouble
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.made = _listen(self._directory)
        except OSError as error:
            self.made = None
            trouble = error.strerror or str(error)
            if trouble != self._trouble:
                self._trouble = trouble
                what = "no administration (utxod scale, reload, drain, log-level)"
                log.warning("%s: %s: %s; tried again", what, self._directory, trouble)
            return
        if not is_the_first:
            self._trouble = ""
            log.warning("the socket for orders was not there, and is now: %s", self.made.path)


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """What a socket is bound or connected to for it to be the one at the path, also where that is too long for a
    socket's address. Raises OSError."""
    if len(os.fsencode(path)) <= MAX_IPC_PATH_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _listen(directory: Path) -> Made:
    """Of another name where somebody has ours, as the first process of another container can. Raises OSError."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fresh = directory / f".admin-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        os.fchmod(listening.fileno(), _MODE)  # what is made at the path has it from its first moment
        with address_of(fresh) as address:
            listening.bind(address)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
        path = directory / f"admin-{os.getpid()}.sock"
        if os.path.lexists(path):
            path = directory / f"admin-{os.getpid()}-{secrets.token_hex(4)}.sock"
        found = fresh.lstat()
        fresh.rename(path)
    except BaseException:
        listening.close()
        with suppress(OSError):
            fresh.unlink()
        raise
    return Made(listening, path, found)


def _remove_left_ones(directory: Path) -> None:
    """The sockets of daemons that are dead, also of those that died before theirs had its name. A daemon that is just
    making its own, and loses it by that, makes another."""
    for pattern in ("admin-*.sock", ".admin-*"):
        for left in directory.glob(pattern):
            with suppress(OSError):
                if left.is_socket() and _is_dead(left):
                    left.unlink()


def _is_dead(path: Path) -> bool:
    """Whether nobody listens there. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe, address_of(path) as address:
        probe.setblocking(False)  # where as many wait as can it is alive
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            return True
    return False
