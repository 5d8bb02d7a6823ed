"""A daemon that follows a script: a ROUTER that answers each request as it is told to. Also a process of its own:
`python -m tests.support.scripted_daemon ENDPOINT` answers every item with true."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import zmq

from protocol import wire
from tests.support.patience import SOON


@dataclass
class Request:
    """A request as it came. received: the daemon's clock, in microseconds."""

    id: bytes
    header: wire.RequestHeader
    items: list[Any]
    received: int

    def reply(self, header: bytes, body: bytes = wire.EMPTY_BODY) -> list[bytes]:
        return [wire.pack_prefix(wire.REPLY, self.id), header, body]

    def well(self, results: list[Any] | None = None) -> list[bytes]:
        """The answer that is OK."""
        results = [RESULTS[self.header.operation]] * len(self.items) if results is None else results
        return self.reply(wire.ok_header(len(self.items)), wire.pack_body(results))

    def fault(self, code: str, executed: str = "no", **fields: Any) -> list[bytes]:
        return self.reply(wire.error_header(wire.Error(code, executed, **fields)))


RESULTS = {
    "get": {"fee": 1},
    "outpoint": [5000, b"script"],
    "create": {"records": 1},
    "spend": True,
    "unspend": True,
    "accept": {"created": True, "conflicting": False, "records": 1},
    "utxo": {"satoshis": 5, "lockingScript": b"script", "utxoHash": b"hash", "state": "IMMATURE", "spendableFrom": 200},
    "abandon": [True, False],
    "set_mined": [7],
    "mark_longest_chain": True,
    "freeze": True,
    "unfreeze": True,
    "reassign": b"new hash",
    "preserve_until": True,
    "set_conflicting": [[[b"parent", 1]], [b"spender"]],
    "increment": [None, 3],
    "set_dah": True,
    "set_locked": 2,
}

Script = Callable[[Request], Iterable[list[bytes]]]


def clock() -> int:
    """A clock that is not the client's: an hour ahead of it."""
    return time.monotonic_ns() // 1000 + 3_600_000_000


def answer_well(request: Request) -> Iterable[list[bytes]]:
    return [request.well()]


def answer_nothing(request: Request) -> Iterable[list[bytes]]:
    return []


def answering_after(event: threading.Event) -> Script:
    """Answers well, from then on. Who calls back a future that is answered already calls it back itself."""

    def answer(request: Request) -> Iterable[list[bytes]]:
        event.wait(SOON)
        return answer_well(request)

    return answer


class ScriptedDaemon:
    """script: what is sent back for a request. answers_hello: whether it takes part in a handshake."""

    def __init__(
        self, endpoint: str, script: Script = answer_well, *, epoch: int = 1, limits: wire.Limits | None = None
    ) -> None:
        self.script = script
        self.epoch = epoch
        self.limits = limits or wire.Limits()
        self.requests: list[Request] = []
        self.handshakes = 0
        self.answers_hello = True
        self.reports: Callable[[], dict[str, Any]] = lambda: {"epoch": 1}
        self._seen = threading.Condition()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.ipv6 = "[" in endpoint
        self._socket.bind(endpoint)
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._control_in, self._control = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, count: int, within: float = SOON) -> list[Request]:
        """The requests, once there are `count`."""
        with self._seen:
            if not self._seen.wait_for(lambda: len(self.requests) >= count, within):
                raise TimeoutError(f"{len(self.requests)} requests of {count}")
            return list(self.requests)

    def wait_for_handshakes(self, count: int, within: float = SOON) -> None:
        with self._seen:
            if not self._seen.wait_for(lambda: self.handshakes >= count, within):
                raise TimeoutError(f"{self.handshakes} handshakes of {count}")

    def stop(self) -> None:
        if self._thread.is_alive():
            os.write(self._control, b"x")
            self._thread.join()
            os.close(self._control)
            os.close(self._control_in)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._control_in, zmq.POLLIN)
        while self._control_in not in dict(poller.poll()):
            with contextlib.suppress(zmq.Again):
                while True:
                    self._answer(*self._socket.recv_multipart(zmq.DONTWAIT))
        self._socket.close(0)
        self._context.term()

    def _answer(self, identity: bytes, prefix: bytes, *frames: bytes) -> None:
        kind = wire.unpack_prefix(prefix)
        assert kind is not None
        for message in self._messages(kind, frames):
            self._socket.send_multipart([identity, *message])
        with self._seen:
            self._seen.notify_all()

    def _messages(self, kind: wire.Prefix, frames: tuple[bytes, ...]) -> Iterable[list[bytes]]:
        if kind.type == wire.HELLO:
            self.handshakes += 1
            welcome = wire.pack_welcome(wire.Welcome(self.epoch, clock(), self.limits))
            return [[wire.pack_prefix(wire.WELCOME, kind.request_id), welcome]] if self.answers_hello else []
        if kind.type == wire.STATUS:
            silent = self.script is answer_nothing
            return (
                [] if silent else [[wire.pack_prefix(wire.REPORT, kind.request_id), wire.pack_report(self.reports())]]
            )
        header = wire.unpack_request_header(frames[0])
        request = Request(kind.request_id, header, wire.unpack_body(frames[1], header.count), clock())
        messages = list(self.script(request))
        self.requests.append(request)
        return messages


if __name__ == "__main__":
    daemon = ScriptedDaemon(sys.argv[1])
    print(daemon.endpoint, flush=True)
    sys.stdin.read()
    daemon.stop()
