"""A real daemon for a test: its processes, its log as events, its faults, and what must be left of it: nothing."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import zmq

from bench.faults import Faults
from protocol import Client, UtxodError, wire
from protocol.client.timeouts import DEFAULT_GRACE
from store import Store, open_store
from tests.support.aerospike_server import own_set
from tests.support.patience import SOON, until

ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0
_STARTED = re.compile(r"started \D+(\d+)$")


# Limits that a test can wait for.
SHORT = {
    "broker.budget_seconds": 0.4,
    "broker.grace_seconds": 0.2,
    "broker.probe_seconds": 0.2,
}
# The same where no worker is to be taken for wedged, however long it gets no processor.
SHORT_BUDGET = SHORT | {"broker.grace_seconds": 60}

# Of creations, where limits are short: a worker that gets no processor for a while is taken for wedged, or its store
# for one that does not answer, and the record may have been written.
IS_THERE = ("OK", "TX_EXISTS")

# A busy machine's worker may take its time to start.
PATIENT = {"broker.workerless_seconds": 60}


class Log:
    """The lines a process writes, as events."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.lines: list[str] = []
        self.ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(process.stderr,), daemon=True)
        self._thread.start()

    def _read(self, stream: Any) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def expect(self, pattern: str, count: int = 1, within: float = SOON, after: int = 0) -> list[str]:
        """The first `count` lines that match, once they are there. after: lines that do not count."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._matching(pattern, after)) >= count or self.ended, within)
            found = self._matching(pattern, after)
            assert len(found) >= count, f"no {pattern!r} x {count} in the log:\n{self.text}"
            return found[:count]

    def close(self) -> None:
        """Reads to the end: until the last process that writes here has gone."""
        self._thread.join(SOON)
        assert self.ended, "somebody still holds the log"

    def _matching(self, pattern: str, after: int) -> list[str]:
        return [line for line in self.lines[after:] if re.search(pattern, line)]


def started(lines: Iterable[str]) -> list[int]:
    """The processes whose start is told in these lines of a log."""
    return [int(match[1]) for line in lines if (match := _STARTED.search(line))]


class Daemon:
    """`python -m utxod serve` in a directory. settings: as for --set. arguments: further ones. store_url: with an
    option in it."""

    def __init__(
        self, directory: Path, settings: Mapping[str, Any], arguments: tuple[str, ...], store_url: str
    ) -> None:
        self.directory = directory
        self.socket = directory / "u.sock"
        self.endpoint = f"ipc://{self.socket}"
        self.faults = Faults(directory)
        self.store_url = store_url
        self.temporary = directory / "tmp"
        self.temporary.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "utxod", "serve", "--listen", self.endpoint, *arguments]
        command += ["--store", f"faulty+{self.store_url}&faults={self.faults.file}"]
        for key, value in {**PATIENT, **settings}.items():
            command += ["--set", f"{key}={value}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("UTXOD_")}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=directory,
            process_group=0,  # as a terminal's job has one
            env={
                **environment,
                "PYTHONPATH": str(ROOT),
                "TMPDIR": str(self.temporary),
                "UTXOD_STATE": str(directory / "state"),
            },
        )
        self.log = Log(self.process)

    def wait_until_it_serves(self) -> None:
        with self.client(timeout=3.0) as client:
            deadline = time.monotonic() + START_SECONDS
            while time.monotonic() < deadline:
                assert self.process.poll() is None, self.log.text
                with contextlib.suppress(UtxodError):
                    client.status()
                    return
        raise AssertionError(f"it does not serve:\n{self.log.text}")

    def client(self, timeout: float = 30.0, grace: float = DEFAULT_GRACE) -> Client:
        return Client(self.endpoint, timeout=timeout, grace=grace)

    def status(self) -> dict[str, Any]:
        with self.client() as client:
            return client.status()

    def counter(self, name: str) -> int:
        return int(self.status()["counters"].get(name, 0))

    def wait_until(self, condition: Callable[[dict[str, Any]], Any], within: float = SOON) -> dict[str, Any]:
        """The first status that fulfils the condition."""
        with self.client() as client:
            status: dict[str, Any] = until(lambda: seen if condition(seen := client.status()) else None, within)
            return status

    def wait_until_in_flight(self, items: int, pool: str = "write") -> dict[str, Any]:
        return self.wait_until(lambda status: status["pools"][pool]["in_flight"] >= items)

    def wait_for_workers(self, count: int = 1, within: float = START_SECONDS) -> dict[str, Any]:
        """All pools have at least so many workers that are ready."""
        return self.wait_until(
            lambda status: all(pool["workers"] >= count for pool in status["pools"].values()), within
        )

    def descriptors(self) -> int:
        """Open ones of the daemon's own process."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def workers(self, pool: str) -> list[int]:
        return [process["pid"] for process in self.status()["processes"] if process["pool"] == pool]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The daemon stands still, and what is sent to it lies in buffers."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """The records, beside the daemon."""
        store = open_store(self.store_url)
        try:
            yield store
        finally:
            store.close()

    def started(self) -> list[int]:
        """Every worker and companion there ever was, as far as the log has told by now."""
        return started(self.log.lines)

    def worker_starts(self) -> dict[str, int]:
        """How many workers each pool has had by now."""
        return {row["pool"]: row["count"] for row in self.status()["figures"]["worker_starts"]}

    def end(self) -> None:
        """It ends well when told to, and nothing of it is left."""
        self.signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.log.close()
        assert status == 0, self.log.text
        self.expect_nothing_left()

    def expect_nothing_left(self) -> None:
        assert [pid for pid in self.started() if os.path.exists(f"/proc/{pid}")] == []
        assert list(self.temporary.iterdir()) == []
        assert list(self.directory.glob("u.sock*")) == []
        assert "Traceback" not in self.log.text, self.log.text

    def destroy(self) -> None:
        """Whatever a failed test has left."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()


