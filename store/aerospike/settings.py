"""What is fixed for the life of a set, kept in the cluster: one record, in a set of its own beside the UTXO set, so
that the UTXO set has UTXOs only.

It is read first and written only where there is none, so a namespace that refuses writes keeps nobody from reading.
What it may hold, and when it may be made, is decided by set_settings.py.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from store.interface import Mode, Read, RecordOperation, Result, Status, StoreError, Write
from store.layout import DEFAULT_GENESIS_HEIGHT, LAYOUT_VERSION
from store.set_settings import SetSettings, Wanted, check_settings, new_settings

_KEY: Final = b"settings"
_OLD_LAYOUT: Final = 1  # knew no genesis height, and is raised by the first write
_ATTEMPT: Final = 1.0  # seconds
_POLL: Final = 0.05  # seconds
_FOR_NOW: Final = frozenset({Status.TIMEOUT, Status.UNAVAILABLE, Status.OVERLOADED})


def settings_set(set_name: str) -> str:
    """The set that the settings of a set stand in."""
    return f"{set_name}-settings"[:63]


class SettingsRecord:
    """run: executes a record in that set, within so many seconds. holds_records: whether the UTXO set does; raises
    StoreError where it cannot be told."""

    def __init__(self, run: Callable[[RecordOperation, float], Result], holds_records: Callable[[], bool]) -> None:
        self._run = run
        self._holds_records = holds_records
        self._layout = LAYOUT_VERSION

    @property
    def is_old(self) -> bool:
        """Whether the layout is to be raised before this program writes to the set."""
        return self._layout == _OLD_LAYOUT

    def open(self, wanted: Wanted, until: float) -> SetSettings:
        """The set's own, or new ones where it has none. until: seconds, monotonic. Raises StoreError where they can't
        be had, or do not go with what is wanted."""
        holds_records: bool | None = None
        while True:
            kept = self._read(until)
            if kept is not None:
                check_settings(kept, wanted)
                self._layout = kept.layout
                return kept
            if holds_records is None:
                # Then they are looked for once more: another daemon may make them just now, and write.
                holds_records = self._holds_records()
                continue
            self._make(new_settings(wanted, holds_records=holds_records), until)

    def raise_layout(self, budget: float) -> None:
        """Says in the set that it holds records of this program's layout, which an older one must not take for its own.
        budget: seconds. Raises StoreError where that cannot be said."""
        raised = Write(_KEY, {"layout": LAYOUT_VERSION}, Mode.UPDATE, condition={"layout": _OLD_LAYOUT})
        result = self._run(raised, budget)
        if result.status is Status.CONDITION_FALSE:
            kept = self._read(time.monotonic() + budget)
            if kept is not None:
                check_settings(kept, Wanted())
        elif result.status not in (Status.OK, Status.NOT_FOUND):
            problem = f"the set's layout cannot be raised to version {LAYOUT_VERSION}: {result.message}"
            raise StoreError(problem, in_doubt=False, status=_reason(result))
        self._layout = LAYOUT_VERSION

    def _read(self, until: float) -> SetSettings | None:
        while True:
            result = self._run(Read(_KEY), min(_ATTEMPT, until - time.monotonic()))
            if result.status is Status.OK:
                return _parse(result.value)
            if result.status is Status.NOT_FOUND:
                return None
            if result.status not in _FOR_NOW or time.monotonic() + _POLL > until:
                raise StoreError(f"its settings cannot be read: {result.message}", in_doubt=False)
            time.sleep(_POLL)

    def _make(self, settings: SetSettings, until: float) -> None:
        """Whoever comes first; so who made them is not asked, they are read. Raises StoreError."""
        bins = {
            "layout": settings.layout,
            "utxoBatchSize": settings.utxo_batch_size,
            "genesisHeight": settings.genesis_height,
        }
        result = self._run(Write(_KEY, bins, Mode.CREATE), min(_ATTEMPT, until - time.monotonic()))
        if result.status not in (Status.OK, Status.EXISTS, Status.TIMEOUT) and not result.in_doubt:
            raise StoreError(f"its settings cannot be kept: {result.message}", in_doubt=False)


def _parse(bins: dict[str, Any]) -> SetSettings:
    """Raises StoreError."""
    try:
        return SetSettings(
            bins["utxoBatchSize"], bins.get("genesisHeight", DEFAULT_GENESIS_HEIGHT), bins.get("layout", 0)
        )
    except KeyError as error:
        raise StoreError(f"its settings have no {error}", in_doubt=False) from None


def _reason(result: Result) -> Status:
    return result.status if result.status in (Status.OVERLOADED, Status.UNAVAILABLE) else Status.ERROR
