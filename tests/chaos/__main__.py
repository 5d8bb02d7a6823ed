"""python -m tests.chaos [--minutes N] [--json]"""

import click

from bench.command_line import command, option, store_url
from tests.chaos.run import chaos
from tests.support.command_options import MINUTES, seed
from utxod.exits import run

COMMAND = command(
    "chaos",
    chaos,
    "Everything is broken, again and again; then all answers are held against the store.",
    option("minutes", MINUTES, 10.0, "For which things are broken."),
    seed("Of what is broken when; a new one if not given."),
    click.Option(["--one-by-one"], is_flag=True, help="A store that writes record by record."),
    store_url("An aerospike:// URL of an empty set, in place of an embedded one."),
    click.Option(
        ["--server"],
        multiple=True,
        help="A command that starts one of the store's servers in the foreground, in a directory of its own; paths"
        " in it are absolute. Then they are broken too: of several that keep two copies, one at a time is killed;"
        " a single one, which must keep its records on disk, is ended.",
    ),
)

if __name__ == "__main__":
    run(COMMAND, "python -m tests.chaos")
