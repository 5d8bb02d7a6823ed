"""What is fixed for the life of a set, kept in the cluster: one record, in a set of its own beside the UTXO set, so
that the UTXO set has UTXOs only.

It is read first, and written only if there is none yet, so a set can be opened for reading while its namespace refuses
writes. What it may hold, and when it may be made, is decided by set_settings.py.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from store.interface import Mode, Read, RecordOperation, Result, Status, StoreError, Write
from store.layout import DEFAULT_GENESIS_HEIGHT
from store.set_settings import SetSettings, checked_settings, unknown_layout

LAYOUT: Final = 2  # version of the records' layout; the embedded store counts its own
_OLD_LAYOUT: Final = 1  # knew no genesis height, and is raised by the first batch that writes
_KEY: Final = b"settings"
_ATTEMPT: Final = 1.0  # seconds
_POLL: Final = 0.05  # seconds
_FOR_NOW: Final = frozenset({Status.TIMEOUT, Status.UNAVAILABLE, Status.OVERLOADED})


def settings_set(set_name: str) -> str:
    """The set that has the settings of a set."""
    return f"{set_name}-settings"[:63]


class SettingsRecord:
    """The settings' place in a cluster (SettingsPlace).

    run: executes an operation in that set, within so many seconds. holds_records: whether the UTXO set holds any;
    raises StoreError where it cannot be told. until: seconds, monotonic, by when the settings must be found."""

    layout = LAYOUT

    def __init__(
        self, run: Callable[[RecordOperation, float], Result], holds_records: Callable[[], bool], until: float
    ) -> None:
        self._run = run
        self.holds_records = holds_records
        self._until = until

    def read(self) -> SetSettings | None:
        while True:
            result = self._run(Read(_KEY), self._attempt())
            if result.status is Status.OK:
                return _settings_in(result.value)
            if result.status is Status.NOT_FOUND:
                return None
            if result.status not in _FOR_NOW or time.monotonic() + _POLL > self._until:
                raise StoreError(f"its settings cannot be read: {result.message}", in_doubt=False)
            time.sleep(_POLL)

    def make(self, settings: SetSettings) -> None:
        """Another process may have been first, or the write be in doubt: neither matters, since they are read after
        it."""
        bins = {
            "layout": settings.layout,
            "utxoBatchSize": settings.utxo_batch_size,
            "genesisHeight": settings.genesis_height,
        }
        result = self._run(Write(_KEY, bins, Mode.CREATE), self._attempt())
        if result.status not in (Status.OK, Status.EXISTS, Status.TIMEOUT) and not result.in_doubt:
            raise StoreError(f"its settings cannot be kept: {result.message}", in_doubt=False)

    def check_layout(self, layout: int) -> None:
        if layout not in (_OLD_LAYOUT, LAYOUT):
            raise unknown_layout(layout, LAYOUT)

    def raise_layout(self, budget: float) -> None:
        """Says in the set that it holds records of this program's layout, which an older program must not take for its
        own. budget: seconds. Raises StoreError where that cannot be said."""
        self._until = time.monotonic() + budget
        raised = Write(_KEY, {"layout": LAYOUT}, Mode.UPDATE, condition={"layout": _OLD_LAYOUT})
        result = self._run(raised, budget)
        if result.status is Status.CONDITION_FALSE:
            kept = self.read()
            if kept is not None:
                self.check_layout(kept.layout)
        elif result.status not in (Status.OK, Status.NOT_FOUND):
            problem = f"the set's layout cannot be raised to version {LAYOUT}: {result.message}"
            raise StoreError(problem, in_doubt=False, status=_reason(result))

    def _attempt(self) -> float:
        """Seconds that one call may take."""
        return min(_ATTEMPT, self._until - time.monotonic())


def _settings_in(bins: dict[str, Any]) -> SetSettings:
    """Raises StoreError."""
    # A layout that was raised from the old one has no genesis height.
    height = bins.get("genesisHeight", DEFAULT_GENESIS_HEIGHT)
    return checked_settings(bins.get("utxoBatchSize"), height, bins.get("layout"))


def _reason(result: Result) -> Status:
    return result.status if result.status in (Status.OVERLOADED, Status.UNAVAILABLE) else Status.ERROR
