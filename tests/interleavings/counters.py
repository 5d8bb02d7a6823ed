"""What a master knows of its children: how many are fully spent, and whether they are locked as it is.

M has an output on each of its records: the master's is spent, and the last coins of the children are spent and taken
back by several at once, each followed by its note. Notes may be lost, doubled, late and overtaken. What must hold where
nothing is left to do: nobody counts a child that has a live coin; and where nothing was lost, or it was asked for
again, the counter, the delete-at-height and the locks are right.
"""

from collections.abc import Iterator
from typing import Any, Final

from protocol import MinedBlock
from protocol.item_flags import MINED_ON_LONGEST_CHAIN
from store.layout import CreationOptions, Partial, create_records
from store.transaction import Output
from tests.interleavings.actors import Ask, Caller, Told
from tests.interleavings.coins import HIGH, asks
from tests.interleavings.models import Held, Model
from tests.simulation.records import Bins
from tests.simulation.replay import RETENTION

M: Final = b"M" * 32
S: Final = b"S" * 32
OTHER: Final = b"O" * 32

Records = dict[bytes, Bins | None]


def transaction(children: int, **master: Any) -> Records:
    """Mined, its first output spent. master: bins that it has instead (None: not at all)."""
    outputs = {vout: Output(1000 + vout, b"\x76\xa9") for vout in range(children + 1)}
    mined = [MinedBlock(1, 100, 0)]
    created = create_records(Partial(M, outputs), CreationOptions(100, 0, utxo_batch_size=1, mined=mined)).records
    records: Records = dict(created)
    first = created[0][1]
    bins = {**first, "utxos": [first["utxos"][0] + OTHER + bytes(4)], "spentUtxos": 1, **master}
    records[M] = {name: value for name, value in bins.items() if value is not None}
    return records


def spent(records: Records, child: int, spender: bytes = S) -> Records:
    """The same, with a child that is spent, and its master that has heard of it."""
    key = list(records)[child]
    bins = dict(records[key] or {})
    bins |= {"utxos": [bins["utxos"][0] + spender + bytes(4)], "spentUtxos": 1, "stateSeq": 1}
    master = dict(records[M] or {})
    states = bytearray(master["childStates"])
    states[2 * child - 2] = 1
    master |= {"childStates": bytes(states), "spentExtraRecs": master["spentExtraRecs"] + 1}
    after = {**records, key: bins | {"lastSpentState": "ALLSPENT"}, M: master}
    if master["spentExtraRecs"] < master["totalExtraRecs"]:
        return after
    return {key: {**(bins or {}), "deleteAtHeight": HIGH + RETENTION} for key, bins in after.items()}


# ---- what is asked


def _spend(operation: str, records: Records, child: int, spender: bytes) -> Ask:
    """Spends the coin of a child, or takes it back."""
    utxo = (list(records.values())[child] or {})["utxos"][0]
    return Ask(operation, (((M, child, utxo[:32], spender, 0, HIGH, 0),),))


def locks(value: bool) -> Ask:
    return Ask("set_locked", (((M, value),),))


MINES: Final = Ask("set_mined", (((M, 2, 150, 0, HIGH, MINED_ON_LONGEST_CHAIN),),))
COUNT_AGAIN: Final = Ask("increment", (((M, 1, HIGH),),))


def ask_again(held: Held, _: dict[str, list[Told]]) -> list[Ask]:
    """Each coin as it is: its spend by who has it, or the taking back; and the lock."""
    records = dict(held)
    asked = []
    for child, bins in enumerate(records.values()):
        if child and bins:
            utxo = bins["utxos"][0]
            operation, spender = ("spend", utxo[32:64]) if len(utxo) > 32 else ("unspend", S)
            asked.append(_spend(operation, records, child, spender))
    return asked


def lock_again(held: Held, _: dict[str, list[Told]]) -> list[Ask]:
    return [locks(bool((held[M] or {})["locked"]))]


# ---- what must hold


def _is_spent(bins: Bins) -> bool:
    return bool(bins["spentUtxos"] == bins["recordUtxos"])


def counts_are_right(held: Held, _: Any, __: Any) -> str | None:
    master, *children = [bins or {} for bins in held.values()]
    alive = sum(not _is_spent(child) for child in children)
    counted, right = master["spentExtraRecs"], len(children) - alive
    if counted != right:
        return f"{counted} children count as spent, where {right} are"
    finished = not alive and _is_spent(master) and not master["locked"]
    if finished != ("deleteAtHeight" in master):
        return "a finished transaction stays for ever" if finished else "what holds a live coin is to be deleted"
    return None


def marks_are_right(held: Held, memory: Any, told: Any) -> str | None:
    """Where nothing was lost the children's delete-at-height is their master's, and their lock too."""
    master, *children = [bins or {} for bins in held.values()]
    height = master.get("deleteAtHeight")
    for child in children:
        # A lock that comes late takes a child's away, after the unlocking that brought it: that harms nobody.
        if child.get("deleteAtHeight") not in (height, None if master.get("lockSeq") else height):
            return f"a child is to be deleted at {child.get('deleteAtHeight')}, its master at {height}"
    return locks_agree(held, memory, told) or counts_are_right(held, memory, told)


