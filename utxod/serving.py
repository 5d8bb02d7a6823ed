"""`utxod serve`: the settings are read, and again where the daemon asks for them. What is wrong with them at the start
is said as by any command; all that comes after is an event of the log."""

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

import supervisor
from broker.daemon_settings import Settings, SettingsFault
from protocol.endpoint import default_endpoint
from store.opening import parse_url
from workers import log_lines

from . import __version__
from .endpoint_checks import prepare
from .exits import WRONG, explained
from .settings import SettingsError, load_settings

log = logging.getLogger("utxod")

Flags = Mapping[str, tuple[Any, str]]


def read_settings(config: Path | None, flags: Flags, warn: Callable[[str], object]) -> Settings:
    """From file, environment and flags, with an address to listen at. Raises SettingsError."""
    settings = load_settings(Settings, config, os.environ, flags, warn)
    return settings if settings.listen else dataclasses.replace(settings, listen=(default_endpoint(),))


def run_daemon(config: Path | None, flags: Flags) -> int:
    """Until it has ended. Returns its exit status. Raises ClickException where the settings are wrong."""
    strange: list[str] = []
    try:
        settings = read_settings(config, flags, strange.append)
        parse_url(settings.store)  # said once, here, and not by each of the workers
        for endpoint in settings.listen:
            prepare(endpoint)
    except (SettingsError, ValueError) as error:
        raise click.ClickException(str(error)) from None

    def read_again() -> Settings:
        try:
            return read_settings(config, flags, log.warning)
        except SettingsError as error:
            raise SettingsFault("; ".join(str(error).splitlines())) from None

    log_lines.set_up(settings.log.level, settings.log.format)
    for line in strange:
        log.warning(line)
    try:
        return supervisor.serve(settings, __version__, read_again)
    except supervisor.StartError as error:
        log.critical("%s", error)
    except Exception as error:
        refused = explained(error)
        if refused is None:
            raise
        log.critical("%s", refused)
    return WRONG
