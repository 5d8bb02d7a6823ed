"""Asks the broker for work by credit, and answers once per dispatch.

A worker holds one dispatch at a time. It never waits for anything but the broker's next message and the store, which
has a time budget.
"""

import os
import time
from typing import Final

import zmq

from protocol.worker_wire import (
    DONE,
    DispatchMessage,
    ProbeMessage,
    StopMessage,
    pack_done,
    pack_ready,
    unpack_from_broker,
)

from .batch import Batch
from .executor import Executor

# Answers given to ZeroMQ before a worker ends by itself are still delivered, for this long.
_LINGER_MS: Final = 1_000


def serve(executor: Executor, *, identity: bytes, backend: str, pool: str) -> None:
    """Works until it is told to stop. Raises WorkerWireError where the broker sends what is no message of its."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.routing_id = identity
        socket.linger = _LINGER_MS
        socket.sndhwm = socket.rcvhwm = 0
        socket.connect(backend)
        socket.send_multipart(pack_ready(pool, os.getpid()))
        while True:
            match unpack_from_broker(socket.recv_multipart()):
                case DispatchMessage() as dispatch:
                    # Copied: for large frames that it must not copy, pyzmq would start a context and a thread.
                    socket.send_multipart(_execute(executor, dispatch))
                case ProbeMessage():
                    pass  # that it has come was all that it was for
                case StopMessage():
                    return


def _execute(executor: Executor, dispatch: DispatchMessage) -> list[bytes]:
    shape = executor.shape_of(dispatch.operation)
    batch = Batch(dispatch.assignments, dispatch.bodies, time.monotonic_ns() // 1000, shape)
    executor.run(dispatch.operation, batch)
    return [DONE, pack_done(dispatch.number, batch.follow_ups, batch.timed_out), *batch.replies()]
