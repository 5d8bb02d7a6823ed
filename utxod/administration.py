"""`utxod scale`, `reload`, `drain` and `log-level`: orders to a daemon that runs, at its administration socket. Where
that is, the daemon tells who asks for its status."""

# ruff: noqa: PLC0415

import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, get_args, get_type_hints

import click

from broker.daemon_settings import MOST_WORKERS, LogSettings
from broker.scheduling import POOLS
from protocol import codes

from .exits import WRONG
from .inquiry import ask, give_up
from .options import FiniteRange, as_json, connect, timeout
from .plurals import many

if TYPE_CHECKING:
    from protocol import Client

_LEVELS: Final = get_args(get_type_hints(LogSettings)["level"])
# How long an answer to an order may take, where a command waits for something else for longer.
_ANSWER_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1
_MOST_SECONDS: Final = 86_400
_YES: Final = "yes"
_PEER: Final = struct.Struct("3i")  # pid, uid, gid


class Line:
    """A connection to the daemon that has made this report of itself. Whatever goes wrong ends the command with a line
    that says so, and with what became of the order. seconds: that an answer may take."""

    def __init__(self, endpoint: str, report: dict[str, Any], seconds: float, as_json: bool) -> None:
        from broker.transport.administration import connect

        self._endpoint = endpoint
        self._report = report
        self._seconds = seconds
        self._as_json = as_json
        self._executed = codes.NO
        self.path = Path(self._told())
        try:
            self._connection = connect(self.path, seconds)
        except FileNotFoundError:
            self.fail(
                f"{self.path} is not here: the daemon is on another host, or in a container; give the order there"
            )
        except PermissionError:
            self.fail(f"{self.path}: only the daemon's user and root may give it orders")
        except BlockingIOError:
            self.fail(f"{self.path}: the daemon lets nobody in: it stands still, or many others wait; try again")
        except OSError as error:
            self.fail(f"{self.path}: {error.strerror}; has the daemon ended?")

    def order(self, do: str, **what: Any) -> dict[str, Any]:
        """What the daemon answers. The same order may be given again, to hear more."""
        before = self._executed
        if before == codes.NO:
            self._executed = codes.UNKNOWN
        request = json.dumps({"do": do, "epoch": self._report["epoch"], **what}).encode()
        packet = self._ask(request)
        if not packet and self._is_connected_anew():  # the daemon hangs up on who says nothing for some seconds
            packet = self._ask(request)
        if not packet:
            self.fail("the daemon has ended without a word; its log says why, unless it was killed")
        answer: dict[str, Any] = json.loads(packet)
        if "ended" in answer and do != "drain":
            self.fail("the daemon has ended")
        if "error" in answer:
            self._executed = before
            self.fail(str(answer["error"]))
        self._executed = _YES
        return answer

    def _ask(self, request: bytes) -> bytes:
        """What is said to it; nothing, where nobody is there any more."""
        from broker.transport.administration import ANSWER_BYTES

        with suppress(OSError):  # what it said before it went can still be read
            self._connection.send(request, socket.MSG_NOSIGNAL)
        try:
            try:
                return self._connection.recv(ANSWER_BYTES)
            except ConnectionResetError:  # it went with something of ours unread, and may have said something before
                return self._connection.recv(ANSWER_BYTES)
        except TimeoutError:
            self.fail(f"the daemon has not answered within {self._seconds:g} s; it may still do what it was told")
        except OSError as error:
            self.fail(f"{self.path}: {error.strerror}")

    def _is_connected_anew(self) -> bool:
        from broker.transport.administration import connect

        self._connection.close()
        with suppress(OSError):
            self._connection = connect(self.path, self._seconds)
            return True
        return False

    def process(self) -> int:
        """A descriptor that can be read once the daemon has ended; -1 where its processes are not seen from here."""
        pid = _PEER.unpack(self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
        try:
            return os.pidfd_open(pid) if pid else -1
        except OSError:
            return -1

    def close(self) -> None:
        self._connection.close()

    def fail(self, message: str) -> NoReturn:
        give_up(message, self._as_json, WRONG, executed=self._executed)

    def _told(self) -> str:
        version, endpoint = self._report["version"], self._endpoint
        if "administration" not in self._report:
            self.fail(
                f"the daemon at {endpoint} is of version {version}, and takes no orders: restart it with this one"
            )
        if not self._report["administration"]:
            self.fail(
                f"the daemon at {endpoint} could not make a socket for orders; its log says why. There are signals: "
                "SIGTERM to drain, SIGHUP to reload, SIGTTIN and SIGTTOU for one `write` worker more or less"
            )
        return str(self._report["administration"])


@contextmanager
def _line(client: "Client", endpoint: str, seconds: float, as_json: bool) -> Iterator[Line]:
    line = Line(endpoint, client.status(), seconds, as_json)
    try:
        yield line
    finally:
        line.close()


class _Count(click.IntRange):
    name = "whole number"


@click.command(short_help="Have more workers in a pool, or fewer.")
@click.argument("pool", type=click.Choice(list(POOLS)))
@click.argument("count", metavar="N", type=_Count(1, MOST_WORKERS))
@click.option("--no-wait", is_flag=True, help="Do not wait until they are there.")
@connect
@as_json
@click.option(
    "--timeout",
    type=FiniteRange(0.01, _MOST_SECONDS),
    default=60.0,
    show_default=True,
    help="Seconds: how long to wait for the workers.",
)
def scale(pool: str, count: int, no_wait: bool, connect: str, as_json: bool, timeout: float) -> None:
    """Have N workers in POOL from now on, whatever becomes of each: one that dies is replaced, those too many end when
    what they hold is done. It holds until the daemon ends, and through a reload that does not change the setting.

    Says how many are there. The exit code is 0 once they are all there, 1 where they are not in time.
    """

    def give(client: "Client") -> dict[str, Any]:
        with _line(client, connect, _ANSWER_SECONDS, as_json) as line:
            answer = line.order("scale", pool=pool, workers=count)
            until = time.monotonic() + timeout
            while not no_wait and answer["workers"] != count:
                if time.monotonic() > until:
                    there = f"{pool}: {answer['workers']} of {many(count, 'worker')} after {timeout:g} s"
                    line.fail(f"{there}: a few start at a time; the daemon goes on, and its log says what goes wrong")
                time.sleep(_LOOK_SECONDS)
                found = client.status()["pools"][pool]
                answer["workers"] = found["workers"]
                if found["workers_wanted"] != count:
                    line.fail(f"{pool}: somebody has ordered {many(found['workers_wanted'], 'worker')} since")
            return answer

    answer = ask(connect, _ANSWER_SECONDS, as_json, give)
    waited = "" if answer["workers"] == count else f" now, {count} wanted"
    _show(answer, as_json, f"{pool}: {many(answer['workers'], 'worker')}{waited}")


@click.command(short_help="Have a daemon read its settings again.")
@connect
@as_json
@timeout
def reload(connect: str, as_json: bool, timeout: float) -> None:
    """Have a daemon read its settings again, from the same file, environment and flags; then it replaces all of its
    workers, one after the other, without a failed item. SIGHUP does the same.

    Says what has changed, and what needs a restart. Where the settings are faulty nothing changes, and the exit code is
    1. `utxod serve --show-settings` says of each whether it changes at a reload.
    """

    def give(client: "Client") -> dict[str, Any]:
        with _line(client, connect, timeout, as_json) as line:
            return line.order("reload")

    answer = ask(connect, timeout, as_json, give)
    lines = [f"{key}: {now}, was {was}" for key, (was, now) in answer["changed"].items()]
    lines += [
        f"{key}: stays {found} by order; the settings say {said}" for key, (said, found) in answer["kept"].items()
    ]
    lines += [
        f"{key}: stays {was} until a restart; the settings say {now}"
        for key, (was, now) in answer["at_the_next_start"].items()
    ]
    _show(
        answer,
        as_json,
        *(lines or ["nothing has changed in the settings"]),
        f"replacing {many(answer['replaced'], 'worker')}",
    )


@click.command(short_help="End a daemon in order, and wait until it has.")
@connect
@as_json
@click.option(
    "--timeout",
    type=FiniteRange(0.01, _MOST_SECONDS),
    help="Seconds: how long to wait for its end. Without it, as long as the daemon takes: `drain_seconds`, and some.",
)
def drain(connect: str, as_json: bool, timeout: float | None) -> None:
    """End a daemon, as SIGTERM does: it takes nothing new, finishes what is pending within its `drain_seconds`, answers
    the rest, and ends. Waits for that, and shows on a terminal how many are pending.

    The exit code is 0 where all that was pending was finished, 1 where it was not, or where the daemon has not ended in
    time; it ends all the same.
    """
    until = time.monotonic() + (_MOST_SECONDS if timeout is None else timeout)

    def give(client: "Client") -> dict[str, Any]:
        with _line(client, connect, _ANSWER_SECONDS, as_json) as line:
            process = line.process()
            answer = line.order("drain")
            while "ended" not in answer:
                if time.monotonic() > until:
                    line.fail(
                        f"the daemon has not ended within {timeout:g} s; {many(answer['pending'], 'request')} pending"
                    )
                _show_pending(answer)
                time.sleep(_LOOK_SECONDS)
                answer = line.order("drain")
            if process >= 0:
                select.select([process], [], [], max(0.0, until - time.monotonic()))
                os.close(process)
            return answer

    answer = ask(connect, _ANSWER_SECONDS, as_json, give)
    _show_pending(None)
    unfinished = answer["unfinished"]
    if unfinished:
        ended = f"ended; {many(unfinished, 'request')} not finished in time, and answered so"
        give_up(ended, as_json, WRONG, executed=_YES)
    _show(answer, as_json, "ended; all that was pending was finished")


@click.command("log-level", short_help="Have a daemon log more, or less.")
@click.argument("level", type=click.Choice(_LEVELS))
@connect
@as_json
@timeout
def log_level(level: str, connect: str, as_json: bool, timeout: float) -> None:
    """Have a daemon and all its processes, those that run too, log what is of LEVEL or worse. It holds until the daemon
    ends, and through a reload that does not change the setting.
    """

    def give(client: "Client") -> dict[str, Any]:
        with _line(client, connect, timeout, as_json) as line:
            return line.order("log-level", level=level)

    answer = ask(connect, timeout, as_json, give)
    _show(answer, as_json, f"{level}, was {answer['before']}")


def _show(answer: dict[str, Any], as_json: bool, *lines: str) -> None:
    if as_json:
        click.echo(json.dumps({name: value for name, value in answer.items() if name != "ok"}))
    else:
        click.echo("\n".join(lines))


def _show_pending(answer: dict[str, Any] | None) -> None:
    """On one line of a terminal, which is blank again in the end."""
    if sys.stderr.isatty():
        text = "" if answer is None else f"{answer['pending']} pending, {answer['seconds_left']:g} s left"
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)
