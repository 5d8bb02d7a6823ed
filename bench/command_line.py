"""What every command of a measurement has on its command line: `--json`, options with a range, and its exit code."""

from collections.abc import Callable
from typing import Any, Final

import click

from store import StoreError
from store.opening import parse_url
from utxod.options import FiniteRange
from utxod.own_daemon import DaemonError

from .report import MeasurementError, Report

HELP_OPTIONS: Final = {"help_option_names": ["-h", "--help"]}
SECONDS: Final = FiniteRange(0.01, 3600)


def command(name: str, measure: Callable[..., Report], help: str, *options: click.Option) -> click.Command:
    """A command that prints what `measure` reports. Its exit code is 1 where a promise broke, and 0 otherwise.

    measure: called with the options by their names.
    """

    def callback(as_json: bool, **given: Any) -> None:
        try:
            report = measure(**given)
        except (DaemonError, MeasurementError, StoreError) as error:
            raise click.ClickException(str(error)) from None
        report.print(as_json)
        raise SystemExit(0 if report.ok else 1)

    as_json = click.Option(["--json", "as_json"], is_flag=True, help="One JSON object, on the last line.")
    return click.Command(name, callback=callback, params=[*options, as_json], help=help, context_settings=HELP_OPTIONS)


def option(name: str, type: click.FloatRange | click.IntRange, default: float, help: str) -> click.Option:
    return click.Option([f"--{name}"], type=type, default=default, show_default=True, help=help)


def count(name: str, default: int, help: str) -> click.Option:
    return option(name, click.IntRange(min=1), default, help)


def rounds(default: int) -> click.Option:
    return count("rounds", default, "Of which the median counts.")


def store_url(help: str, *, required: bool = False) -> click.Option:
    """`--store`, whose value is a URL that a store can be opened by."""

    def check(ctx: click.Context, param: click.Parameter, url: str | None) -> str | None:
        try:
            if url is not None:
                parse_url(url)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        return url

    return click.Option(["--store"], required=required, callback=check, help=help)
