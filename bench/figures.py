"""What it costs that somebody watches: a daemon whose report is asked for twice a second, as a page and a scraper do at
most, beside one that nobody asks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from protocol import Client

from .load import PATIENT_SECONDS
from .report import Report
from .side_by_side import Side, side_by_side

GOAL: Final = 0.98
INTERVAL_SECONDS: Final = 0.5


def figures(rounds: int, seconds: float) -> Report:
    """seconds: of each load, in each round."""
    asked = Side("asked every 0.5 s", beside=_asked)
    return side_by_side("figures", asked, Side("asked by nobody"), GOAL, rounds, seconds)


@contextmanager
def _asked(endpoint: str) -> Iterator[None]:
    ended = threading.Event()

    def ask() -> None:
        with Client(endpoint, timeout=PATIENT_SECONDS) as client:
            while not ended.wait(INTERVAL_SECONDS):
                client.status()

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield
    finally:
        ended.set()
        asker.join()
