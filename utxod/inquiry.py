"""What a command asks a running daemon. If there is no answer, the process ends and says why.

What went wrong is told to a person on standard error, to a program (--json) on standard output too, and to a script by
the exit code.
"""

# ruff: noqa: PLC0415

import errno
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import click

from protocol import codes

from .endpoint_checks import WANTED, check, may_connect
from .exits import NO_DAEMON, NOT_FOUND, WRONG

if TYPE_CHECKING:
    from protocol import Client, UtxodError


T = TypeVar("T")

_NOT_THERE: Final = (codes.TX_NOT_FOUND, codes.UTXO_NOT_FOUND)


def ask(endpoint: str, timeout: float, as_json: bool, question: Callable[["Client"], T]) -> T:
    """What the question makes of the daemon's answers. If one does not come, the process ends with a line that says why
    and what to do. timeout: seconds, of each call."""
    import zmq

    from protocol import Client, UtxodError

    nobody = f"no daemon answers at {endpoint}: start one (utxod serve), or name another with --connect"
    try:
        check(endpoint)
        if not may_connect(endpoint):
            give_up(nobody, as_json, NO_DAEMON)
    except ValueError as error:
        give_up(str(error), as_json, WRONG)
    except PermissionError as error:
        problem = f"{endpoint}: {error.strerror}: whoever runs the daemon decides who may connect to it"
        give_up(problem, as_json, NO_DAEMON)
    try:
        with Client(endpoint, timeout=timeout) as client:
            return question(client)
    except UtxodError as error:
        if error.code == codes.NO_ANSWER:
            give_up(f"{nobody} ({error.message})", as_json, NO_DAEMON, error=error)
        exit_code = NOT_FOUND if error.code in _NOT_THERE else WRONG
        give_up(error.message, as_json, exit_code, error=error)
    except zmq.ZMQError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        problem = f"{endpoint}: {zmq.strerror(error.errno or 0)}; {WANTED}"
        give_up(problem, as_json, WRONG)


def give_up(
    message: str, as_json: bool, exit_code: int, *, error: "UtxodError | None" = None, executed: str = codes.NO
) -> NoReturn:
    """There is nothing to show: says why, where JSON was asked for on standard output as well, and ends the process.
    error: the daemon's, where that is why. executed: where it is not, whether what was asked for was done."""
    from .rendering import harmless

    code, request_id = codes.NO_ANSWER, ""
    if error is not None:
        code, executed, request_id = error.code, error.executed, error.request_id
    told = message if code == codes.NO_ANSWER else f"{code}: {message}"
    click.echo(f"Error: {harmless(told)}{f' (request {request_id})' if request_id else ''}", err=True)
    if as_json:
        fields = {"code": code, "executed": executed, "message": message, "request_id": request_id}
        click.echo(json.dumps({"error": fields}))
    raise SystemExit(exit_code)
