"""Where an embedded set keeps what is fixed for its life: a record beside the others, a map in MessagePack.

    layout            version of the records' layout
    utxo_batch_size   outputs per record
    genesis_height    a block height; not there in a set of layout 1, which has the default

What they may be is decided by set_settings.py.
"""

from typing import Any, Final

import msgpack

from store.layout import DEFAULT_GENESIS_HEIGHT, LAYOUT_VERSION
from store.set_settings import SetSettings

from . import codec

_KEY: Final = b"settings"
_HEIGHT: Final = "genesis_height"


def read_settings(transaction: Any) -> SetSettings | None:
    """None where the set has none. Raises ValueError where they can't be read."""
    packed = transaction.get(_KEY)
    if packed is None:
        return None
    try:
        kept = codec.unpack(packed)
        layout = kept["layout"]
        # Of another layout that is told, which may keep other things.
        height = kept[_HEIGHT] if layout == LAYOUT_VERSION else kept.get(_HEIGHT, DEFAULT_GENESIS_HEIGHT)
        settings = SetSettings(kept["utxo_batch_size"], height, layout)
    except (codec.Damaged, TypeError, AttributeError, KeyError) as error:
        raise _unreadable() from error
    if any(type(value) is not int for value in settings) or settings.utxo_batch_size < 1:
        raise _unreadable()
    return settings


def write_settings(transaction: Any, settings: SetSettings) -> None:
    transaction.put(_KEY, msgpack.packb(settings._asdict()))


def holds_records(transaction: Any) -> bool:
    """Of a set without settings."""
    return bool(transaction.cursor().first())


def _unreadable() -> ValueError:
    return ValueError("its settings can't be read: it is damaged, or no set of utxod's")
