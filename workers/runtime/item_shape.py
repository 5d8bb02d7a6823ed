"""The shape of an operation's items, declared once, field by field.

A whole body is held to it by a compiled decoder. Where that refuses the body, its items are checked one by one, so that
a bad one fails alone and is told which field is wrong. Both take the same items, whatever the bytes are.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta
from msgspec.msgpack import Decoder

from protocol.codes import BAD_REQUEST
from store.layout import TXID_BYTES

from .item_checks import (
    MAX_UINT32,
    check_array,
    check_binary,
    check_bool,
    check_bytes,
    check_fields,
    check_flags,
    check_integer,
    check_map,
    check_string,
)


class Field(NamedTuple):
    """name: for people. type: what the compiled decoder takes. check: raises BadItem for every other value; it is given
    the value and the name."""

    name: str
    type: Any
    check: Callable[[Any, str], object]


def integer_field(name: str, least: int, most: int) -> Field:
    return Field(
        name, Annotated[int, Meta(ge=least, le=most)], lambda value, name: check_integer(value, name, least, most)
    )


def uint_field(name: str, most: int = MAX_UINT32) -> Field:
    return integer_field(name, 0, most)


def flags_field(known: int) -> Field:
    """known: all flags there are."""
    every: Any = Literal[tuple(value for value in range(known + 1) if not value & ~known)]
    return Field("flags", every, lambda value, name: check_flags(value, name, known))


def boolean_field(name: str) -> Field:
    return Field(name, bool, check_bool)


def bytes_field(name: str, size: int, code: str = BAD_REQUEST) -> Field:
    """Bytes that are so many. code: of the refusal of anything else."""
    exactly = Meta(min_length=size, max_length=size)
    return Field(name, Annotated[bytes, exactly], lambda value, name: check_bytes(value, name, size, code))


def binary_field(name: str) -> Field:
    """Bytes, however many."""
    return Field(name, bytes, check_binary)


def txid_field(name: str = "txid") -> Field:
    return bytes_field(name, TXID_BYTES)


def string_field(name: str, shortest: int, longest: int) -> Field:
    """A string of so many characters."""
    length = Meta(min_length=shortest, max_length=longest)
    return Field(name, Annotated[str, length], lambda value, name: check_string(value, name, shortest, longest))


def array_field(name: str, entry: Field, least: int, most: int) -> Field:
    """An array of `least` to `most` entries."""

    def check(value: Any, name: str) -> None:
        for each in check_array(value, name, least, most):
            entry.check(each, entry.name)

    return Field(name, Annotated[list[entry.type], Meta(min_length=least, max_length=most)], check)  # type: ignore[name-defined]


def map_field(name: str, key: Field, value: Field) -> Field:
    """A map from keys to values, as these two are."""

    def check(entries: Any, name: str) -> None:
        for own_key, own_value in check_map(entries, name).items():
            key.check(own_key, key.name)
            value.check(own_value, value.name)

    return Field(name, dict[key.type, value.type], check)  # type: ignore[name-defined]


def tuple_field(name: str, *fields: Field) -> Field:
    """An array of these fields, in their order."""
    shape = Shape(*fields)
    return Field(name, shape.item, shape.check)


def optional_field(field: Field) -> Field:
    """The field, or nil."""

    def check(value: Any, name: str) -> None:
        if value is not None:
            field.check(value, name)

    return Field(field.name, field.type | None, check)


class Shape:
    """fields: of an item, in their order. item: the type of one."""

    def __init__(self, *fields: Field) -> None:
        self._fields = fields
        self._names = [field.name for field in fields]
        self.item: Any = tuple[tuple(field.type for field in fields)]  # type: ignore[misc]
        self._decode = Decoder(list[self.item]).decode  # type: ignore[name-defined]

    def decode(self, body: bytes | memoryview, count: int | None) -> list[Any] | None:
        """The items of a body, `count` of them (None: any number), each a tuple of this shape; None where the bytes are
        anything else. What it takes is bounded by the body's size, whatever lengths the body names."""
        try:
            items = self._decode(body)
        except Exception:  # of several kinds: text that is no UTF-8 is not msgspec's own
            return None
        return items if count is None or len(items) == count else None

    def check(self, item: Any, name: str = "item") -> None:
        """Raises BadItem where the item is not of this shape. name: of the item, for people."""
        for value, field in zip(check_fields(item, name, self._names), self._fields, strict=True):
            field.check(value, field.name)
