"""A worker's process, as its supervisor sees it: start, watch, end.

It is started as program.py does; the kernel ends it with its parent.
"""

import json
import logging
import os
import signal
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import psutil

from workers import log_lines
from workers.launch import DUMP_SIGNAL, STACKS, WorkerSettings

from .program import start_program

log = logging.getLogger("utxod.workers")

# Of a dump of stacks: what fits in one event of the log.
_MOST_STACK_BYTES: Final = 20_000

# Why a worker has ended: by itself or by somebody else; ended by us, because it was wedged, stopped, talked nonsense or
# did not become ready; it could not start; it was told to.
Cause = Literal["crashed", "wedged", "stopped", "nonsense", "not_ready", "start_failed", "retired"]


class WorkerProcess:
    """identity: of its link. started: seconds, monotonic. has_started: it was seen ready. settings: that it was started
    with. level: the least that it logs. told_amid: the dispatch that it held when it was last told another level. left:
    when it was told to end, or to be terminated, for `terminated_because`; None while it is to stay. cause: of its end,
    where it is terminated.

    Raises OSError where the process can't be started, or not be watched; then there is none.
    """

    def __init__(self, identity: bytes, settings: WorkerSettings, now: float) -> None:
        self.identity = identity
        self.pool = settings.pool
        self.settings = settings
        self.level = log_lines.level()
        self.told_amid = 0
        self.started = now
        self.has_started = False
        self.left: float | None = None
        self.cause: Cause | None = None
        self.terminated_because = ""
        self._popen = start_program("workers", [json.dumps(asdict(settings))], [settings.link], log_lines.environment())
        self.pid = self._popen.pid
        try:
            self.descriptor = os.pidfd_open(self.pid)
        except OSError:
            self._popen.kill()
            self._popen.wait()
            raise

    @property
    def fields(self) -> dict[str, Any]:
        """Of a line of the log about it."""
        return {"pool": self.pool, "worker": self.pid}

    @property
    def leaving(self) -> bool:
        """Whether it was told to end, or is being terminated."""
        return self.left is not None

    def leave(self, now: float) -> None:
        """It is told to end. now: seconds, monotonic."""
        self.left = self.left or now

    def is_stopped(self) -> bool:
        """Whether a signal has stopped it (SIGSTOP, or a debugger); not, where nobody can tell."""
        try:
            return psutil.Process(self.pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        except (psutil.Error, OSError):
            return False

    def memory_bytes(self) -> int:
        """Resident memory, 0 where it is gone, or nobody can tell."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except Exception:  # whatever a library makes of files that can't be read: who asks is answered
            return 0

    def dump(self) -> None:
        """Makes it write down its stacks."""
        self._signal(DUMP_SIGNAL)

    def stacks(self) -> str:
        """What it has written down; empty where it has not, or nobody can tell."""
        with suppress(OSError):
            for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
                if str(descriptor.readlink()).startswith(f"/memfd:{STACKS}"):
                    with descriptor.open("rb") as file:
                        return file.read(_MOST_STACK_BYTES).decode("ascii", "replace")
        return ""

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def wait(self, within: float | None = None) -> int:
        """Its exit status, negative for a signal. within: seconds to wait for its end, not needed once the descriptor
        can be read. Raises subprocess.TimeoutExpired."""
        status = self._popen.wait(within)
        os.close(self.descriptor)
        return status

    def _signal(self, number: signal.Signals) -> None:
        try:
            self._popen.send_signal(number)
        except OSError as error:
            log.error("%s worker %d can't be sent %s: %s", self.pool, self.pid, number.name, error, extra=self.fields)
