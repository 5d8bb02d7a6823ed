"""The figures' process of a daemon under test: what it serves, and where."""

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil

from tests.support.daemon import Daemon
from tests.support.patience import until
from utxod.figures.server import MOST_CONNECTIONS, Page, Room, Server

# Any port that is free.
FIGURES = {"metrics": "127.0.0.1:0"}


@contextmanager
def serving(pages: Mapping[str, Page], most: int = MOST_CONNECTIONS) -> Iterator[tuple[str, int]]:
    """The pages at an address that `metrics` calls metrics.example, without a process. most: connections at a time.

    Its thread has ended before the socket is closed: one that still polled a descriptor's number would keep open what
    has that number next."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        server = Server(listening, pages, Room(most), "metrics.example")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            server.shutdown()
            thread.join()


def address_of(daemon: Daemon) -> tuple[str, int]:
    """Where it serves, once that is bound."""
    [line] = daemon.log.expect(r"figures at http://")
    host, port = re.findall(r"http://(.*):(\d+)", line)[0]
    return host, int(port)


def pid_of(daemon: Daemon) -> int:
    """Of the one that runs now."""

    def running() -> int:
        started = re.findall(r"started figures (\d+)", daemon.log.text)
        return int(started[-1]) if started and psutil.pid_exists(int(started[-1])) else 0

    pid: int = until(running)
    return pid


def fetch(address: tuple[str, int], path: str, timeout: float = 30.0) -> tuple[int, str]:
    """Status and text. timeout: seconds. Raises OSError where there is no answer."""
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def fetch_report(address: tuple[str, int]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(fetch(address, "/report.json")[1])
    return report
