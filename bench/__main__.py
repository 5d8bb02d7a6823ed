"""python -m bench NAME [--json], each measurement with options of its own."""

from typing import Final

import click

from utxod.exits import run
from utxod.options import FiniteRange

from .accept import accept
from .command_line import HELP_OPTIONS, SECONDS, command, count, option, rounds, store_url
from .crash import crash
from .figures import figures
from .incident import incident
from .latency import latency
from .ledger import ledger
from .overload import overload
from .peers.measurement import peers
from .receipts import receipts
from .report import Report
from .rules import rules
from .steady import steady
from .sweeps.everything import everything
from .throughput import throughput
from .throughput_aerospike import throughput_aerospike
from .turns import in_turns


def _seconds(default: float) -> click.Option:
    return option("seconds", SECONDS, default, "Of each round.")


def _throughput(store: str | None, against: str | None, rounds: int, seconds: float) -> Report:
    if against:
        named = ["--store", store] if store else []
        return in_turns("throughput", against, rounds, ["--seconds", str(seconds), *named])
    return throughput_aerospike(store, rounds, seconds) if store else throughput(rounds, seconds)


def _latency(against: str | None, rounds: int, seconds: float) -> Report:
    return in_turns("latency", against, rounds, ["--seconds", str(seconds)]) if against else latency(rounds, seconds)


_AGAINST: Final = click.Option(
    ["--against"],
    metavar="REV",
    help="Measures another revision as well, in turns: a commit, or the directory of a checkout that is set up.",
)
_COMMANDS: Final = (
    command(
        "throughput",
        _throughput,
        "Items per second, beside what LMDB, a relay of messages and a pool of processes do.",
        store_url("An aerospike:// URL: measures that, beside calling its client directly."),
        _AGAINST,
        rounds(5),
        _seconds(1.5),
    ),
    command(
        "accept",
        accept,
        "Transactions of two inputs and two outputs, accepted; beside the same by separate calls, in turns.",
        store_url("An aerospike:// URL of a set of the measurement's own, in place of an embedded one."),
        count("transactions", 5_000, "Of each way, in each round."),
        rounds(5),
    ),
    command(
        "rules",
        rules,
        "What each rule costs an Aerospike server on this machine.",
        store_url("An aerospike:// URL of a set of the measurement's own.", required=True),
        click.Option(
            ["--beside"],
            type=click.Path(exists=True, dir_okay=False),
            help="The Lua module of another implementation of these rules, measured in the same rounds.",
        ),
        count("calls", 10_000, "Of each rule, in each round."),
        click.Option(["--server"], type=int, default=0, help="The server's process id; 0 finds it by its port."),
        rounds(3),
    ),
    command(
        "latency",
        _latency,
        "How long one who asks one item at a time waits, beside a relay of messages.",
        _AGAINST,
        rounds(5),
        _seconds(1.5),
    ),
    command(
        "figures",
        figures,
        "What it costs that somebody watches: a daemon that is asked for its report, and one that is not, in turns.",
        rounds(10),
        _seconds(1.5),
    ),
    command(
        "receipts",
        receipts,
        "What receipts cost: a daemon that keeps them, and one that does not, in turns.",
        rounds(10),
        _seconds(1.5),
    ),
    command(
        "all",
        everything,
        "Load, workers, size of the set and callers in steps; with --plot as pictures (extra `plot`).",
        click.Option(["--plot"], type=click.Path(file_okay=False), help="The directory for the pictures."),
        _seconds(1.0),
        count(
            "records",
            300_000,
            "That the set grows to; ten million take long, and some 20 GB of the temporary directory.",
        ),
    ),
    command(
        "peers",
        peers,
        "The null store beside Celery, Dramatiq and multiprocessing.Pool, on the same work (extra `peers`).",
        rounds(3),
        _seconds(1.5),
    ),
    command(
        "steady",
        steady,
        "Half of the capacity, for long: how long callers wait, and whether memory grows.",
        option("minutes", FiniteRange(0.01, 24 * 60), 30, "At half of the capacity."),
    ),
    command(
        "incident",
        incident,
        "Callers on a store that wedges: all are answered in time, and nothing of it is left.",
        count("waiters", 13_693, "Concurrent calls."),
    ),
    command(
        "overload",
        overload,
        "Three times what the daemon can carry, and one that floods.",
        rounds(3),
        _seconds(3.0),
    ),
    command(
        "crash",
        crash,
        "From the end of a worker to the answers of its items.",
        count("kills", 100, "SIGKILLs."),
        count("stops", 10, "SIGSTOPs."),
    ),
    command(
        "ledger",
        ledger,
        "What each of a million pending items costs the broker.",
        option("items", click.IntRange(min=5_000), 1_000_000, "Pending at once."),
        rounds(3),
    ),
)


@click.group(commands=_COMMANDS, context_settings=HELP_OPTIONS)
def bench() -> None:
    """Measure a daemon of its own on this machine.

    Checks on the way that what the daemon promises holds: the exit code is 1 where it does not, and 0 where only a goal
    of speed fell short.
    """


if __name__ == "__main__":
    run(bench, "python -m bench")
