"""What is fixed for the life of a set, and kept with it: outputs per record, which outputs are UTXOs, the layout.

Each store keeps it in a place of its own; what it may be, and when it may be made, is decided here. A set that holds
records and has no settings lost them, or is another program's: its settings are not guessed.
"""

import logging
from typing import NamedTuple, Protocol

from .interface import ErrorKind, StoreError
from .layout import DEFAULT_GENESIS_HEIGHT, DEFAULT_UTXO_BATCH_SIZE, GENESIS_NEVER

log = logging.getLogger("utxod.store")


class SetSettings(NamedTuple):
    """utxo_batch_size: outputs per record. genesis_height: block height from which on every output is a UTXO but those
    of OP_FALSE OP_RETURN; GENESIS_NEVER if there is no such height. layout: version of the records' layout, which
    each kind of store counts for itself."""

    utxo_batch_size: int
    genesis_height: int
    layout: int


class WantedSettings(NamedTuple):
    """What the store's URL says of it. None: the set's own, or the default for a new one. adopt: the set may hold
    records without settings, and these are the right ones. create: a set that is not there is made (not the URL's)."""

    utxo_batch_size: int | None = None
    genesis_height: int | None = None
    adopt: bool = False
    create: bool = True


class SettingsPlace(Protocol):
    """Where a set keeps its settings. Each method raises StoreError where it cannot do it. layout: of the records that
    this program writes there."""

    layout: int

    def read(self) -> SetSettings | None:
        """None if the set has no settings."""
        ...

    def make(self, settings: SetSettings) -> None:
        """Keep these, unless another process was first: then its settings stay."""
        ...

    def holds_records(self) -> bool:
        """Whether the set holds records, though it has no settings."""
        ...

    def check_layout(self, layout: int) -> None:
        """Raises StoreError where this program does not serve a set of that layout."""
        ...


def find_settings(place: SettingsPlace, wanted: WantedSettings) -> SetSettings:
    """The set's own, or new ones where it has none. Raises StoreError where they cannot be had, or do not go with what
    is wanted."""
    kept = place.read()
    if kept is None:
        holds_records = place.holds_records()
        # They are looked for again first: another process may make them just now, and write.
        while (kept := place.read()) is None:
            place.make(new_settings(wanted, place.layout, holds_records=holds_records))
        if not holds_records:
            log.info("there was no set here: a new one was made, which is empty")
    place.check_layout(kept.layout)
    check_settings(kept, wanted)
    return kept


def checked_settings(utxo_batch_size: object, genesis_height: object, layout: object) -> SetSettings:
    """The settings, as they were read. Raises StoreError if they are invalid."""
    if type(utxo_batch_size) is not int or type(genesis_height) is not int or type(layout) is not int:
        raise unreadable_settings()
    if utxo_batch_size < 1:
        raise unreadable_settings()
    return SetSettings(utxo_batch_size, genesis_height, layout)


def unreadable_settings() -> StoreError:
    return StoreError("its settings can't be read: it is damaged, or no set of utxod's", in_doubt=False)


def new_settings(wanted: WantedSettings, layout: int, *, holds_records: bool) -> SetSettings:
    """For a set that has none. Raises StoreError where they must not be made up."""
    if holds_records and not (wanted.adopt and wanted.utxo_batch_size):
        raise StoreError(
            "the set holds records and has no settings: they were lost, or another program wrote the set. Name its "
            "utxo_batch_size (and genesis_height, where it is not the default) in the URL, and adopt=true",
            in_doubt=False,
            kind=ErrorKind.SETTINGS_LOST,
        )
    if not wanted.create:
        raise _to_be_adopted() if holds_records else no_set()
    height = DEFAULT_GENESIS_HEIGHT if wanted.genesis_height is None else wanted.genesis_height
    return SetSettings(wanted.utxo_batch_size or DEFAULT_UTXO_BATCH_SIZE, height, layout)


def _to_be_adopted() -> StoreError:
    problem = (
        "the set holds records and has no settings yet. A daemon that opens it with this URL gives it those that the "
        "URL names, and so does `utxod convert`, if an older version wrote it: make sure of them, they are for good"
    )
    return StoreError(problem, in_doubt=False)


def no_set() -> StoreError:
    return StoreError("there is no set", in_doubt=False, kind=ErrorKind.NO_SET)


def unknown_layout(layout: int, own: int) -> StoreError:
    """own: this program's."""
    problem = f"its layout has version {layout}, this program's {own}"
    return StoreError(problem, in_doubt=False, kind=ErrorKind.UNKNOWN_LAYOUT)


def check_settings(kept: SetSettings, wanted: WantedSettings) -> None:
    """kept: the set's own. Raises StoreError where what is wanted does not go with them."""
    for name, own, other, kind in (
        ("utxo_batch_size", kept.utxo_batch_size, wanted.utxo_batch_size, ErrorKind.UTXO_BATCH_SIZE_DIFFERS),
        ("genesis_height", kept.genesis_height, wanted.genesis_height, ErrorKind.GENESIS_HEIGHT_DIFFERS),
    ):
        if other not in (None, own):
            problem = f"the set was made with {name}={_render(own)}, which cannot be changed to {_render(other)}"
            raise StoreError(problem, in_doubt=False, kind=kind)


def _render(value: int | None) -> str:
    return "never" if value == GENESIS_NEVER else str(value)
