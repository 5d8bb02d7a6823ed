"""Where an embedded set keeps what is fixed for its life: a record beside the others, a map in MessagePack.

    layout            version of the records' layout (record.py has the newest; conversion.py knows those before it)
    utxo_batch_size   outputs per record
    genesis_height    a block height; not there in a set of layout 1, which has the default
    converted         there while older records are converted: the key of the last one that was (empty: none), and how
                      many were

What they may be, and when they may be made, is decided by set_settings.py.
"""

import shlex
from typing import Any, Final, NamedTuple

import msgpack

from store.interface import ErrorKind, StoreError
from store.layout import DEFAULT_GENESIS_HEIGHT
from store.set_settings import SetSettings, checked_settings, unknown_layout, unreadable_settings

from .environment import Environment
from .record import is_record
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
    """The settings' place in a set (SettingsPlace). Its methods raise lmdb.Error, too. url: of the set."""

    layout = LAYOUT

    def __init__(self, url: str, environment: Environment, lock: WriterLock) -> None:
        self._url = url
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
            make_settings(transaction, settings)

    def holds_records(self) -> bool:
        with self._environment.begin() as transaction:
            return bool(transaction.cursor().first())

    def check_layout(self, layout: int) -> None:
        if layout in OLD_LAYOUTS:
            raise self._to_be_converted(f"its layout has version {layout}, this program's {LAYOUT}")
        if layout != LAYOUT:
            raise unknown_layout(layout, LAYOUT)

    def _to_be_converted(self, why: str) -> StoreError:
        command = f"utxod convert --store {shlex.quote(self._url)}"
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
        return Kept(settings, _checked_converted(*kept["converted"]) if "converted" in kept else None)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise unreadable_settings() from error


def _checked_converted(key: object, records: object) -> Converted:
    """As they were read. Raises ValueError if they are invalid."""
    if type(key) is not bytes or type(records) is not int:
        raise ValueError("converted")
    return Converted(key, records)


def make_settings(transaction: Any, settings: SetSettings) -> None:
    """Of a set that has none; where it has, they stay. Which layout its records have is found out."""
    if read_settings(transaction) is None:
        layout = LAYOUT if _has_new_records(transaction) else OLD_LAYOUTS[-1]
        write_settings(transaction, Kept(settings._replace(layout=layout)))


def write_settings(transaction: Any, kept: Kept) -> None:
    values: dict[str, Any] = kept.settings._asdict()
    if kept.converted is not None:
        values["converted"] = kept.converted
    transaction.put(SETTINGS_KEY, msgpack.packb(values))


def _has_new_records(transaction: Any) -> bool:
    """Whether what a set without settings holds, if anything, has this layout. Conversion goes from the first record to
    the last, so the last one tells. Where that one is damaged, conversion finds the others new, and leaves them."""
    cursor = transaction.cursor()
    return not cursor.last() or is_record(*cursor.item())
