"""Companions: processes beside the daemon that no answer depends on, as the one that shows its figures and the one that
records receipts. The daemon starts them, starts them again when they end, and waits for none: one that hangs, is
stopped, dies or can't be started harms nobody.

A companion is a module that is started as

    python -m MODULE DAEMON ARGUMENTS...

where DAEMON is the daemon's pid. Standard input is empty, standard output and error are the daemon's. It is to

- call `workers.child.begin(int(sys.argv[1]), COMPANION_GOES_BEFORE)` before anything else, so that it does not outlive
  the daemon;
- end soon after SIGTERM, which it is sent when everything else of the daemon has ended. One that would rather read to
  the end of a socket ignores that signal before `begin`, which it tells to wake it where the daemon is killed
  (`when_it_dies=SIGCONT`); its owner closes the daemon's end of the socket before `Companions.end`. After
  `_END_SECONDS` it is killed.

The descriptors in `pass_fds` have the same numbers in it. They stay the owner's: whoever holds them open has the next
start of the companion go on with the same sockets.

It logs at the daemon's level and in its format, also where they change while it runs, if it has called
`log_lines.set_up_as_told`.
"""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from workers import log_lines

from .crash_loop import CrashLoop
from .exit_status import in_words
from .program import start_program

log = logging.getLogger("utxod.companions")

# How long they may take to end by themselves, all together; and to be gone, once killed.
_END_SECONDS: Final = 2.0
_GONE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Companion:
    """name: for people, as in "recorder". module: what is started, with these arguments behind the daemon's
    pid. pass_fds: descriptors that it inherits."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    pass_fds: tuple[int, ...] = ()


class Companions:
    """All companions of one daemon; none runs yet. Raises OSError where there is no descriptor."""

    def __init__(self, wanted: Sequence[Companion]) -> None:
        self._log = os.fdopen(os.memfd_create("utxod-log"), "wb")  # what they follow
        self._companions = [_Lives(companion, self._log.fileno()) for companion in wanted]

    def add(self, companion: Companion) -> None:
        """One more is wanted from now on."""
        self._companions.append(_Lives(companion, self._log.fileno()))

    def tend(self) -> None:
        """Says which have ended, and starts one that is missing and due: a start takes as long as the machine is busy.
        To be called once a sweep."""
        now = time.monotonic()
        log_lines.tell(self._log.fileno())
        for lives in self._companions:
            lives.look(now)
        for lives in self._companions:
            if lives.start_if_due(now):
                return

    def end(self) -> None:
        """Tells them to end, and kills those that do not in time. Nothing of them is left."""
        running = [lives.process for lives in self._companions if lives.process is not None]
        for process in running:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        _wait(running, _END_SECONDS)
        for process in running:
            process.kill()
        _wait(running, _GONE_SECONDS)
        for lives in self._companions:
            if lives.process is not None and lives.process.returncode is None:
                log.error("%s %d was killed, and hangs in the kernel", lives.companion.name, lives.process.pid)
            lives.process = None
        self._log.close()


class _Lives:
    """One companion, through as many processes as it takes. process: the one that runs. follows: the descriptor at
    which it is told how to log."""

    def __init__(self, companion: Companion, follows: int) -> None:
        self.companion = companion
        self._follows = follows
        self.process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._crash_loop = CrashLoop(companion.name)

    def look(self, now: float) -> None:
        """Whether it runs still."""
        if self.process is None:
            return
        status = self.process.poll()
        if status is None:
            self._crash_loop.runs(self._started, now)
            return
        log.warning("%s %d is gone: it %s", self.companion.name, self.process.pid, in_words(status))
        self.process = None
        self._crash_loop.exited(self._started, now)

    def start_if_due(self, now: float) -> bool:
        """Whether it was tried."""
        if self.process is not None or not self._crash_loop.allows_start(now):
            return False
        companion = self.companion
        try:
            self.process = start_program(
                companion.module,
                [str(os.getpid()), *companion.arguments],
                [*companion.pass_fds, self._follows],
                {log_lines.FOLLOW_VARIABLE: str(self._follows)},
            )
        except OSError as error:
            log.error("the %s can't be started: %s", companion.name, error)
            self._crash_loop.start_failed(now)
            return True
        self._started = now
        log.info("started %s %d", companion.name, self.process.pid)
        return True


def _wait(processes: Sequence["subprocess.Popen[bytes]"], within: float) -> None:
    until = time.monotonic() + within
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            continue
