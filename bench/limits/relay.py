"""Messages that go from a client to a broker, on to a worker and the same way back, each a process of its own, with
nothing done to them: what one that batches over ZeroMQ can reach at most, and how soon an answer can be there."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import zmq

from ..processes import follow_parent
from ..report import MeasurementError

ITEM_BYTES: Final = 100
# A request of 100 spends.
MANY_BYTES: Final = 10_800
_WORKER: Final = b"worker"
_START_SECONDS: Final = 60.0


class Relay:
    """The client's side of it."""

    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        self._socket = socket

    def messages_per_second(self, size: int, in_flight: int, seconds: float) -> float:
        """size: bytes of each. in_flight: sent and not yet back."""
        message = bytes(size)
        for _ in range(in_flight):
            self._socket.send(message)
        back = 0
        started = time.perf_counter()
        until = started + seconds
        while back == 0 or (now := time.perf_counter()) < until:
            self._socket.recv()
            self._socket.send(message)
            back += 1
        for _ in range(in_flight):
            self._socket.recv()
        return back / (now - started)

    def round_trips(self, size: int, seconds: float) -> list[float]:
        """Milliseconds of each, one after the other; of one at least."""
        message = bytes(size)
        taken: list[float] = []
        until = time.perf_counter() + seconds
        while (started := time.perf_counter()) < until or not taken:
            self._socket.send(message)
            self._socket.recv()
            taken.append((time.perf_counter() - started) * 1000)
        return taken


@contextlib.contextmanager
def relay() -> Iterator[Relay]:
    """A broker and a worker, ready; they end with the context. Raises MeasurementError."""
    spawn = get_context("spawn")
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="utxod-relay-")))
        front, back = (f"ipc://{directory / name}" for name in ("front", "back"))
        for process in (
            spawn.Process(target=_broker, args=(front, back), daemon=True),
            spawn.Process(target=_worker, args=(back,), daemon=True),
        ):
            process.start()
            stack.callback(process.join)
            stack.callback(process.terminate)
        context = stack.enter_context(zmq.Context())
        socket = stack.enter_context(context.socket(zmq.DEALER))
        socket.linger = 0
        socket.rcvtimeo = int(_START_SECONDS * 1000)
        socket.connect(front)
        socket.send(b"")
        try:
            socket.recv()
        except zmq.Again:
            raise MeasurementError(f"the relay did not start within {_START_SECONDS:.0f} s: try again") from None
        yield Relay(socket)


def _broker(front_endpoint: str, back_endpoint: str) -> None:
    follow_parent()
    context = zmq.Context()
    front, back = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    front.bind(front_endpoint)
    back.bind(back_endpoint)
    back.recv_multipart()  # the worker is there: a ROUTER drops what is for nobody it knows
    poller = zmq.Poller()
    poller.register(front, zmq.POLLIN)
    poller.register(back, zmq.POLLIN)
    while True:
        for socket, _ in poller.poll():
            message = socket.recv_multipart()
            if socket is front:
                back.send_multipart([_WORKER, *message])
            else:
                front.send_multipart(message[1:])


def _worker(endpoint: str) -> None:
    follow_parent()
    socket = zmq.Context().socket(zmq.DEALER)
    socket.routing_id = _WORKER
    socket.connect(endpoint)
    socket.send(b"")
    while True:
        socket.send_multipart(socket.recv_multipart())
