"""python -m tests.simulation [--seeds N] [--records] [--json]"""

import click

from bench.command_line import command, count, option
from tests.simulation.command import simulate
from tests.support.command_options import seed
from utxod.exits import run

COMMAND = command(
    "simulation",
    simulate,
    "The broker in a simulated world, where everything fails: no promise breaks, every planted bug is found.",
    count("seeds", 2_000, "Runs."),
    option("first-seed", click.IntRange(min=0), 0, "Of the runs."),
    option("processes", click.IntRange(min=0), 0, "Side by side; 0: as many as CPUs."),
    seed("This run alone."),
    click.Option(["--trace"], is_flag=True, help="Print its events."),
    click.Option(["--records"], is_flag=True, help="Of daemons on one set that is changed record by record."),
)

if __name__ == "__main__":
    run(COMMAND, "python -m tests.simulation")
