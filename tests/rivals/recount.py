"""Parents of a rivals run whose counter is off are asked about again; afterwards it must be right."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from protocol import Client, Spend
from protocol.operations import SPEND_IGNORE_LOCKED
from store import Store
from tests.chaos.recount import ask_again, is_counted
from tests.rivals.checker import Miscounted, read_records, wrong_height
from tests.rivals.model import UTXO_BATCH_SIZE, Game, Games

_TRIES: Final = 100
_PAUSE: Final = 0.05


def recount(endpoint: str, games: Games, store: Store, miscounted: Sequence[Miscounted]) -> list[str]:
    """What is wrong although it was asked again, in words."""
    problems = []
    with Client(endpoint) as client:
        for one in miscounted:
            game = games.game(one.game)
            for index, bins in enumerate(one.records[1:], start=1):
                ask_again(client, bins, partial(_spend, game, one.parent, index))
            problem = _problem(store, game, one.parent)
            if problem:
                problems.append(f"game {one.game}, parent {one.parent}: {problem}")
    return problems


def _spend(game: Game, parent: int, index: int, offset: int, spender: bytes, vin: int) -> Spend:
    return game.spend((parent, index * UTXO_BATCH_SIZE + offset), spender, vin, game.height, SPEND_IGNORE_LOCKED)


def _problem(store: Store, game: Game, parent: int) -> str:
    """Once what follows from asking again has had its time."""
    problem = ""
    for _ in range(_TRIES):
        records = [bins for bins in read_records(store, game.parents[parent]) if bins is not None]
        master = records[0]
        if is_counted(records):
            problem = wrong_height(game.parents[parent], records)
        else:
            problem = f"{master['spentExtraRecs']} of {master['totalExtraRecs']} children are counted as spent"
        if not problem:
            break
        time.sleep(_PAUSE)
    return problem
