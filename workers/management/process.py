"""A worker's process, as its supervisor sees it: start, watch, end.

Started afresh (never forked, so that no client, lock or environment of the daemon's is shared), in a process group of
its own, so that a Ctrl-C for the daemon is not one for its workers. The kernel ends it with its parent.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import psutil

from workers.launch import DUMP_SIGNAL, WorkerSettings

log = logging.getLogger("utxod.workers")

_ROOT: Final = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """identity: of its link. started: seconds, monotonic. leaving: was told to end, or is being terminated, for
    `terminated_because`.

    Raises OSError where the process can't be started, or not be watched; then there is none.
    """

    def __init__(self, identity: bytes, settings: WorkerSettings, now: float) -> None:
        self.identity = identity
        self.pool = settings.pool
        self.started = now
        self.leaving = False
        self.terminated_because = ""
        path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._popen = subprocess.Popen(  # noqa: S603 (our own interpreter, our own module)
            [sys.executable, "-P", "-m", "workers", json.dumps(asdict(settings))],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
            process_group=0,
            pass_fds=[settings.link],
        )
        self.pid = self._popen.pid
        try:
            self.descriptor = os.pidfd_open(self.pid)
        except OSError:
            self._popen.kill()
            self._popen.wait()
            raise

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
        """Makes it write its stacks to the log."""
        self._signal(DUMP_SIGNAL)

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
            log.error("%s worker %d can't be sent %s: %s", self.pool, self.pid, number.name, error)
