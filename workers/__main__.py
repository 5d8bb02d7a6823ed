"""A worker's program: it opens the store and serves the broker. It ends when its parent does, and dumps its stacks
when asked to.

Exits with 0 when it was told to stop, and with START_FAILED_STATUS if it could not start.
"""

import ctypes
import faulthandler
import gc
import json
import logging
import os
import signal
import socket
import sys
from typing import Final

from protocol.worker_link import WorkerLink
from store import StoreError, open_store
from workers.launch import DUMP_SIGNAL, START_FAILED_STATUS, WorkerSettings
from workers.nonblocking_stderr import open_nonblocking_stderr, replace_stderr
from workers.runtime.executor import Executor
from workers.runtime.loop import serve
from workers.runtime.operations import OPERATION_BY_NAME

log = logging.getLogger("utxod.worker")

_PR_SET_PDEATHSIG: Final = 1


def main() -> int:
    dumps = open_nonblocking_stderr()
    faulthandler.enable(dumps)
    faulthandler.register(DUMP_SIGNAL, dumps, all_threads=True)
    # The daemon's signals are no longer held back; but a terminal with `tostop` may not stop who writes to it.
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTTOU})
    replace_stderr()
    settings = WorkerSettings(**json.loads(sys.argv[1]))
    logging.basicConfig(format=f"%(asctime)s %(levelname)s {settings.pool} worker %(process)d: %(message)s")
    _end_with(settings.parent)
    try:
        store = open_store(settings.store)
    except (StoreError, ValueError, OSError) as error:
        log.error("the store can't be opened: %s", error)
        return START_FAILED_STATUS
    # A dispatch makes objects by the thousand and hardly a cycle: when it is answered they go without the collector.
    gc.freeze()
    gc.set_threshold(100_000)
    executor = Executor(
        OPERATION_BY_NAME,
        store,
        budget=settings.budget_seconds,
        grace=settings.grace_seconds,
        retention=settings.retention,
    )
    os.set_inheritable(settings.link, False)
    serve(executor, WorkerLink(socket.socket(fileno=settings.link)), settings.pool)
    store.close()
    return 0


def _end_with(parent: int) -> None:
    """The kernel kills this process when its parent is gone: a process that is stopped could not notice."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the daemon is gone")


if __name__ == "__main__":
    sys.exit(main())
