"""Asks the broker for work by credit, and answers once per dispatch.

A worker holds one dispatch at a time. It never waits for anything but the broker's next message and the store, which
has a time budget.
"""

import logging
import os
import time

from protocol.worker_link import WorkerLink
from protocol.worker_wire import (
    DONE,
    DispatchMessage,
    LevelMessage,
    StopMessage,
    pack_done,
    pack_ready,
    unpack_from_broker,
)
from workers import log_lines
from workers.nonblocking_stderr import lines_dropped

from .batch import Batch
from .executor import Executor
from .in_hand import InHand

log = logging.getLogger("utxod.worker")


def serve(executor: Executor, link: WorkerLink, pool: str, in_hand: InHand) -> None:
    """Works until it is told to stop, or the broker is gone. link: blocking; closed at the end. in_hand: is told of
    each dispatch. Raises WorkerWireError where the broker sends what is no message of its."""
    try:
        link.send(pack_ready(pool, os.getpid()))
        while True:
            for frames in link.receive():
                match message := unpack_from_broker(frames):
                    case DispatchMessage():
                        in_hand.take(message.number, message.request_ids)
                        link.send(_execute(executor, message))
                        in_hand.release()
                    case LevelMessage():
                        log_lines.set_level(message.level)
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
    replies = batch.replies()
    log.debug("%s of %d items: %.1f ms in the store", dispatch.operation, len(batch), batch.store_seconds * 1000)
    done = pack_done(
        dispatch.number,
        batch.follow_ups,
        batch.timed_out,
        store_us=round(batch.store_seconds * 1e6),
        ignored=batch.ignored,
        dropped=lines_dropped(),
    )
    return [DONE, done, *replies]
