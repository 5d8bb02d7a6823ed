"""What a master knows of its children: how many are fully spent, and whether they are locked as it is.

M has an output on each of its records: the master's is spent, and the last coins of the children are spent and taken
back by several at once, each followed by its note. Notes may be lost, doubled, late and overtaken. What must hold where
nothing is left to do: nobody counts a child that has a live coin; and where nothing was lost, or it was asked for
again, the counter, the delete-at-height and the locks are right.
"""

from collections.abc import Iterator
from typing import Any, Final

from protocol import MinedBlock
from store.layout import Circumstances, Partial, create_records
from store.transaction import Output
from tests.interleavings.actors import Ask, Caller, Told
from tests.interleavings.coins import HIGH, asks
from tests.interleavings.explorer import Held, Model
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
    created = create_records(Partial(M, outputs), Circumstances(100, 0, utxo_batch_size=1, mined=mined)).records
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
    """Spends, or abandons, the coin of a child."""
    utxo = (list(records.values())[child] or {})["utxos"][0]
    return Ask(operation, (((M, child, utxo[:32], spender, 0, HIGH, 0),),))


def locks(value: bool) -> Ask:
    return Ask("set_locked", (((M, value),),))


COUNT_AGAIN: Final = Ask("increment", (((M, 1, HIGH),),))


def ask_again(held: Held, _: dict[str, list[Told]]) -> list[Ask]:
    """Each coin as it is: its spend by who has it, or the taking back; and the lock."""
    records = dict(held)
    asked = []
    for child, bins in enumerate(records.values()):
        if child and bins:
            utxo = bins["utxos"][0]
            operation, spender = ("spend", utxo[32:64]) if len(utxo) > 32 else ("abandon", S)
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
    small, large = transaction(1), transaction(2)
    spends = asks(_spend("spend", small, 1, S))
    takes_back = asks(_spend("abandon", small, 1, S))
    rivals = asks(_spend("spend", small, 1, OTHER))
    flips = asks(_spend("spend", small, 1, S), _spend("abandon", small, 1, S))
    callers = {"A": flips, "B": spends, "C": rivals}
    yield _model("spent, taken back, spent again by others", small, callers)
    yield _model("the same, where it was spent", spent(small, 1), callers)
    asked_again = {"again": ask_again, "at_rest": counts_are_right}
    yield _model(
        "notes lost, late and doubled, then asked again",
        small,
        {"A": flips, "B": rivals},
        faults=2,
        doubles=True,
        in_doubt=True,
        **asked_again,
    )
    yield _model(
        "two at once, a note lost, then asked again",
        spent(small, 1),
        {"A": takes_back, "B": spends, "C": rivals},
        faults=1,
        doubles=True,
        **asked_again,
    )
    first, second = asks(_spend("spend", large, 1, S)), asks(_spend("spend", large, 2, S))
    back = asks(_spend("abandon", large, 1, S), _spend("spend", large, 1, OTHER))
    yield _model("two children", large, {"A": first, "B": second, "C": back})
    yield _model("two children, a note lost", large, {"A": first, "B": back}, faults=1, **asked_again)
    unknown = transaction(1, childStates=None)
    yield _model("another program created it", unknown, {"A": flips, "B": rivals})
    yield _model(
        "another program created it; a recount lost, late and doubled",
        unknown,
        {"A": flips},
        faults=2,
        doubles=True,
        in_doubt=True,
        **asked_again,
    )
    unknown = transaction(2, childStates=None)
    yield _model("another program created two children", unknown, {"A": first, "B": second})
    wrong = transaction(1, spentExtraRecs=1)
    yield _model("another program wrote the counter", wrong, {"A": spends, "B": takes_back}, **asked_again)
    yield _model("counted again meanwhile", small, {"A": flips, "B": asks(COUNT_AGAIN)})
    yield _model(
        "counted again by two", transaction(1, spentExtraRecs=1), {"A": asks(COUNT_AGAIN), "B": spends}, **asked_again
    )
    done = spent(small, 1)
    lock, unlock = asks(locks(True)), asks(locks(False))
    yield _model("locked and unlocked at once", small, {"A": lock, "B": unlock, "C": lock})
    yield _model("a finished one, locked and unlocked at once", done, {"A": lock, "B": unlock})
    yield _model(
        "locks lost and late, then asked again",
        large,
        {"A": lock, "B": asks(locks(False), locks(True))},
        faults=2,
        in_doubt=True,
        again=lock_again,
        at_rest=locks_agree,
    )
    yield _model("locked while it is spent", small, {"A": spends, "B": asks(locks(True), locks(False))})
