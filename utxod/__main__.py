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
        import click

        from utxod.commands import cli
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        sys.exit(cli(prog_name="utxod", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)  # Ctrl-C, as shells report it


if __name__ == "__main__":
    main()
