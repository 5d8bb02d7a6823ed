"""Where an embedded set keeps what is fixed for its life: a record beside the others, a map in MessagePack.

    layout            version of the records' layout (record.py has the newest; conversion.py knows those before it)
    utxo_batch_size   outputs per record
    genesis_height    a block height; not there in a set of layout 1, which has the default
    converted         there while older records are converted: the key of the last one that was (empty: none), and how
                      many were

What they may be, and when they may be made, is decided by set_settings.py.
"""

import shlex
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgpack

from store.interface import ErrorKind, StoreError
from store.layout import DEFAULT_GENESIS_HEIGHT
from store.set_settings import SetSettings, checked_settings, unknown_layout, unreadable_settings

from .environment import Environment
from .record import Damaged, Record
from .writer_lock import WriterLock

LAYOUT: Final = 3
OLD_LAYOUTS: Final = (1, 2)
SETTINGS_KEY: Final = b"settings"
LOCK_BUDGET: Final = 10.0  # seconds to wait for the writers' lock


class Converted(NamedTuple):
    """How far a conversion came. key: of the last record that was converted, empty where none was. records: how many
    were."""

    key: bytes
    records: int


class Kept(NamedTuple):
    """converted: None where no conversion is under way."""

    settings: SetSettings
    converted: Converted | None = None


class SettingsRecord:
    """The settings' place in a set (SettingsPlace). Its methods raise lmdb.Error, too."""

    layout = LAYOUT

    def __init__(self, directory: Path, environment: Environment, lock: WriterLock) -> None:
        self._directory = directory
        self._environment = environment
        self._lock = lock

    def read(self) -> SetSettings | None:
        with self._environment.begin() as transaction:
            kept = read_settings(transaction)
        if kept is None:
            return None
        if kept.converted is not None:
            raise self._to_be_converted("its conversion to another layout was begun and has not ended")
        return kept.settings

    def make(self, settings: SetSettings) -> None:
        with self._lock.held(LOCK_BUDGET), self._environment.begin(write=True) as transaction:
            if read_settings(transaction) is None:
                layout = LAYOUT if _has_new_records(transaction) else OLD_LAYOUTS[-1]
                write_settings(transaction, Kept(settings._replace(layout=layout)))

    def holds_records(self) -> bool:
        with self._environment.begin() as transaction:
            return bool(transaction.cursor().first())

    def check_layout(self, layout: int) -> None:
        if layout in OLD_LAYOUTS:
            raise self._to_be_converted(f"its layout has version {layout}, this program's {LAYOUT}")
        if layout != LAYOUT:
            raise unknown_layout(layout, LAYOUT)

    def _to_be_converted(self, why: str) -> StoreError:
        command = f"utxod convert --store {shlex.quote(f'lmdb://{quote(str(self._directory))}')}"
        return StoreError(
            f"{why}. End what uses the set, then run: {command}", in_doubt=False, kind=ErrorKind.OLD_LAYOUT
        )


def read_settings(transaction: Any) -> Kept | None:
    """None where the set has none. Raises StoreError where they can't be read."""
    packed = transaction.get(SETTINGS_KEY)
    if packed is None:
        return None
    try:
        kept = msgpack.unpackb(packed)
        layout = kept["layout"]
        # Of another layout only its version is told: it may keep other things.
        height = kept["genesis_height"] if layout == LAYOUT else kept.get("genesis_height", DEFAULT_GENESIS_HEIGHT)
        settings = checked_settings(kept["utxo_batch_size"], height, layout)
        return Kept(settings, Converted(*kept["converted"]) if "converted" in kept else None)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise unreadable_settings() from error


def write_settings(transaction: Any, kept: Kept) -> None:
    values: dict[str, Any] = kept.settings._asdict()
    if kept.converted is not None:
        values["converted"] = kept.converted
    transaction.put(SETTINGS_KEY, msgpack.packb(values))


def _has_new_records(transaction: Any) -> bool:
    """Whether what a set without settings holds, if anything, has this layout. Conversion goes from the first record to
    the last, so the last one tells."""
    cursor = transaction.cursor()
    if not cursor.last():
        return True
    try:
        Record.unpack(*cursor.item())
    except Damaged:
        return False
    return True
