"""The commands, their arguments and their help. What they do stands in modules of their own, imported when needed."""

# ruff: noqa: PLC0415

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .administration import drain, log_level, reload, scale
from .exits import WRONG
from .inquiry import ask, give_up
from .lookup_commands import coin, explain, get, show
from .options import FiniteRange, as_json, connect, timeout, txid
from .plurals import many
from .top.command import top

if TYPE_CHECKING:
    from broker.daemon_settings import Settings

    from .replay import Plan, Summary

config_file = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="UTXOD_CONFIG",
    help="Settings, a TOML file. Also: UTXOD_CONFIG.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="utxod")
def cli() -> None:
    """UTXO operations of many processes, batched against one store, and every one answered exactly once, in time.

    Begin with `utxod demo`: it needs nothing, and shows what the daemon does. `utxod serve` is the daemon;
    `status`, `show`, `coin`, `get` and `replay --connect` ask one that runs; `scale`, `reload`, `log-level` and `drain`
    change or end it.
    """


@cli.command(short_help="Run the daemon.")
@config_file
@click.option(
    "--store",
    metavar="URL",
    help="lmdb:///DIRECTORY (embedded), aerospike://HOST:PORT/NAMESPACE, null: (for measuring).",
)
@click.option("--listen", metavar="ENDPOINT", multiple=True, help="ipc:///PATH or tcp://HOST:PORT; may be repeated.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes that read, and as many that write.")
@click.option("settings", "--set", metavar="KEY=VALUE", multiple=True, help="Any setting by its key; may be repeated.")
@click.option(
    "--show-settings",
    is_flag=True,
    help="Print every setting with its value, its meaning, and what it takes to change it, and end.",
)
def serve(
    config: Path | None,
    store: str | None,
    listen: tuple[str, ...],
    workers: int | None,
    settings: tuple[str, ...],
    show_settings: bool,
) -> None:
    """Run the daemon, in the foreground, until SIGTERM or Ctrl-C: what is queued then is finished or answered first.

    Settings come from the file, the environment and the flags; the later one wins. --show-settings lists them all with
    their keys. `workers.write` is set by `write` under [workers] in the file, by UTXOD_WORKERS_WRITE in the environment
    and by --set workers.write=4.

    `utxod scale`, `reload`, `drain` and `log-level` change one that runs. By signal: SIGTTIN and SIGTTOU add and remove
    a worker that writes; SIGHUP is `reload`, and `drain` where it says that the terminal has closed.
    """
    from .rendering import render, settings_table
    from .serving import read_settings, run_daemon
    from .settings import SettingsError

    flags = _flags(store, listen, workers, settings)
    if not show_settings:
        raise SystemExit(run_daemon(config, flags))
    try:
        render(settings_table(read_settings(config, flags, _warn)))
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


@cli.command(short_help="Is all well between the settings and the store, and with the daemon?")
@config_file
@click.option("--store", metavar="URL", help="lmdb:///DIRECTORY, aerospike://HOST:PORT/NAMESPACE?set=NAME, or null:.")
@click.option("--live", is_flag=True, help="Examine a daemon that runs, in place of settings and store.")
@connect
@click.option(
    "--for",
    "seconds",
    metavar="SECONDS",
    type=FiniteRange(0.1, 600),
    default=3.0,
    show_default=True,
    help="With --live: how long the daemon is watched.",
)
@timeout
@click.option("--json", "as_json", is_flag=True, help="A JSON list in place of text: each {what, found, remedy}.")
def doctor(
    config: Path | None,
    store: str | None,
    live: bool,
    connect: str,
    seconds: float,
    timeout: float,
    as_json: bool,
) -> None:
    """Is all well between the settings and the store? Checks the settings, opens the store, looks at what it needs to
    be, makes a round trip with a record of its own, and looks whether the list of what is in doubt can be written. A
    set that is not there is not made.

    With --live: is all well with a daemon that runs? Asks it twice, and says by what happened in between what is wrong,
    why, and what to do: a store that does not answer, a queue that grows, small batches, workers that die, a slow
    store, few descriptors, lines of the log that nobody took, and more. Each has the name of its alert.

    Says of each thing that is wrong what to do. The exit code is 0 where all is well, 4 where --live finds no daemon,
    1 else.
    """
    if live:
        from .live import examine_live

        examine_live(connect, timeout, seconds, as_json)
    from .doctor import Finding, examine
    from .rendering import findings_table, render

    try:
        settings = _settings(config, {} if store is None else {"store": (store, "--store")})
        findings = list(examine(settings.store, Path(settings.state)))
    except click.ClickException as error:
        findings = [Finding("settings", error.message, "correct them")]
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings]))
    else:
        render(findings_table(findings))
    raise SystemExit(0 if all(finding.is_well for finding in findings) else 1)


