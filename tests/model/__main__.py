"""python -m tests.model [--runs N] [--steps N] [--store STORE] [--mutants] [--json]"""

import click

from bench.command_line import command, count
from tests.model.command import model
from tests.model.subject import EMBEDDED, RECORDS
from tests.support.command_options import seed
from utxod.exits import run

COMMAND = command(
    "model",
    model,
    "A node in plain Python beside a set: whatever is asked, and whatever breaks, they agree.",
    count("runs", 1_000, "Of the state machine."),
    count("steps", 100, "Of each run."),
    click.Option(
        ["--store"],
        default=EMBEDDED,
        show_default=True,
        help=f"{EMBEDDED}; {RECORDS}: the same, record by record; or an aerospike:// URL of an empty set.",
    ),
    seed("Of the runs; a new one if not given."),
    click.Option(["--mutants"], is_flag=True, help="Put back the faults that the rules have had, and find each."),
)

if __name__ == "__main__":
    run(COMMAND, "python -m tests.model")
