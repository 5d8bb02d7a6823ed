"""What a long input is asked in: batches of what it gives, not larger than is good for memory, nor late."""

import time
from collections.abc import Iterable
from typing import Any, Final

BATCH_ITEMS: Final = 1_000
BATCH_BYTES: Final = 4_000_000  # as far as its items' bytes are seen from outside
GATHER: Final = 0.05  # seconds; the longest that a slow input is waited for with something at hand


class Batches:
    """over: there is nothing more. failure: what the input raised, where that is why. full: the last batch is as large
    as one may be."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self.over = False
        self.full = True
        self.failure: Exception | None = None

    def next(self) -> list[Any]:
        """The next items; empty where the input is over."""
        batch: list[Any] = []
        size, until = 0, time.monotonic() + GATHER
        self.full = False
        try:
            while not self.full and (not batch or time.monotonic() < until):
                item = next(self._items)
                batch.append(item)
                size += _size(item)
                self.full = len(batch) >= BATCH_ITEMS or size >= BATCH_BYTES
        except StopIteration:
            self.over = True
        except Exception as error:
            self.end(error)
        return batch

    def end(self, failure: Exception) -> None:
        self.over, self.failure = True, failure


def _size(item: Any) -> int:
    parts = item if isinstance(item, tuple) else (item,)
    return sum(len(part) for part in parts if isinstance(part, (bytes, bytearray, memoryview)))
