"""Asks the broker for work by credit, and answers once per dispatch.

A worker holds one dispatch at a time. It never waits for anything but the broker's next message and the store, which
has a time budget.
"""

import os
import time

from protocol.worker_link import WorkerLink
from protocol.worker_wire import DONE, DispatchMessage, StopMessage, pack_done, pack_ready, unpack_from_broker

from .batch import Batch
from .executor import Executor


def serve(executor: Executor, link: WorkerLink, pool: str) -> None:
    """Works until it is told to stop, or the broker is gone. link: blocking; closed at the end. Raises WorkerWireError
    where the broker sends what is no message of its."""
    try:
        link.send(pack_ready(pool, os.getpid()))
        while True:
            for frames in link.receive():
                match unpack_from_broker(frames):
                    case DispatchMessage() as dispatch:
                        link.send(_execute(executor, dispatch))
                    case StopMessage():
                        return
    except (EOFError, ConnectionError):
        return
    finally:
        link.close()


def _execute(executor: Executor, dispatch: DispatchMessage) -> list[bytes]:
    shape = executor.shape_of(dispatch.operation)
    batch = Batch(dispatch.assignments, dispatch.bodies, time.monotonic_ns() // 1000, shape)
    executor.run(dispatch.operation, batch)
    return [DONE, pack_done(dispatch.number, batch.follow_ups, batch.timed_out), *batch.replies()]
