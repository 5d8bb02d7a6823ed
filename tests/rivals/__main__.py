"""python -m tests.rivals [--minutes N] [--json]"""

from bench.command_line import command, option, store_url
from tests.rivals.run import rivals
from tests.support.command_options import MINUTES, seed
from utxod.exits import run
from utxod.options import FiniteRange

COMMAND = command(
    "rivals",
    rivals,
    "Transactions and their rivals through two daemons on one set; then all answers are held against it.",
    option("minutes", MINUTES, 10.0, "For which new scenarios are begun."),
    seed("Of the scenarios; a new one if not given."),
    store_url("An aerospike:// URL of an empty set, in place of an embedded one."),
    option("kills", FiniteRange(0, 6000), 10.0, "SIGKILLs of workers, a minute; 0: none."),
)

if __name__ == "__main__":
    run(COMMAND, "python -m tests.rivals")
