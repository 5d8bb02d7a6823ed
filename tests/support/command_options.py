"""Options of the commands under tests/: for how long, and with which seed."""

from typing import Final

import click

from utxod.options import FiniteRange

MINUTES: Final = FiniteRange(0.01, 7 * 24 * 60)


def seed(help: str) -> click.Option:
    """`--seed`, None unless it is given."""
    return click.Option(["--seed"], type=int, help=help)
