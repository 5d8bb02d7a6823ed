"""python -m tests.rivals [--minutes N | --accepts N] [--json]"""

import click

from bench.command_line import command, option, store_url
from bench.report import Report
from tests.rivals.accepts import accepts as run_accepts
from tests.rivals.run import rivals
from tests.support.command_options import MINUTES, seed
from utxod.exits import run
from utxod.options import FiniteRange


def _run(minutes: float, accepts: int | None, seed: int | None, store: str | None, kills: float) -> Report:
    return rivals(minutes, seed, store, kills) if accepts is None else run_accepts(accepts, seed, store, kills)


COMMAND = command(
    "rivals",
    _run,
    "Transactions and their rivals through two daemons on one set; then all answers are held against it.",
    option("minutes", MINUTES, 10.0, "For which new scenarios are begun."),
    click.Option(["--accepts"], type=click.IntRange(1), help="So many accepts of 16 callers, in place of scenarios."),
    seed("Of the scenarios; a new one if not given."),
    store_url("An aerospike:// URL of an empty set, in place of an embedded one."),
    option("kills", FiniteRange(0, 6000), 10.0, "SIGKILLs of workers, a minute; 0: none."),
)

if __name__ == "__main__":
    run(COMMAND, "python -m tests.rivals")
