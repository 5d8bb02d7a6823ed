"""`utxod top`: its arguments, its help, and one frame where there is no terminal."""

# ruff: noqa: PLC0415

import contextlib
import sys
import time

import click

from utxod.exits import INTERRUPTED
from utxod.options import FiniteRange, connect, timeout


@click.command(short_help="Watch a running daemon.")
@connect
@click.option(
    "--interval",
    type=FiniteRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two frames.",
)
@timeout
def top(connect: str, interval: float, timeout: float) -> None:
    """Watch a running daemon: what is wrong with it, how many workers are busy, what waits and since when, how long the
    work takes, what is answered, and what is in doubt. `q` or Ctrl-C ends it. Into a file or a pipe it writes one
    frame, of what happens within --interval.

    A daemon that goes away is asked on, and so is the next one at its address. The exit code is 0 where it was ended
    by a key or Ctrl-C, 4 where no daemon could be asked at first.
    """
    from utxod.inquiry import ask
    from utxod.interruption import run_to_an_end
    from utxod.live import need_figures
    from utxod.rendering import console, render
    from utxod.screen import Screen

    from .frame import frame
    from .history import History
    from .watch import Watch

    first = ask(connect, timeout, False, lambda client: client.status())
    need_figures(first, as_json=False)
    to = console()
    if to.is_terminal and not to.is_dumb_terminal and sys.stdin.isatty():
        try:
            with contextlib.closing(Screen(sys.stdout)) as screen:
                run_to_an_end(Watch(screen, first, interval, timeout).run(connect))
        except SystemExit as end:
            raise SystemExit(0 if end.code == INTERRUPTED else end.code) from None
        return
    history = History(first)
    time.sleep(interval)
    history.add(ask(connect, timeout, False, lambda client: client.status()))
    render(frame(history, None, time.strftime("%H:%M:%S"), to.width, None))
