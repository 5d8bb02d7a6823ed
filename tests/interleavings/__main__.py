"""python -m tests.interleavings [--json]"""

from bench.command_line import command
from tests.interleavings.command import explore_all
from utxod.exits import run

COMMAND = command(
    "interleavings",
    explore_all,
    "Every interleaving of a few callers' steps: no promise breaks, every planted bug is found. Some minutes.",
)

if __name__ == "__main__":
    run(COMMAND, "python -m tests.interleavings")
