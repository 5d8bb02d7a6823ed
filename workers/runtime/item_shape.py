"""The shape of an operation's items, declared once, field by field.

A whole body is held to it by a compiled decoder. Where that refuses the body, its items are checked one by one, so that
a bad one fails alone and is told which field is wrong. Both take the same items, whatever the bytes are.
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from msgspec import Meta
from msgspec.msgpack import Decoder

from store.layout import TXID_BYTES

from .item_checks import MAX_UINT32, check_bool, check_fields, check_flags, check_txid, check_uint


class Field(NamedTuple):
    """name: for people. type: what the compiled decoder takes. check: raises BadItem for every other value; it is given
    the value and the name."""

    name: str
    type: Any
    check: Callable[[Any, str], object]


def sized_bytes(size: int) -> Any:
    """The type of bytes that are so many."""
    return Annotated[bytes, Meta(min_length=size, max_length=size)]


def integers(least: int, most: int) -> Any:
    """The type of integers from `least` to `most`."""
    return Annotated[int, Meta(ge=least, le=most)]


def strings(shortest: int, longest: int) -> Any:
    """The type of strings of so many characters."""
    return Annotated[str, Meta(min_length=shortest, max_length=longest)]


def arrays(item: Any, least: int, most: int) -> Any:
    """The type of arrays of `least` to `most` items. item: the type of each."""
    return Annotated[list[item], Meta(min_length=least, max_length=most)]


def maps(key: Any, value: Any) -> Any:
    """The type of maps. key, value: the types of theirs."""
    return dict[key, value]


def txid_field(name: str = "txid") -> Field:
    return Field(name, sized_bytes(TXID_BYTES), check_txid)


def uint_field(name: str, most: int = MAX_UINT32) -> Field:
    return Field(name, integers(0, most), lambda value, name: check_uint(value, name, most))


def flags_field(known: int) -> Field:
    """known: all flags there are, those from 1 on without a gap."""
    return Field("flags", integers(0, known), lambda value, _: check_flags(value, known))


def boolean_field(name: str) -> Field:
    return Field(name, bool, check_bool)


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

    def check(self, item: Any) -> None:
        """Raises BadItem where the item is not of this shape."""
        for value, field in zip(check_fields(item, *self._names), self._fields, strict=True):
            field.check(value, field.name)
