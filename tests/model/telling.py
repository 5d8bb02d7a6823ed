"""What went before a failure, for people: a line for each step."""

from typing import Any

from tests.model.asks import shown


def line_of(entry: Any) -> str:
    """entry: of the log of a world: what was done, and with what."""
    what, about, *rest = entry
    if what == "asked":
        return f"  {'; '.join(map(repr, about))}{f'   fault: {rest[0]}' if rest[0] else ''}"
    if what == "answered":
        told = [
            [
                shown(outcome.result)
                if outcome.error is None
                else f"{outcome.code} {outcome.executed} {shown(outcome.error.details)}"
                for outcome in own
            ]
            for own in about
        ]
        return f"    -> {told}"
    if what in ("followed", "lost"):
        return f"    {what}: {[(owed.operation, shown(owed.key[:32])) for owed in about]} {rest or ''}"
    return f"  {what}: {shown(about)}"
