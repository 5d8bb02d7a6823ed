"""The broker's core by hand: every event and every moment is the test's."""

from collections.abc import Sequence
from typing import Any

import msgpack

from broker.actions import InDoubt, Instruct, LostRequest, Send, Terminate
from broker.core import Core
from broker.decoding import from_submitter, from_worker
from broker.events import WorkerLost, WorkerReady
from broker.settings import BrokerSettings
from protocol import wire
from protocol.wire import Error, RequestHeader
from protocol.worker_wire import DONE, Assignment, DispatchMessage, FollowUp, StopMessage, pack_done, unpack_from_broker

EPOCH = 7
SECOND = 1_000_000


class HeldDispatch:
    """A dispatch in a worker's hands."""

    def __init__(self, worker: bytes, dispatch: DispatchMessage) -> None:
        self.worker = worker
        self.number, self.operation, self.parts, self.request_ids, self.bodies = dispatch


class Broker:
    """now: microseconds. answers: request id -> reply header, each sent once. The rest is what else the core wanted."""

    def __init__(self, **settings: Any) -> None:
        self.now = 100 * SECOND
        self.core = Core(BrokerSettings(**settings), EPOCH, self.now)
        self.answers: dict[int, wire.ReplyHeader] = {}
        self.bodies: dict[int, Any] = {}
        self.handed: list[HeldDispatch] = []
        self.stopped: list[bytes] = []
        self.terminated: list[bytes] = []
        self.in_doubt: list[InDoubt] = []
        self.lost: list[LostRequest] = []
        self._ids = 0

    def submit(
        self,
        operation: str = "get",
        items: Sequence[Any] = ("x",),
        *,
        submitter: str = "a",
        timeout: float = 5.0,
        epoch: int = EPOCH,
        flags: int = 0,
    ) -> int:
        """A request; its id."""
        header = RequestHeader(epoch, operation, self.now + round(timeout * SECOND), len(items), flags)
        return self.send([wire.pack_request_header(header), wire.pack_body(items)], submitter=submitter)

    def send(self, frames: Sequence[bytes], *, submitter: str = "a", kind: int = wire.REQUEST) -> int:
        self._ids += 1
        prefix = wire.pack_prefix(kind, self._ids.to_bytes(16, "little"))
        self.core.handle(from_submitter(submitter, [prefix, *frames]), self.now)
        self.turn()
        return self._ids

    def ready(self, worker: bytes, pool: str = "read") -> None:
        self.core.handle(WorkerReady(worker, pool), self.now)
        self.turn()

    def done(
        self,
        dispatch: HeldDispatch,
        follow_ups: Sequence[FollowUp] = (),
        errors: dict[int, Error] | None = None,
        timed_out: bool = False,
    ) -> None:
        """The worker answers: every item well, with its own body as its result; but for `errors` of each request."""
        frames = [pack_done(dispatch.number, follow_ups, timed_out)]
        for part, body in zip(dispatch.parts, dispatch.bodies, strict=True):
            frames += reply(part, body, errors or {})
        self.answer(dispatch.worker, frames)

    def answer(self, worker: bytes, frames: Sequence[Any]) -> None:
        """The worker sends DONE, with these frames after the tag."""
        self.core.handle(from_worker(worker, [DONE, *frames]), self.now)
        self.turn()

    def lose(self, worker: bytes) -> None:
        self.core.handle(WorkerLost(worker, "was ended by SIGKILL"), self.now)
        self.turn()

    def after(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        self.core.sweep(self.now)
        self.turn()

    def end(self) -> None:
        self.core.end()
        self.turn()

    def turn(self) -> None:
        self.core.dispatch(self.now)
        for action in self.core.take_actions():
            match action:
                case Send():
                    self._sent(action)
                case Instruct():
                    self._instructed(action)
                case Terminate():
                    self.terminated.append(action.worker)
                case InDoubt():
                    self.in_doubt.append(action)
                case LostRequest():
                    self.lost.append(action)

    def _instructed(self, action: Instruct) -> None:
        message = unpack_from_broker(action.frames)
        if isinstance(message, DispatchMessage):
            self.handed.append(HeldDispatch(action.worker, message))
        else:
            assert isinstance(message, StopMessage)
            self.stopped.append(action.worker)

    def _sent(self, action: Send) -> None:
        prefix = wire.unpack_prefix(action.frames[0])
        assert prefix is not None
        number = int.from_bytes(prefix.request_id, "little")
        assert number not in self.answers, "a second answer"
        if prefix.type == wire.REPLY:
            self.answers[number] = wire.unpack_reply_header(action.frames[1])
            self.bodies[number] = action.frames[2]
        else:
            self.bodies[number] = msgpack.unpackb(action.frames[1])

    def fate(self, request: int) -> tuple[str, str]:
        """(code, executed) of a request that was answered as a whole."""
        answer = self.answers[request]
        return (answer.error.code, answer.error.executed) if answer.error else ("OK", "")

    def results(self, request: int) -> list[Any]:
        return wire.unpack_body(bytes(self.bodies[request]), self.answers[request].count)

    def nothing_is_left(self) -> bool:
        return (
            self.core.pending == 0
            and self.core.ledger.owed == 0
            and not any(list(pool.queue) or pool.queue.weight or pool.queue.bytes for pool in self.core.pools.values())
        )


def reply(part: Assignment, body: Any, errors: dict[int, Error]) -> list[bytes]:
    items = wire.unpack_body(bytes(body), None)
    if part.only is not None:
        items = [items[part.only]]
    return [wire.pack_reply_header(wire.ReplyHeader(None, len(items), errors)), wire.pack_body(items)]


def locking(broker: Broker, timeout: float = 5.0) -> int:
    """A set_locked whose second item has children to be locked."""
    broker.ready(b"w1", "write")
    request = broker.submit("set_locked", ["m", "n"], timeout=timeout)
    part = FollowUp(0, 1, "lock_children", b"key", 40, wire.pack_body(["children"]))
    broker.done(broker.handed[-1], [part])
    return request


def owing(broker: Broker, *follow_ups: FollowUp) -> None:
    broker.ready(b"w1", "write")
    request = broker.submit("spend")
    broker.done(broker.handed[-1], follow_ups)
    assert broker.fate(request) == ("OK", "")


def owed(key: bytes) -> FollowUp:
    return FollowUp(None, 0, "note_child", key, 1, wire.pack_body(["count"]))