Start = Callable[..., Daemon]


@contextlib.contextmanager
def running_daemon(
    directory: Path, settings: Mapping[str, Any], store_kind: str, store_options: str = ""
) -> Iterator[Daemon]:
    """A daemon that several tests share, on a set of its own. Where it still runs at the end, it is told to end, and
    must leave nothing."""
    with own_set(store_kind, directory, directory.name) as url:
        daemon = Daemon(directory, settings, (), url + store_options)
        try:
            daemon.wait_until_it_serves()
            yield daemon
            if daemon.process.poll() is None:
                daemon.end()
        finally:
            daemon.destroy()
            print(daemon.log.text)  # shown where a test has failed


class End:
    """Learns of a process's end from the kernel, also where it is not ours. To be made while it is alive."""

    def __init__(self, pid: int) -> None:
        self.descriptor = os.pidfd_open(pid)

    def wait(self, within: float) -> bool:
        ended = bool(select.select([self.descriptor], [], [], within)[0])
        os.close(self.descriptor)
        return ended


class Raw:
    """A DEALER without a client's care: it keeps what it can't send, and reads only when it is told to."""

    def __init__(self, endpoint: str, receive_limit: int = 0) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = 0
        self.socket.rcvhwm = receive_limit
        self.socket.setsockopt(zmq.RECONNECT_IVL, 10)
        self.socket.connect(endpoint)
        self._ids = 0

    def handshake(self) -> wire.Welcome:
        self.socket.send_multipart([wire.pack_prefix(wire.HELLO, self._id())])
        return wire.unpack_welcome(self.receive()[1])

    def ask(self, header: wire.RequestHeader, body: bytes) -> bytes:
        """Returns the request's id."""
        request_id = self._id()
        self.send([wire.pack_prefix(wire.REQUEST, request_id), wire.pack_request_header(header), body])
        return request_id

    def send(self, frames: list[bytes]) -> None:
        self.socket.send_multipart(frames)

    def receive(self, within: float = SOON) -> list[bytes]:
        assert self.socket.poll(round(within * 1000)), f"no answer within {within} s"
        return self.socket.recv_multipart()

    def replies(self, count: int, within: float = SOON) -> dict[bytes, wire.ReplyHeader]:
        """The next `count` replies, by request id."""
        replies = {}
        for _ in range(count):
            prefix, header, _ = self.receive(within)
            replies[prefix[4:]] = wire.unpack_reply_header(header)
        return replies

    def close(self) -> None:
        self._context.destroy(linger=0)

    def _id(self) -> bytes:
        self._ids += 1
        return self._ids.to_bytes(wire.REQUEST_ID_BYTES, "little")
