"""The commands that look something up: get, coin and show, at one transaction of a running daemon's set, or at one of
its outputs; explain, at what became of a request."""

# ruff: noqa: PLC0415

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from . import options
from .exits import NOT_FOUND, WRONG
from .inquiry import ask, give_up

if TYPE_CHECKING:
    from protocol import Client

    from .show import Shown

_MOST_OUTPUTS: Final = 1 << 32


@click.command(short_help="Show a transaction's record as it is kept.")
@options.txid
@options.connect
@options.as_json
@options.timeout
def get(txid: bytes, connect: str, as_json: bool, timeout: float) -> None:
    """Show a transaction's record, bin by bin, as it is kept. TXID: 64 hex digits, as block explorers show it. For its
    meaning: `utxod show`.

    The exit code is 0 where there is one, 3 where the set has no such transaction, 4 where no daemon could be asked, 1
    where anything else went wrong.
    """
    from .rendering import record_as_json, record_table, render

    record = record_as_json(ask(connect, timeout, as_json, lambda client: client.get(txid)))
    if as_json:
        click.echo(json.dumps(record))
    else:
        render(record_table(record))


@click.command(short_help="Show an output: its value, and whether it can be spent.")
@options.output
@options.height
@options.connect
@options.as_json
@options.timeout
def coin(output: tuple[bytes, int], height: int | None, connect: str, as_json: bool, timeout: float) -> None:
    """Show an output of a transaction: its value, whom it pays, and whether it can be spent, or why not; who has spent
    it. TXID: 64 hex digits, as block explorers show it; VOUT: the number of the output, from 0.

    What is shown is the output as it is now, after a reassignment too, and checked against its utxo hash. Addresses are
    written as on the main chain.

    \b
    --json gives these keys, always all of them:
      txid, vout
      satoshis, coins       the value: a number, and text with 8 decimals
      script                hexadecimal
      script_type           P2PKH, P2PK, P2SH, multisig, data or non-standard
      address               of P2PKH and P2SH, else null
      utxo_hash             hexadecimal
      state                 UNSPENT, SPENT, FROZEN, CREATING, CONFLICTING, LOCKED,
                            IMMATURE or FROZEN_UNTIL: the first that holds
      spendable_from        the height, of IMMATURE and FROZEN_UNTIL, else null
      spender               of SPENT, else null: txid, vin, in_the_set, and of
                            its record block_heights, unmined_since
      is_coinbase, block_heights, unmined_since      of its transaction

    The exit code is 0 where there is such an output, 3 where the set has no such transaction, or that has no such
    output, or the output is no UTXO, 4 where no daemon could be asked, 1 where anything else went wrong.
    """
    from .coin import look_at_coin
    from .rendering import lines_table, render

    found = ask(connect, timeout, as_json, lambda client: look_at_coin(client, *output, height))
    if as_json:
        click.echo(json.dumps(found.as_json()))
    else:
        render(lines_table(found.as_text()))


@click.command(short_help="Show what a transaction is, and what is odd about it.")
@options.txid
@click.option(
    "--outputs",
    type=click.IntRange(0, _MOST_OUTPUTS),
    default=1_000,
    show_default=True,
    help="Look at so many outputs at most, from the first on.",
)
@options.height
@options.connect
@options.as_json
@options.timeout
def show(txid: bytes, outputs: int, height: int | None, connect: str, as_json: bool, timeout: float) -> None:
    """Show a transaction as its record tells it: what it is, its blocks, how many of its outputs are in which state,
    its marks and its child records, and what is odd about it. TXID: 64 hex digits, as block explorers show it.

    Odd is what does not fit together, such as counters that a recount does not give, and what somebody should know of,
    such as a lock. A transaction that changes while it is looked at may seem odd: look twice.

    \b
    --json gives these keys, always all of them; null where there is none:
      txid, is_coinbase, is_partial, size, fee, created_at
      outputs, looked_at    how many there are, and were looked at
      states                by name, as `utxod coin` has them, and NO_UTXO and
                            UNREADABLE: count, first (vout, and of a UTXO
                            satoshis, spending_txid, spending_vin,
                            spendable_from)
      blocks                id, height, subtree of each
      unmined_since, on_longest_chain
      spendable_from        the height, of a coinbase
      creating, conflicting, locked, preserve_until, delete_at_height
      external              the raw transaction is in a file
      child_records, child_records_spent
      conflicting_children, conflicting_children_more, pruned_spenders
      reassignments         vout, satoshis, script, block_height of each
      odd                   a list, in words

    The exit code is 0 where there is such a transaction, odd or not, 3 where the set has none, 4 where no daemon could
    be asked, 1 where anything else went wrong.
    """
    from .rendering import count_progress, lines_table, render
    from .show import look_at_transaction

    def look(client: "Client") -> "Shown":
        return look_at_transaction(client, txid, outputs, height, lambda count: count_progress("outputs", count))

    shown = ask(connect, timeout, as_json, look)
    if as_json:
        click.echo(json.dumps(shown.as_json()))
    else:
        render(lines_table(shown.as_text(), shown.odd))