@cli.command(short_help="Find, and remove, what is left of a transaction's earlier life.")
@txid
@config_file
@click.option("--store", metavar="URL", help="lmdb:///DIRECTORY or aerospike://HOST:PORT/NAMESPACE?set=NAME.")
@click.option("--remove", is_flag=True, help="Remove them. Without it they are only named.")
def leftovers(txid: bytes, config: Path | None, store: str | None, remove: bool) -> None:
    """Find the child records of a transaction that have no master: what is left of an earlier life of it. TXID: 64 hex
    digits, as block explorers show it.

    The creation of such a transaction is refused as LEFTOVER: nobody knows any more what was spent of it. Make sure
    that it may begin anew, then remove them with --remove. What belongs to a transaction that is in the set is never
    touched.
    """
    from store import StoreError, open_store

    from .leftovers import LeftoversError, find_leftovers, most_children, remove_leftovers
    from .rendering import count_progress

    settings = _settings(config, {} if store is None else {"store": (store, "--store")})
    try:
        with contextlib.closing(open_store(settings.store, create=False)) as opened:
            with count_progress("looking", most_children(opened)) as progress:
                keys = find_leftovers(opened, txid, progress)
            for key in keys:
                click.echo(key.hex())
            if remove and keys:
                click.echo(f"{remove_leftovers(opened, txid, keys)} of {many(len(keys), 'record')} removed")
    except (StoreError, LeftoversError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if not keys:
        click.echo("none: nothing is left of an earlier life of this transaction")
    elif not remove:
        click.echo(f"{many(len(keys), 'record')}; --remove removes what is listed")


@cli.command(short_help="Convert an embedded set of an older version.")
@config_file
@click.option("--store", metavar="URL", help="lmdb:///DIRECTORY.")
@click.option("--keep-damaged", is_flag=True, help="Leave a damaged record as it is, and as damaged, and go on.")
def convert(config: Path | None, store: str | None, keep_damaged: bool) -> None:
    """Convert an embedded set that an older version of this program made, so that this version serves it.

    End the daemon of the set first; until the conversion has ended, none serves the set. It can be interrupted at any
    point, by whatever it may be: asked again, it goes on from there. Records are converted where they are: copy the
    set's directory first if the older version may be wanted back.

    The exit code is 0 where the set has this version's layout now, whether it had it before or not.
    """
    from store import StoreError

    from .convert import convert_set

    settings = _settings(config, {} if store is None else {"store": (store, "--store")})
    try:
        convert_set(settings.store, keep_damaged)
    except (StoreError, ValueError) as error:
        raise click.ClickException(str(error)) from None


@cli.command(short_help="See it work, in a few seconds.")
@click.option("--transactions", type=click.IntRange(min=100), default=20_000, show_default=True, help="Payments.")
@click.option("--seed", default=1, show_default=True, help="Other transactions with another seed.")
@click.option(
    "--store", metavar="URL", help="A set to show it on, which keeps the records; a temporary one by default."
)
def demo(transactions: int, seed: int, store: str | None) -> None:
    """See it work: the first payment in history, a double spend, a worker killed in the middle of the work.

    Starts a daemon of its own on a temporary store, and leaves nothing behind; with --store, the records stay in the
    set that it names, and showing it there again holds as well. The exit code is 0 where everything held that this
    command shows.
    """
    from .demo import run_demo

    raise SystemExit(run_demo(transactions, seed, store))


@cli.command(short_help="Feed the transactions of block files to a daemon.")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--connect",
    metavar="ENDPOINT",
    envvar="UTXOD_CONNECT",
    help="The daemon to feed. Without it, one is started for as long as it takes.",
)
@click.option("--store", metavar="URL", help="The store of the daemon that is started; a temporary one by default.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Of the daemon that is started."
)
@click.option(
    "--seed-missing", is_flag=True, help="First create the parents that are not in the files (made up outputs)."
)
@click.option(
    "--height",
    type=click.IntRange(min=0, max=(1 << 32) - 1),
    help="Of the first block, where its coinbase does not say; by default as those upon it say, or else 0.",
)
@click.option(
    "--window", type=click.IntRange(min=1), default=256, show_default=True, help="Transactions under way at once."
)
@as_json
def replay(
    files: tuple[Path, ...],
    connect: str | None,
    store: str | None,
    workers: int,
    seed_missing: bool,
    height: int | None,
    window: int,
    as_json: bool,
) -> None:
    """Feed the transactions of block FILES to a daemon, as a node would.

    FILES are raw blocks, one each, or a node's own blk*.dat (also obfuscated, with xor.dat beside them); blocks may lie
    in any order. The chain with the most work is fed; other branches are counted. A block whose transactions don't give
    its merkle root, or whose coinbase states another height than follows from its parent's, is refused, with what
    stands on it; so is what does not connect, unless its heights show that it can be of the same chain. Proof of work
    is checked; scripts, signatures and fees are not.

    Each transaction is accepted, with all its spends or not at all, and never before its parents. The coinbase of the
    first block of all is left out: no node has it in its set. Doing it a second time changes nothing.

    A daemon that is started here takes the largest transaction of the files; of a transaction that is too large for
    another daemon it is said which settings would do.

    The exit code is 0 where all of it is in the set now, whether it was before or not; where it is 1, what is not is
    named, on stderr (with --json: in not_in). It is 4 where no daemon answers at --connect.
    """
    from .block_files import BlockFileError
    from .own_daemon import DaemonError
    from .rendering import byte_progress, render, summary_table
    from .replay import plan

    if connect is not None and store:
        raise click.UsageError("--store is for a daemon that is started here; with --connect there is one already")
    if connect is not None:
        ask(connect, 4.0, as_json, lambda client: client.status())  # before anything is read
    try:
        planned = plan(files, height, seed_missing, lambda size: byte_progress("checking", size))
        summary, ended_by = _replay(planned, connect, store, workers, window)
    except (BlockFileError, DaemonError) as error:
        give_up(str(error), as_json, WRONG)
    if as_json:
        click.echo(json.dumps(summary.as_map()))
    else:
        render(summary_table(summary.as_map()))
        if not summary.all_went_in:
            click.echo("\n  ".join(["Error: not all went in:", *summary.not_in()]), err=True)
    raise SystemExit(0 if summary.all_went_in else 128 + ended_by if ended_by else WRONG)


