"""python -m tests.standstill [--rounds N] [--json]"""

import click

from bench.command_line import SECONDS, command, option, rounds
from tests.standstill.run import NAMES, standstill
from utxod.exits import run

COMMAND = command(
    "standstill",
    standstill,
    "How long the loop stands still, at the longest, while descriptors, processes, files or peers fail it.",
    rounds(3),
    option("seconds", SECONDS, 3.0, "For which each is imposed."),
    click.Option(["--only"], multiple=True, type=click.Choice(NAMES), help="These alone."),
)

if __name__ == "__main__":
    run(COMMAND, "python -m tests.standstill")
