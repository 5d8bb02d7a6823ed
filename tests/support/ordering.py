"""Orders to a daemon that runs: by command, or by hand at its socket; and that socket without a daemon around it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from broker.transport.administration import Administration, connect
from tests.support.daemon import Daemon
from tests.support.patience import SOON
from utxod.commands import cli


def run(daemon: Daemon, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--connect", daemon.endpoint])


def order(daemon: Daemon, *arguments: str) -> dict[str, Any]:
    result = run(daemon, *arguments, "--json")
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def refused(daemon: Daemon, *arguments: str, exit_code: int = 1) -> str:
    """What is said of it."""
    result = run(daemon, *arguments)
    assert result.exit_code == exit_code, result.output
    return result.output


class Line:
    """A connection by hand. Who says nothing on one for 5 s is hung up on."""

    def __init__(self, path: str) -> None:
        self.socket = connect(Path(path), SOON)

    def say(self, packet: bytes) -> Any:
        self.socket.send(packet)
        return self.hear()

    def hear(self) -> Any:
        packet = self.socket.recv(1 << 16)
        return json.loads(packet) if packet else None


@contextmanager
def line_to(daemon: Daemon) -> Iterator[Line]:
    line = Line(daemon.status()["administration"])
    with line.socket:
        yield line


class Watched(set[int]):
    """The descriptors that a daemon's loop would look at."""

    def administration(self, directory: Path) -> Administration:
        return Administration(directory, self.add, self.remove)
