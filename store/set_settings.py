"""What is fixed for the life of a set, and kept with it: outputs per record, which outputs are UTXOs, the layout.

Both stores keep it, each in its own way; what it may be, and when it may be written, is decided here. A set that holds
records and has no settings lost them, or is another program's: its numbers are not guessed.
"""

from typing import Final, NamedTuple

from .interface import StoreError
from .layout import DEFAULT_GENESIS_HEIGHT, DEFAULT_UTXO_BATCH_SIZE, GENESIS_NEVER, LAYOUT_VERSION, MAX_UTXO_BATCH_SIZE

_READABLE: Final = (1, LAYOUT_VERSION)
_DIGITS: Final = 20  # any 64 bits; of thousands of them int() makes an error of its own


class SetSettings(NamedTuple):
    """utxo_batch_size: outputs per record. genesis_height: block height from which on every output is a UTXO but those
    of OP_FALSE OP_RETURN; GENESIS_NEVER where there is none. layout: version of the records' layout."""

    utxo_batch_size: int
    genesis_height: int = DEFAULT_GENESIS_HEIGHT
    layout: int = LAYOUT_VERSION


class Wanted(NamedTuple):
    """What the store's URL says of it. None: the set's own, or the default for a new one. adopt: the set may hold
    records without settings, and these are the right ones. create: a set that is not there is made (not the URL's)."""

    utxo_batch_size: int | None = None
    genesis_height: int | None = None
    adopt: bool = False
    create: bool = True


def new_settings(wanted: Wanted, *, holds_records: bool) -> SetSettings:
    """For a set that has none. Raises StoreError where they must not be made up."""
    if holds_records and not (wanted.adopt and wanted.utxo_batch_size):
        raise StoreError(
            "the set holds records and has no settings: they were lost, or another program wrote the set. Name its "
            "utxo_batch_size (and genesis_height, where it is not the default) in the URL, and adopt=true",
            in_doubt=False,
        )
    if not wanted.create:
        raise StoreError("there is no set", in_doubt=False)
    height = wanted.genesis_height
    return SetSettings(
        wanted.utxo_batch_size or DEFAULT_UTXO_BATCH_SIZE, DEFAULT_GENESIS_HEIGHT if height is None else height
    )


def check_settings(kept: SetSettings, wanted: Wanted) -> None:
    """kept: the set's own. Raises StoreError where this program, or what is wanted, does not go with them."""
    if kept.layout not in _READABLE:
        problem = f"its layout has version {kept.layout}, this program's {LAYOUT_VERSION}"
        raise StoreError(problem, in_doubt=False)
    for name, have, want in (
        ("utxo_batch_size", kept.utxo_batch_size, wanted.utxo_batch_size),
        ("genesis_height", kept.genesis_height, wanted.genesis_height),
    ):
        if want not in (None, have):
            problem = f"the set was made with {name}={_shown(have)}, which cannot be changed to {_shown(want)}"
            raise StoreError(problem, in_doubt=False)


def parse_number(text: str, least: int, most: int) -> int:
    """A number of a store's URL. Raises ValueError where it is none, or not from `least` to `most`."""
    if not (text.isdecimal() and len(text) <= _DIGITS and least <= int(text) <= most):
        raise ValueError(f"is no number from {least} to {most}")
    return int(text)


def parse_utxo_batch_size(text: str) -> int:
    """Raises ValueError."""
    try:
        return parse_number(text, 1, MAX_UTXO_BATCH_SIZE)
    except ValueError as error:
        raise ValueError(f"{error}; a record of more outputs could not be spent whole") from None


def parse_genesis_height(text: str) -> int:
    """Raises ValueError."""
    if text == "never":
        return GENESIS_NEVER
    try:
        return parse_number(text, 0, GENESIS_NEVER - 1)
    except ValueError:
        raise ValueError("is neither a block height nor never") from None


def _shown(value: int | None) -> str:
    return "never" if value == GENESIS_NEVER else str(value)
