"""What a long input is asked in: batches of what it gives, not larger than is good for memory, nor late."""

import time
from collections.abc import Iterable
from typing import Any, Final

BATCH_ITEMS: Final = 1_000
BATCH_BYTES: Final = 4_000_000  # as far as its items' bytes are seen from outside
GATHER: Final = 0.05  # seconds; the longest that a slow input is waited for with something at hand


class Batches:
    """failure: what the input raised, once that is why there is nothing more."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self.over = False
        self.failure: Exception | None = None

    def next(self) -> list[Any]:
        """The next items; empty where the input is over."""
        batch: list[Any] = []
        size, until = 0, time.monotonic() + GATHER
        try:
            while not self.over and len(batch) < BATCH_ITEMS and size < BATCH_BYTES and time.monotonic() < until:
                item = next(self._items)
                batch.append(item)
                size += _size(item)
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
