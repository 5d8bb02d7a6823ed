"""What has changed in the settings, and what of that a daemon that runs can take on: fields with "live" metadata."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

S = TypeVar("S")


class Change(NamedTuple):
    """key: dotted. is_live: a daemon that runs can take it on."""

    key: str
    before: Any
    after: Any
    is_live: bool


def changes(before: Any, after: Any, prefix: str = "") -> Iterator[Change]:
    """Between two instances of one dataclass, which may have others in it."""
    for field in dataclasses.fields(before):
        was, now = getattr(before, field.name), getattr(after, field.name)
        if dataclasses.is_dataclass(was):
            yield from changes(was, now, f"{prefix}{field.name}.")
        elif was != now:
            yield Change(prefix + field.name, was, now, field.metadata.get("live", False))


def take_on(running: S, fresh: S) -> S:
    """Those that run, with what they can take on of the fresh ones."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(running):  # type: ignore[arg-type]
        was, now = getattr(running, field.name), getattr(fresh, field.name)
        if dataclasses.is_dataclass(was):
            values[field.name] = take_on(was, now)
        else:
            values[field.name] = now if field.metadata.get("live", False) else was
    return type(running)(**values)
