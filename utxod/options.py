"""What several commands are given: options and arguments."""

import math
from typing import Any, Final

import click

from protocol.endpoint import default_endpoint

_MAX_UINT32: Final = (1 << 32) - 1


class FiniteRange(click.FloatRange):
    """A number from `least` to `most`; click's own takes nan for one of any range."""

    def __init__(self, least: float, most: float) -> None:
        super().__init__(least, most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail("nan is no number", param, ctx)
        return number


def _txid(text: str) -> bytes:
    """32 bytes in wire order. text: as block explorers show it."""
    try:
        txid = bytes.fromhex(text)
    except ValueError:
        txid = b""
    if len(txid) != 32 or len(text) != 64:
        raise click.BadParameter("a txid is 64 hexadecimal digits")
    return txid[::-1]


def _output(text: str) -> tuple[bytes, int]:
    """txid, as above, and vout."""
    txid, colon, vout = text.partition(":")
    if not colon:
        raise click.BadParameter("wanted TXID:VOUT, the transaction's id and the number of its output")
    if not (vout.isascii() and vout.isdecimal() and len(vout) <= 10) or int(vout) > _MAX_UINT32:
        raise click.BadParameter(f"VOUT: {vout!r} is no number from 0 to {_MAX_UINT32}")
    return _txid(txid), int(vout)


txid = click.argument("txid", callback=lambda context, parameter, text: _txid(text))
output = click.argument("output", metavar="TXID:VOUT", callback=lambda context, parameter, text: _output(text))
connect = click.option(
    "--connect",
    metavar="ENDPOINT",
    envvar="UTXOD_CONNECT",
    default=default_endpoint,
    show_default=default_endpoint(),
    help="Where the daemon listens: ipc:///path/to/socket or tcp://host:port. Also: UTXOD_CONNECT.",
)
as_json = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object in place of text for people; an error as "
    '{"error": {"code", "executed", "message", "request_id"}}.',
)
timeout = click.option("--timeout", type=FiniteRange(0.01, 86_400), default=5.0, show_default=True, help="Seconds.")
height = click.option(
    "--height",
    type=click.IntRange(0, _MAX_UINT32),
    help="Judge what may be spent at this height. Without it, any height that an output waits for is named.",
)
