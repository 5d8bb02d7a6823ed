"""A client process of a rivals run: it runs scenario after scenario, many at once, until the time is over, and so many
have been run that there is something to be seen.

python -m tests.rivals.clients '{"endpoints": [...], ...}'      (the fields of ClientSettings)
"""

import asyncio
import itertools
import json
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from protocol import AsyncClient
from store import Store, open_store
from tests.chaos.history import HistoryFile
from tests.rivals.generator import ScenarioRun
from tests.rivals.questions import Invoker
from tests.rivals.scenarios import Scenarios
from utxod.own_daemon import end_with_parent

_CONNECTIONS: Final = 2  # with each daemon
_FEWEST: Final = 80  # scenarios of all processes, however slow the machine is


@dataclass(frozen=True)
class ClientSettings:
    """slot: which of `slots` processes. at_once: scenarios. store: the URL of the set. until: seconds, monotonic."""

    endpoints: list[str]
    store: str
    history: str
    slot: int
    slots: int
    at_once: int
    seed: int
    until: float


async def run_all(settings: ClientSettings, store: Store) -> None:
    random = Random(f"{settings.seed}:{settings.slot}")
    scenarios, history = Scenarios(settings.seed), HistoryFile(Path(settings.history))
    numbers = itertools.count(settings.slot, settings.slots)
    async with AsyncExitStack() as stack:
        clients = [
            [await stack.enter_async_context(AsyncClient(endpoint)) for _ in range(_CONNECTIONS)]
            for endpoint in settings.endpoints
        ]
        invoker = Invoker(clients, history, random)

        async def run_on() -> None:
            while (number := next(numbers)) < _FEWEST or time.monotonic() < settings.until:
                await ScenarioRun(invoker, scenarios, number, store, random).run()

        await asyncio.gather(*(run_on() for _ in range(settings.at_once)))


def main(settings: ClientSettings) -> None:
    store = open_store(settings.store)
    try:
        asyncio.run(run_all(settings, store))
    finally:
        store.close()


if __name__ == "__main__":
    end_with_parent()
    main(ClientSettings(**json.loads(sys.argv[1])))
