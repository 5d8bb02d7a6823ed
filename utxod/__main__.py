"""`utxod`: the daemon, and what a person does with one, at the command line."""

import sys

from utxod import house


def main() -> None:
    """The entry point. The house is checked before anything else of it is imported."""
    try:
        house.check()
    except house.ForeignModule as error:
        sys.exit(f"utxod: {error}")
    # ruff: noqa: PLC0415 (not before the check)
    try:
        from utxod.commands import cli
        from utxod.exits import run
    except KeyboardInterrupt:
        sys.exit(130)
    run(cli, "utxod")


if __name__ == "__main__":
    main()
