"""python -m tests.conformance [--histories N] [--against lua|server] [--case CASE] [--mutants] [--json]"""

import click

from bench.command_line import command, count, option
from tests.conformance.command import conform
from utxod.exits import run
from utxod.options import FiniteRange

COMMAND = command(
    "conformance",
    conform,
    "The rules of the embedded store against the Lua module: every case, and random histories, in both.",
    option("seed", click.IntRange(min=0), 0, "Of the first history."),
    count("histories", 10_000, "Random sequences of calls."),
    option("minutes", FiniteRange(0, 7 * 24 * 60), 0, "For more of them."),
    click.Option(
        ["--against"],
        type=click.Choice(["lua", "server"]),
        default="lua",
        help="Lua in this process, or in the server that UTXOD_TEST_AEROSPIKE names, with fewer cases.",
    ),
    option("processes", click.IntRange(min=0), 0, "Side by side; 0: as many as CPUs."),
    click.Option(["--case"], help="This one alone: the first line of a difference."),
    click.Option(["--mutants"], is_flag=True, help="Change either implementation, one thing at a time: each is found."),
)

if __name__ == "__main__":
    run(COMMAND, "python -m tests.conformance")
