"""python -m bench NAME [--json], each measurement with options of its own."""

from collections.abc import Callable
from typing import Any, Final

import click

from store import StoreError
from store.opening import parse_url
from tests.chaos.run import chaos
from tests.chaos.standstill import NAMES, surroundings
from tests.rivals.run import rivals
from tests.simulation.command import simulate
from utxod.exits import run
from utxod.options import FiniteRange
from utxod.own_daemon import DaemonError

from .crash import crash
from .incident import incident
from .latency import latency
from .ledger import ledger
from .overload import overload
from .report import Report
from .rules import rules
from .throughput import throughput
from .throughput_aerospike import throughput_aerospike

_JSON: Final = click.Option(["--json", "as_json"], is_flag=True, help="One JSON object, on the last line.")
_SECONDS: Final = FiniteRange(0.01, 3600)
_MINUTES: Final = FiniteRange(0.01, 7 * 24 * 60)


def _option(name: str, type: click.FloatRange | click.IntRange, default: float, help: str) -> click.Option:
    return click.Option([f"--{name}"], type=type, default=default, show_default=True, help=help)


def _count(name: str, default: int, help: str) -> click.Option:
    return _option(name, click.IntRange(min=1), default, help)


def _rounds(default: int) -> click.Option:
    return _count("rounds", default, "Of which the median counts.")


def _seconds(default: float) -> click.Option:
    return _option("seconds", _SECONDS, default, "Of each round.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Measure a daemon of its own on this machine.

    Checks on the way that what the daemon promises holds: the exit code is 1 where it does not, and 0 where only a goal
    of speed fell short.
    """


def command(name: str, measure: Callable[..., Report], help: str, *options: click.Option) -> click.Command:
    """measure: called with the options by their names."""

    def callback(as_json: bool, **given: Any) -> None:
        try:
            report = measure(**given)
        except (DaemonError, StoreError) as error:
            raise click.ClickException(str(error)) from None
        report.print(as_json)
        raise SystemExit(0 if report.ok else 1)

    return click.Command(name, callback=callback, params=[*options, _JSON], help=help)


def _store(help: str, *, required: bool = False) -> click.Option:
    def check(ctx: click.Context, param: click.Parameter, url: str | None) -> str | None:
        try:
            if url is not None:
                parse_url(url)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        return url

    return click.Option(["--store"], required=required, callback=check, help=help)


for _one in (
    command(
        "throughput",
        lambda store, **given: throughput_aerospike(store, **given) if store else throughput(**given),
        "Items per second.",
        _store("An aerospike:// URL: measures that, beside calling its client directly."),
        _rounds(5),
        _seconds(1.5),
    ),
    command(
        "rules",
        rules,
        "What each rule costs an Aerospike server on this machine.",
        _store("An aerospike:// URL of a set of the measurement's own.", required=True),
        click.Option(
            ["--beside"],
            type=click.Path(exists=True, dir_okay=False),
            help="The Lua module of another implementation of these rules, measured in the same rounds.",
        ),
        _count("calls", 10_000, "Of each rule, in each round."),
        click.Option(["--server"], type=int, default=0, help="The server's process id; 0 finds it by its port."),
        _rounds(3),
    ),
    command("latency", latency, "How long one who asks one item at a time waits.", _rounds(5), _seconds(1.5)),
    command(
        "incident",
        incident,
        "Callers on a store that wedges: all are answered in time, and nothing of it is left.",
        _count("waiters", 13_693, "Concurrent calls."),
    ),
    command(
        "overload",
        overload,
        "Three times what the daemon can carry, and one that floods.",
        _rounds(3),
        _seconds(3.0),
    ),
    command(
        "crash",
        crash,
        "From the end of a worker to the answers of its items.",
        _count("kills", 100, "SIGKILLs."),
        _count("stops", 10, "SIGSTOPs."),
    ),
    command(
        "chaos",
        chaos,
        "Everything is broken, again and again; then all answers are held against the store.",
        _option("minutes", _MINUTES, 10.0, "For which things are broken."),
        click.Option(["--seed"], type=int, help="Of what is broken when; a new one if not given."),
        click.Option(["--one-by-one"], is_flag=True, help="A store that writes record by record."),
        _store("An aerospike:// URL of an empty set, in place of an embedded one."),
        click.Option(
            ["--server"],
            multiple=True,
            help="A command that starts one of the store's servers in the foreground, in a directory of its own; paths"
            " in it are absolute. Then they are broken too: of several that keep two copies, one at a time is killed;"
            " a single one, which must keep its records on disk, is ended.",
        ),
    ),
    command(
        "surroundings",
        surroundings,
        "How long the loop stands still, at the longest, while descriptors, processes, files or peers fail it.",
        _rounds(3),
        _option("seconds", _SECONDS, 3.0, "For which each is imposed."),
        click.Option(["--only"], multiple=True, type=click.Choice(NAMES), help="These alone."),
    ),
    command(
        "rivals",
        rivals,
        "Transactions and their rivals through two daemons on one set; then all answers are held against it.",
        _option("minutes", _MINUTES, 10.0, "For which new games are begun."),
        click.Option(["--seed"], type=int, help="Of the games; a new one if not given."),
        _store("An aerospike:// URL of an empty set, in place of an embedded one."),
        _option("kills", FiniteRange(0, 6000), 10.0, "SIGKILLs of workers, a minute; 0: none."),
    ),
    command(
        "ledger",
        ledger,
        "What each of a million pending items costs the broker.",
        _option("items", click.IntRange(min=5_000), 1_000_000, "Pending at once."),
        _rounds(3),
    ),
    command(
        "simulate",
        simulate,
        "The broker in a simulated world, where everything fails: no promise breaks, every planted bug is found.",
        _count("seeds", 2_000, "Runs."),
        _option("first-seed", click.IntRange(min=0), 0, "Of the runs."),
        _option("processes", click.IntRange(min=0), 0, "Side by side; 0: as many as CPUs."),
        click.Option(["--seed"], type=int, help="This run alone."),
        click.Option(["--trace"], is_flag=True, help="Print its events."),
        click.Option(["--records"], is_flag=True, help="Of daemons on one set that is changed record by record."),
        click.Option(
            ["--interleavings"], is_flag=True, help="No runs: every interleaving of a few callers. Some minutes."
        ),
    ),
):
    bench.add_command(_one)


if __name__ == "__main__":
    run(bench, "python -m bench")