def locks_agree(held: Held, _: Any, __: Any) -> str | None:
    master, *children = [bins or {} for bins in held.values()]
    for child in children:
        if child["locked"] != master["locked"]:
            return f"locked: a child {child['locked']}, its master {master['locked']}"
    return None


NAMES: Final = {M: "master", **{M + bytes([n, 0, 0, 0]): f"child {n}" for n in (1, 2)}}


def _model(name: str, records: Records, callers: dict[str, Caller], **options: Any) -> Model:
    return Model(name, records, callers, NAMES, **({"at_rest": marks_are_right} | options))


def models() -> Iterator[Model]:
    yield from _of_notes()
    yield from _of_two_children()
    yield from _of_other_programs()
    yield from _of_locks()


_ASKED_AGAIN: Final[dict[str, Any]] = {"again": ask_again, "at_rest": counts_are_right}
_SMALL: Final = transaction(1)
_LARGE: Final = transaction(2)
_SPENDS: Final = asks(_spend("spend", _SMALL, 1, S))
_TAKES_BACK: Final = asks(_spend("unspend", _SMALL, 1, S))
_RIVALS: Final = asks(_spend("spend", _SMALL, 1, OTHER))
_FLIPS: Final = asks(_spend("spend", _SMALL, 1, S), _spend("unspend", _SMALL, 1, S))
_FIRST: Final = asks(_spend("spend", _LARGE, 1, S))
_SECOND: Final = asks(_spend("spend", _LARGE, 2, S))


def _of_notes() -> Iterator[Model]:
    """One child, spent and taken back by several."""
    callers = {"A": _FLIPS, "B": _SPENDS, "C": _RIVALS}
    yield _model("spent, taken back, spent again by others", _SMALL, callers)
    yield _model("the same, where it was spent", spent(_SMALL, 1), callers)
    yield _model(
        "notes lost, late and doubled, then asked again",
        _SMALL,
        {"A": _FLIPS, "B": _RIVALS},
        faults=2,
        doubles=True,
        in_doubt=True,
        **_ASKED_AGAIN,
    )
    yield _model(
        "two at once, a note lost, then asked again",
        spent(_SMALL, 1),
        {"A": _TAKES_BACK, "B": _SPENDS, "C": _RIVALS},
        faults=1,
        doubles=True,
        **_ASKED_AGAIN,
    )


def _of_two_children() -> Iterator[Model]:
    back = asks(_spend("unspend", _LARGE, 1, S), _spend("spend", _LARGE, 1, OTHER))
    yield _model("two children", _LARGE, {"A": _FIRST, "B": _SECOND, "C": back})
    yield _model("two children, a note lost", _LARGE, {"A": _FIRST, "B": back}, faults=1, **_ASKED_AGAIN)


def _of_other_programs() -> Iterator[Model]:
    """What they leave: no states of the children, or a counter that is wrong; so the children are counted."""
    unknown = transaction(1, childStates=None)
    yield _model("another program created it", unknown, {"A": _FLIPS, "B": _RIVALS})
    yield _model(
        "another program created it; a recount lost, late and doubled",
        unknown,
        {"A": _FLIPS},
        faults=2,
        doubles=True,
        in_doubt=True,
        **_ASKED_AGAIN,
    )
    unknown = transaction(2, childStates=None)
    yield _model("another program created two children", unknown, {"A": _FIRST, "B": _SECOND})
    wrong = transaction(1, spentExtraRecs=1)
    yield _model("another program wrote the counter", wrong, {"A": _SPENDS, "B": _TAKES_BACK}, **_ASKED_AGAIN)
    yield _model("counted again meanwhile", _SMALL, {"A": _FLIPS, "B": asks(COUNT_AGAIN)})
    yield _model("counted again by two", wrong, {"A": asks(COUNT_AGAIN), "B": _SPENDS}, **_ASKED_AGAIN)


def _of_locks() -> Iterator[Model]:
    lock, unlock = asks(locks(True)), asks(locks(False))
    yield _model("locked and unlocked at once", _SMALL, {"A": lock, "B": unlock, "C": lock})
    yield _model("a finished one, locked and unlocked at once", spent(_SMALL, 1), {"A": lock, "B": unlock})
    yield _model(
        "locks lost and late, then asked again",
        _LARGE,
        {"A": lock, "B": asks(locks(False), locks(True))},
        faults=2,
        in_doubt=True,
        again=lock_again,
        at_rest=locks_agree,
    )
    yield _model("locked and mined at once", _SMALL, {"A": lock, "B": asks(MINES), "C": unlock})
    yield _model("a finished one, locked and mined at once", spent(_SMALL, 1), {"A": lock, "B": asks(MINES)})
    yield _model("locked while it is spent", _SMALL, {"A": _SPENDS, "B": asks(locks(True), locks(False))})
