"""Where an embedded set keeps what is fixed for its life: a record beside the others, a map in MessagePack.

    layout            version of the records' layout
    utxo_batch_size   outputs per record
    genesis_height    a block height; not there in a set of layout 1, which has the default

What they may be, and when they may be made, is decided by set_settings.py.
"""

from typing import Any, Final

import msgpack

from store.layout import DEFAULT_GENESIS_HEIGHT, LAYOUT_VERSION
from store.set_settings import SetSettings, checked_settings, unreadable_settings

from . import codec
from .environment import Environment
from .writer_lock import WriterLock

_KEY: Final = b"settings"
_HEIGHT: Final = "genesis_height"
_LOCK_BUDGET: Final = 10.0  # seconds to wait for the writers' lock


class SettingsRecord:
    """The settings' place in a set (SettingsPlace). Its methods raise lmdb.Error, too."""

    def __init__(self, environment: Environment, lock: WriterLock) -> None:
        self._environment = environment
        self._lock = lock

    def read(self) -> SetSettings | None:
        with self._environment.begin() as transaction:
            return read_settings(transaction)

    def make(self, settings: SetSettings) -> None:
        with self._lock.held(_LOCK_BUDGET), self._environment.begin(write=True) as transaction:
            if read_settings(transaction) is None:
                write_settings(transaction, settings)

    def holds_records(self) -> bool:
        with self._environment.begin() as transaction:
            return bool(transaction.cursor().first())


def read_settings(transaction: Any) -> SetSettings | None:
    """None where the set has none. Raises StoreError where they can't be read."""
    packed = transaction.get(_KEY)
    if packed is None:
        return None
    try:
        kept = codec.unpack(packed)
        layout = kept["layout"]
        # Of another layout only its version is told: it may keep other things.
        height = kept[_HEIGHT] if layout == LAYOUT_VERSION else kept.get(_HEIGHT, DEFAULT_GENESIS_HEIGHT)
        return checked_settings(kept["utxo_batch_size"], height, layout)
    except (codec.Damaged, TypeError, AttributeError, KeyError) as error:
        raise unreadable_settings() from error


def write_settings(transaction: Any, settings: SetSettings) -> None:
    transaction.put(_KEY, msgpack.packb(settings._asdict()))