@click.command(short_help="Say what became of a request.")
@click.argument("request_id", metavar="REQUEST-ID", callback=lambda context, parameter, text: _request_id(text))
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="UTXOD_CONFIG",
    help="The daemon's settings, a TOML file: `state` says where its receipts are. Also: UTXOD_CONFIG.",
)
@click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path), help="The daemon's `state` itself. Also: UTXOD_STATE."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of text for people.")
def explain(request_id: tuple[bytes, int | None], config: Path | None, state: Path | None, as_json: bool) -> None:
    """Say what became of a request: when it came, how long it waited, which dispatch and which worker had it, how long
    the store took, what was answered, and what came late; and whether it was executed, and what to do next.
    REQUEST-ID: as an error of the client tells it, 32 hex digits, and behind / the index of the item.

    It is read from the daemon's receipts (setting receipts_bytes), on the daemon's host, by a user who may read them;
    the daemon need not run. What they don't tell is not known: a worker that was killed may have come to the item or
    not. An id is its submitter's choice: of several requests that bear it all are shown.

    \b
    --json gives these keys, always all of them; null where there is none:
      request_id, item      as asked for
      executed              yes, no or unknown; mixed where items differ
      reason, next          in words
      requests              that bear the id, by when they came: daemon_pid,
                            epoch, operation, items, came; dispatches (number,
                            operation, pool, worker_pid, of_item, waited_us,
                            handed, done, store_us, lost, lost_because);
                            answered, late (time, by, code, executed,
                            message); executed, reason, items_executed,
                            singled_out (item, executed, reason of each that
                            differs, or may)
      receipts              since, until, gaps: what they reach over

    The exit code is 0 where something is known of it, 3 where nothing is, 1 where the receipts can't be read.
    """
    from .explain import explain as look_up
    from .rendering import byte_progress, lines_table, render

    try:
        explained = look_up(state or _state(config), *request_id, byte_progress)
    except OSError as error:
        give_up(f"{error.filename or 'receipts'}: {error.strerror}", as_json, WRONG)
    if as_json:
        click.echo(json.dumps(explained.as_json()))
    else:
        for place, lines in enumerate(explained.as_text()):
            render(*[""] * (place > 0), lines_table(lines))
    raise SystemExit(0 if explained.is_found else NOT_FOUND)


def _request_id(text: str) -> tuple[bytes, int | None]:
    """The id, and the item's index where it is told."""
    digits, slash, item = text.strip().partition("/")
    try:
        request_id = bytes.fromhex(digits)
    except ValueError:
        request_id = b""
    is_item = item.isascii() and item.isdecimal() and len(item) <= 10
    if len(request_id) != 16 or len(digits) != 32 or bool(slash) != is_item:
        raise click.BadParameter(
            "a request's id is 32 hexadecimal digits, and may be followed by / and an item's index"
        )
    return request_id, int(item) if slash else None


def _state(config: Path | None) -> Path:
    from broker.daemon_settings import Settings

    from .settings import SettingsError, load_settings

    try:
        return Path(load_settings(Settings, config, os.environ, {}, lambda line: click.echo(line, err=True)).state)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
