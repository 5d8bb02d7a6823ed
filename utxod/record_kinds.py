"""Of what kind each bin of a master record is. A store, or another program, may hold anything: who shows a record for
people leaves out what is of another kind, and names it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

_DATES_END_MS: Final = 253_402_300_800_000  # of the year 9999


def _is_date(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < _DATES_END_MS


def _is_reassignment(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and all(isinstance(value.get(name), int | None) for name in ("offset", "satoshis", "blockHeight"))
        and isinstance(value.get("script"), bytes | None)
    )


def _is(kind: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _list_of(is_element: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_element, value))


_IS_RIGHT: Final[Mapping[str, Callable[[Any], bool]]] = {
    "createdAt": _is_date,
    "utxos": _list_of(_is(bytes | None)),
    "childStates": _is(bytes),
    "blockIDs": _list_of(_is(int)),
    "blockHeights": _list_of(_is(int)),
    "subtreeIdxs": _list_of(_is(int)),
    "conflictingCs": _list_of(_is(bytes)),
    "reassignments": _list_of(_is_reassignment),
    "deletedChildren": _is(Mapping),
}
_is_number = _is(int)  # and so is a boolean


def split_by_kind(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """record: bins of a master record, of those that `coin` and `show` read. Returns those that are of their kind, and
    the names of the others."""
    right = {name: value for name, value in record.items() if _IS_RIGHT.get(name, _is_number)(value)}
    return right, [name for name in record if name not in right]
