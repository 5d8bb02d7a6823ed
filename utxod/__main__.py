"""`utxod`: the daemon, and what a person does with one, at the command line."""

import sys

from utxod import beginning


def main() -> None:
    """The entry point. What is inherited is put in order first; the house is checked before anything else of it is
    imported."""
    daemon = beginning.is_daemon(sys.argv[1:])
    beginning.put_in_order(daemon)
    # ruff: noqa: PLC0415 (not before that)
    from utxod import house

    try:
        house.check()
    except house.ForeignModule as error:
        sys.exit(f"utxod: {error}")
    if daemon:
        from workers.outlet import replace_stderr

        replace_stderr()
    try:
        from utxod.commands import cli
        from utxod.exits import run
    except KeyboardInterrupt:
        sys.exit(130)
    run(cli, "utxod")


if __name__ == "__main__":
    main()