@cli.command(short_help="Show what a daemon is doing.")
@connect
@as_json
@timeout
def status(connect: str, as_json: bool, timeout: float) -> None:
    """Show what a daemon is doing: its pools and workers, what is queued and under way, what it has counted. --json has
    the figures and the settings, too.

    The exit code is 0 where it answered, 4 where no daemon could be asked, 1 where anything else went wrong.
    """
    from .rendering import render, report_as_json, status_tables

    report = ask(connect, timeout, as_json, lambda client: client.status())
    if as_json:
        click.echo(json.dumps(report_as_json(report)))
    else:
        render(*status_tables(report))


for command in (coin, explain, get, show, top, scale, reload, drain, log_level):
    cli.add_command(command)


def _flags(
    store: str | None, listen: tuple[str, ...], workers: int | None, settings: tuple[str, ...]
) -> dict[str, tuple[Any, str]]:
    """What the flags of `serve` set: key -> value, and the flag's name. settings: KEY=VALUE each."""
    flags: dict[str, tuple[Any, str]] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--set {text}: wanted KEY=VALUE")
        flags[key] = value, "--set"
    if store is not None:
        flags["store"] = store, "--store"
    if listen:
        flags["listen"] = list(listen), "--listen"
    if workers is not None:
        flags["workers.read"] = flags["workers.write"] = workers, "--workers"
    return flags


def _settings(config: Path | None, flags: Mapping[str, tuple[Any, str]]) -> "Settings":
    """From file, environment and flags. What is wrong, or strange, is for a person to read."""
    from broker.daemon_settings import Settings

    from .settings import SettingsError, load_settings

    try:
        return load_settings(Settings, config, os.environ, flags, _warn)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def _warn(line: str) -> None:
    click.echo(f"Warning: {line}", err=True)


def _replay(
    planned: "Plan", connect: str | None, store: str | None, workers: int, window: int
) -> "tuple[Summary, int]":
    """And the number of the signal that asked to end it early, 0 where none did."""
    from protocol import AsyncClient

    from .interruption import run_to_an_end
    from .needs import setting
    from .own_daemon import EMBEDDED, own_daemon
    from .rendering import byte_progress
    from .replay import replay

    arguments = ["--workers", str(workers), "--set", setting(planned.needed)]
    with contextlib.ExitStack() as stack:
        endpoint = connect or stack.enter_context(own_daemon(store or EMBEDDED, arguments)).endpoint
        progress = stack.enter_context(byte_progress("replaying", planned.size))

        async def feed() -> "Summary":
            async with AsyncClient(endpoint) as client:
                return await replay(client, planned, window=window, progress=progress)

        return run_to_an_end(feed())
