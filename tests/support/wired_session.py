"""A session without sockets: what stands for its driver and its channel."""

from typing import Any

import msgpack

from protocol import wire
from protocol.client.call import Call
from protocol.client.session import Session
from protocol.wire import Error, Limits

GRACE = 0.25


class WiredSession:
    """Takes what a session sends, as a channel would, and hands it answers. now: the client's clock."""

    def __init__(self, *, ahead: int = 0, epoch: int = 1, limits: Limits | None = None, now: float = 100.0) -> None:
        self.session = Session(GRACE)
        self.now = now
        self.ahead, self.epoch, self.limits = ahead, epoch, limits or Limits()

    def ask(self, *items: Any, operation: str = "get", timeout: float = 5.0, flags: int = 0) -> Call:
        call = Call(operation, b"".join(map(msgpack.packb, items)), len(items), flags)
        call.deadline, call.waiter = self.now + timeout, object()
        self.session.submit(call)
        return call

    def send(self) -> list[list[bytes]]:
        messages = []
        while (frames := self.session.outgoing(self.now)) is not None:
            messages.append(frames)
        return messages

    def requests(self) -> list[tuple[bytes, wire.RequestHeader, list[Any]]]:
        found = []
        for prefix, *frames in self.send():
            if frames:
                header = wire.unpack_request_header(frames[0])
                found.append((prefix[4:], header, wire.unpack_body(frames[1], header.count)))
        return found

    def receive(self, *frames: bytes) -> list[Call]:
        self.session.received(frames, self.now)
        return self.session.take_settled()

    def shake_hands(self) -> list[Call]:
        ((hello,),) = self.send()
        welcome = wire.Welcome(self.epoch, int(self.now * 1_000_000) + self.ahead, self.limits)
        return self.receive(wire.pack_prefix(wire.WELCOME, hello[4:]), wire.pack_welcome(welcome))

    def reply(self, request_id: bytes, results: list[Any], errors: dict[int, Error] | None = None) -> list[Call]:
        header = wire.pack_reply_header(wire.ReplyHeader(None, len(results), errors or {}))
        return self.receive(wire.pack_prefix(wire.REPLY, request_id), header, wire.pack_body(results))

    def refuse(self, request_id: bytes, error: Error) -> list[Call]:
        return self.receive(wire.pack_prefix(wire.REPLY, request_id), wire.error_header(error), wire.EMPTY_BODY)

    def at(self, now: float) -> list[Call]:
        self.now = now
        self.session.expire(now)
        return self.session.take_settled()
