"""Parents of a rivals run whose counter is off are asked about again; afterwards it must be right."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from protocol import Client, Spend
from protocol.item_flags import SPEND_IGNORE_LOCKED
from store import Store
from tests.chaos.recount import ask_again, is_counted, wrong_height
from tests.rivals.checker import Miscounted, read_records
from tests.rivals.scenarios import UTXO_BATCH_SIZE, Scenario, Scenarios

_TRIES: Final = 600
_PAUSE: Final = 0.05


def recount(endpoint: str, scenarios: Scenarios, store: Store, miscounted: Sequence[Miscounted]) -> list[str]:
    """What is wrong although it was asked again, in words."""
    problems = []
    with Client(endpoint) as client:
        for off in miscounted:
            scenario = scenarios.scenario(off.scenario)
            for index, bins in enumerate(off.records[1:], start=1):
                ask_again(client, bins, partial(_spend, scenario, off.parent, index))
            problem = _problem(store, scenario, off.parent)
            if problem:
                problems.append(f"scenario {off.scenario}, parent {off.parent}: {problem}")
    return problems


def _spend(scenario: Scenario, parent: int, index: int, offset: int, spender: bytes, vin: int) -> Spend:
    return scenario.spend(
        (parent, index * UTXO_BATCH_SIZE + offset), spender, vin, scenario.height, SPEND_IGNORE_LOCKED
    )


def _problem(store: Store, scenario: Scenario, parent: int) -> str:
    """Once what follows from asking again has had its time."""
    asked, problem = scenario.parents[parent], ""
    for _ in range(_TRIES):
        records = [bins for bins in read_records(store, asked) if bins is not None]
        master = records[0]
        if is_counted(records):
            problem = wrong_height(records) if asked.is_deletable else ""
        else:
            problem = f"{master['spentExtraRecs']} of {master['totalExtraRecs']} children are counted as spent"
        if not problem:
            break
        time.sleep(_PAUSE)
    return problem
