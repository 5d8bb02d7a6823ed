"""What an item must look like, before anything is done with it. The shapes are those of docs/protocol.md.

Each check raises BadItem, which names the field.
"""

from typing import Any, Final

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error
from store.layout import TXID_BYTES

MAX_UINT32: Final = 0xFFFFFFFF
MAX_CHILDREN: Final = 1 << 25  # child records of one transaction
MAX_SEQ: Final = (1 << 53) - 1  # what a double, which is Lua's number, holds exactly


class BadItem(Exception):
    """The item is not what the protocol says; the message names the field. code: BAD_REQUEST, or the rejection that the
    rules of the UTXO set give such a parameter."""

    def __init__(self, message: str, code: str = codes.BAD_REQUEST) -> None:
        super().__init__(message)
        self.code = code

    @property
    def error(self) -> Error:
        return Error(self.code, NO, str(self))


def check_fields(item: Any, *names: str) -> list[Any]:
    """The item as a list of so many fields."""
    if type(item) is not list or len(item) != len(names):
        raise BadItem(f"item: not an array of {len(names)} ({', '.join(names)})")
    return item


def check_txid(value: Any, name: str = "txid") -> bytes:
    if type(value) is not bytes or len(value) != TXID_BYTES:
        raise BadItem(f"{name}: not {TXID_BYTES} bytes")
    return value


def check_uint(value: Any, name: str, most: int = MAX_UINT32) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise BadItem(f"{name}: not an integer from 0 to {most}")
    return value


def check_height(value: Any, name: str = "block height") -> int:
    return check_uint(value, name)


def check_flags(value: Any, known: int) -> int:
    if type(value) is not int or value & ~known:
        raise BadItem(f"flags: not one of the flags up to {known}")
    return value


def check_bool(value: Any, name: str) -> bool:
    if type(value) is not bool:
        raise BadItem(f"{name}: not true or false")
    return value
