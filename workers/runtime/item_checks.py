"""What an item must look like, before anything is done with it. The shapes are those of docs/protocol.md.

Each check raises BadItem, which names the field.
"""

from collections.abc import Sequence
from typing import Any, Final

from protocol import codes
from protocol.codes import NO
from protocol.wire import Error

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


def check_fields(item: Any, name: str, fields: Sequence[str]) -> list[Any]:
    """The item as a list of so many fields."""
    if type(item) is not list or len(item) != len(fields):
        raise BadItem(f"{name}: not an array of {len(fields)} ({', '.join(fields)})")
    return item


def check_array(value: Any, name: str, least: int, most: int) -> list[Any]:
    if type(value) is not list or not least <= len(value) <= most:
        raise BadItem(f"{name}: not an array of {least} to {most}")
    return value


def check_map(value: Any, name: str) -> dict[Any, Any]:
    if type(value) is not dict:
        raise BadItem(f"{name}: not a map")
    return value


def check_binary(value: Any, name: str) -> None:
    if type(value) is not bytes:
        raise BadItem(f"{name}: not bytes")


def check_bytes(value: Any, name: str, size: int, code: str) -> None:
    if type(value) is not bytes or len(value) != size:
        raise BadItem(f"{name}: not {size} bytes", code)


def check_string(value: Any, name: str, shortest: int, longest: int) -> None:
    if type(value) is not str or not shortest <= len(value) <= longest:
        raise BadItem(f"{name}: not a string of {shortest} to {longest} characters")


def check_integer(value: Any, name: str, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise BadItem(f"{name}: not an integer from {least} to {most}")


def check_flags(value: Any, name: str, known: int) -> None:
    if type(value) is not int or value & ~known:
        raise BadItem(f"{name}: not one of the flags up to {known}")


def check_bool(value: Any, name: str) -> None:
    if type(value) is not bool:
        raise BadItem(f"{name}: not true or false")
