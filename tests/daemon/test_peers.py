"""P14: peers that are no submitters, and messages that are none, hold up nobody."""

import socket
from contextlib import suppress
from typing import Final

import pytest

from protocol import codes, wire
from tests.support.daemon import Daemon, Raw, Start
from tests.support.patience import until

# Long beyond the handshake's limit of 5 s: how long a test waits for what is to come.
_WITHIN: Final = 30.0
_ZMTP_SIGNATURE: Final = b"\xff" + bytes(8) + b"\x7f\x03"

SPEAKERS: Final = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "half a greeting": _ZMTP_SIGNATURE,
    "silent": b"",
}


def test_who_never_gets_through_the_handshake_is_closed(start: Start) -> None:
    daemon = start(None, "--listen", "tcp://127.0.0.1:0")
    host, port = daemon.status()["listen"][1].removeprefix("tcp://").split(":")
    peers = {}
    for name, words in SPEAKERS.items():
        peers[name, "tcp"] = socket.create_connection((host, int(port)))
        peers[name, "ipc"] = socket.socket(socket.AF_UNIX)
        peers[name, "ipc"].connect(str(daemon.socket))
        for transport in ("tcp", "ipc"):
            with suppress(ConnectionError):  # not let in within the time for that, it is closed already
                peers[name, transport].sendall(words)
    for peer in peers.values():
        peer.settimeout(_WITHIN)
        with peer:
            try:
                while peer.recv(4096):
                    pass
            except ConnectionResetError:
                pass


@pytest.mark.parametrize("repeated", [1, 3])
def test_a_message_of_very_many_frames_is_answered_and_dropped(daemon: Daemon, repeated: int) -> None:
    bad = Raw(daemon.endpoint)
    request_id = bytes(7) + b"\x01"
    header = wire.RequestHeader(bad.handshake().epoch, "get", 1 << 62, 1, 0)
    message = [wire.pack_prefix(wire.REQUEST, request_id.rjust(wire.REQUEST_ID_BYTES, b"\0"))]
    message += [wire.pack_request_header(header), *[b""] * 400_000]
    for _ in range(repeated):
        bad.send(message)
    with daemon.client(timeout=60) as client:
        for _ in range(repeated):
            frames = bad.receive(60)
            error = wire.unpack_reply_header(frames[1]).error
            assert error is not None
            assert error.code == codes.BAD_REQUEST
            assert client.get_many([bytes(32)])[0].code == "TX_NOT_FOUND"
    until(lambda: daemon.counter("excess frames") == repeated)
    assert bad.handshake().epoch == header.epoch
    bad.close()
