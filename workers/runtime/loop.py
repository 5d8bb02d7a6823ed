"""Asks the broker for work by credit, and answers once per dispatch.

A worker holds one dispatch at a time. It never waits for anything but the broker's next message and the store, which
has a time budget.
"""

import os
import time
from typing import Any, Final

import zmq

from protocol.worker_wire import DISPATCH, DONE, STOP, pack_done, pack_ready, unpack_dispatch

from .batch import Batch
from .executor import Executor

# Answers given to ZeroMQ before a worker ends by itself are still delivered, for this long.
_LINGER_MS: Final = 1_000


def serve(executor: Executor, *, identity: bytes, backend: str, pool: str) -> None:
    """Works until it is told to stop."""
    zmq_context = zmq.Context()
    socket: zmq.Socket[bytes] = zmq_context.socket(zmq.DEALER)
    socket.routing_id = identity
    socket.linger = _LINGER_MS
    socket.sndhwm = socket.rcvhwm = 0
    socket.connect(backend)
    socket.send_multipart(pack_ready(pool, os.getpid()))
    while True:
        frames = socket.recv_multipart(copy=False)
        tag = frames[0].bytes
        if tag == DISPATCH:
            # Copied: for large frames that it must not copy, pyzmq would start a context and a thread of its own.
            socket.send_multipart(_execute(executor, frames[1:]))
        elif tag == STOP:
            break
    socket.close()
    zmq_context.term()


def _execute(executor: Executor, frames: list[Any]) -> list[bytes]:
    dispatch_id, operation, assignments = unpack_dispatch(frames[0].bytes)
    batch = Batch(assignments, [frame.buffer for frame in frames[1:]], time.monotonic_ns() // 1000)
    executor.run(operation, batch)
    return [DONE, pack_done(dispatch_id, batch.follow_ups, batch.timed_out), *batch.replies()]
