"""The commands that look at one transaction of a running daemon's set, or at one of its outputs: get, coin, show."""

# ruff: noqa: PLC0415

import json
from typing import TYPE_CHECKING, Final

import click

from . import options
from .inquiry import ask

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
