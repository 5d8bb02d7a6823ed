"""A worker's program: it opens the store and serves the broker. It ends when its parent does, and dumps its stacks
when asked to.

Exits with 0 when it was told to stop, and with START_FAILED_STATUS if it could not start.
"""

import faulthandler
import gc
import json
import logging
import os
import socket
import sys
from typing import Final

from protocol.worker_link import WorkerLink
from store import ErrorKind, StoreError, open_store
from workers import log_lines
from workers.child import WORKER_GOES_BEFORE, begin
from workers.launch import DUMP_SIGNAL, STACKS, START_FAILED_STATUS, WorkerSettings
from workers.nonblocking_stderr import open_nonblocking_stderr
from workers.runtime.executor import Executor
from workers.runtime.in_hand import InHand
from workers.runtime.loop import serve
from workers.runtime.operations import OPERATION_BY_NAME

log = logging.getLogger("utxod.worker")

_GONE: Final = (
    ". There was one when the daemon started: bring it back (a file system that is not mounted, a directory that was "
    "moved); the next start of the daemon would begin an empty one"
)


def main() -> int:
    faulthandler.enable(open_nonblocking_stderr())
    faulthandler.register(DUMP_SIGNAL, os.memfd_create(STACKS), all_threads=True)
    settings = WorkerSettings(**json.loads(sys.argv[1]))
    begin(settings.parent, WORKER_GOES_BEFORE)
    log_lines.set_up_as_told(f"{settings.pool} worker", pool=settings.pool)
    try:
        store = open_store(settings.store, create=settings.may_create)
    except (StoreError, ValueError, OSError) as error:
        is_gone = isinstance(error, StoreError) and error.kind is ErrorKind.NO_SET
        log.error("the store can't be opened: %s%s", error, _GONE if is_gone else "")
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
    in_hand = InHand()
    for name in ("utxod.worker", "utxod.store"):
        logging.getLogger(name).addFilter(in_hand)
    serve(executor, WorkerLink(socket.socket(fileno=settings.link)), settings.pool, in_hand)
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
