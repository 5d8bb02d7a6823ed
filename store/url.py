"""What the URLs of all stores have in common: their parts, and their options.

Options are a dict from name to text. Each is taken out of it by the code that knows it, so what is left at the end is
unknown, and refused. What is wrong is a ValueError that names the option and says what it may be.
"""

from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import SplitResult

from .layout import GENESIS_NEVER, MAX_UTXO_BATCH_SIZE
from .set_settings import WantedSettings

T = TypeVar("T")
D = TypeVar("D")

_DIGITS: Final = 20  # any 64 bits; of thousands of them int() makes an error of its own


def split_url(url: str) -> SplitResult:
    """A store's URL in its parts. Not the standard library's urlsplit: it takes one host only, and newer ones refuse a
    list in which an IPv6 address is not the first."""
    scheme, colon, rest = url.partition(":")
    if not colon:
        return SplitResult("", "", url, "", "")
    rest, _, query = rest.partition("?")
    if not rest.startswith("//"):
        return SplitResult(scheme, "", rest, query, "")
    hosts, slash, path = rest[2:].partition("/")
    return SplitResult(scheme, hosts, slash + path, query, "")


def take_option(options: dict[str, str], name: str, parse: Callable[[str], T], default: D) -> T | D:
    """The option's value, or the default where it is not given. Raises ValueError where `parse` does."""
    text = options.pop(name, None)
    try:
        return default if text is None else parse(text)
    except ValueError as error:
        raise ValueError(f"store URL: {name}={text}: {error}") from None


def take_wanted_settings(options: dict[str, str]) -> WantedSettings:
    """What the URL says of the set's settings. Raises ValueError."""
    return WantedSettings(
        take_option(options, "utxo_batch_size", _parse_utxo_batch_size, None),
        take_option(options, "genesis_height", _parse_genesis_height, None),
        take_option(options, "adopt", parse_flag, False),
    )


def refuse_rest(options: dict[str, str]) -> None:
    """Raises ValueError where an option is left: it is unknown."""
    if options:
        raise ValueError(f"store URL: unknown option {', '.join(options)}")


def parse_flag(text: str) -> bool:
    """Raises ValueError."""
    if text not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text == "true"


def parse_number(text: str, least: int, most: int) -> int:
    """Raises ValueError if it is not a number from `least` to `most`."""
    if not (text.isdecimal() and len(text) <= _DIGITS and least <= int(text) <= most):
        raise ValueError(f"is no number from {least} to {most}")
    return int(text)


def _parse_utxo_batch_size(text: str) -> int:
    try:
        return parse_number(text, 1, MAX_UTXO_BATCH_SIZE)
    except ValueError as error:
        raise ValueError(f"{error}; a record of more outputs could not be spent whole") from None


def _parse_genesis_height(text: str) -> int:
    if text == "never":
        return GENESIS_NEVER
    try:
        return parse_number(text, 0, GENESIS_NEVER - 1)
    except ValueError:
        raise ValueError("is neither a block height nor never") from None
