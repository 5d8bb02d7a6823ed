"""`utxod`: the daemon, and what a person does with one, at the command line."""

import sys

from . import process_setup


def main() -> None:
    """The entry point. What is inherited is put in order first; then it is checked whose packages would be imported,
    before anything else of ours is."""
    daemon = process_setup.is_daemon(sys.argv[1:])
    process_setup.put_in_order(daemon)
    # ruff: noqa: PLC0415 (not before that)
    from . import import_guard

    try:
        import_guard.check()
    except import_guard.ForeignModule as error:
        sys.exit(f"utxod: {error}")
    if daemon:
        from workers.nonblocking_stderr import replace_stderr

        replace_stderr()
    try:
        from .commands import cli
        from .exits import run
    except KeyboardInterrupt:
        sys.exit(130)
    run(cli, "utxod")


if __name__ == "__main__":
    main()
