"""Asking again about parents whose counter is off: a note was lost with who was to bring it. A spend that is there, and
an unspend that has nothing to undo, send it again; afterwards the counter must be right."""

import time
from collections.abc import Sequence
from typing import Final

from protocol.client import Client
from protocol.items import Outcome, Spend
from protocol.operations import SPEND_IGNORE_LOCKED
from store import Store

from .rivals_checker import Bins, Miscounted, is_counted, read_records, wrong_height
from .rivals_games import UTXO_BATCH_SIZE, Game, Games

_HASH_BYTES: Final = 32
_TXID_BYTES: Final = 32
_NOBODY: Final = bytes(_TXID_BYTES)
_TRIES: Final = 100
_PAUSE: Final = 0.05


def recount(endpoint: str, games: Games, store: Store, miscounted: Sequence[Miscounted]) -> list[str]:
    """What is wrong although it was asked again, in words."""
    problems = []
    with Client(endpoint) as client:
        for one in miscounted:
            game = games.game(one.game)
            for index, bins in enumerate(one.records[1:], start=1):
                ask_again(client, game, one.parent, index, bins)
            problem = _problem(store, game, one.parent)
            if problem:
                problems.append(f"game {one.game}, parent {one.parent}: {problem}")
    return problems


def ask_again(client: Client, game: Game, parent: int, index: int, bins: Bins) -> None:
    """Of one output of the record: its spend, or for one that is unspent an unspend."""
    place, utxo = (parent, index * UTXO_BATCH_SIZE), bins["utxos"][0]
    spender = utxo[_HASH_BYTES:] or _NOBODY + bytes(4)
    vin = int.from_bytes(spender[_TXID_BYTES:], "little")
    spend = game.spend(place, spender[:_TXID_BYTES], vin, game.height, SPEND_IGNORE_LOCKED)
    for _ in range(_TRIES):
        outcome = _asked(client, spend, is_spent=len(utxo) > _HASH_BYTES)
        if outcome.error is None:
            break
        time.sleep(_PAUSE)


def _asked(client: Client, spend: Spend, is_spent: bool) -> Outcome[bool]:
    (outcome,) = client.spend_many([spend]) if is_spent else client.abandon_many([spend])
    return outcome


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
