"""`utxod`: the daemon, and what a person does with one, at the command line."""

import sys

from utxod import house


def main() -> None:
    """The entry point. The house is checked before anything else of it is imported."""
    try:
        house.check()
    except house.ForeignModule as error:
        sys.exit(f"utxod: {error}")
    from utxod.commands import cli  # noqa: PLC0415 (not before the check)

    cli(prog_name="utxod")


if __name__ == "__main__":
    main()
