"""A transaction is marked as conflicting: opposite calls at once, spends of its coins meanwhile, and workers that die
in the middle and are asked again.

What must hold where nothing is left to do: every record is marked as its master is; and where nobody takes the mark
back, whoever spends from it is in every answer.
"""

from collections.abc import Iterator
from typing import Any, Final

from protocol import codes
from tests.interleavings.actors import Ask, Caller, Told
from tests.interleavings.coins import HIGH, asks
from tests.interleavings.counters import NAMES, M, Records, transaction
from tests.interleavings.models import Held, Model

_SPENDER: Final = b"S" * 32


def marks(value: bool) -> Ask:
    return Ask("set_conflicting", (((M, value, HIGH),),))


def _spend(records: Records, vout: int) -> Ask:
    utxo = (list(records.values())[vout] or {})["utxos"][0]
    return Ask("spend", (((M, vout, utxo[:32], _SPENDER, vout, HIGH, 0),),))


def unspent(children: int) -> Records:
    """Its master's coin too."""
    records = transaction(children)
    master = dict(records[M] or {})
    return {**records, M: master | {"utxos": [master["utxos"][0][:32]], "spentUtxos": 0}}


def marks_agree(held: Held, _: Any, __: Any) -> str | None:
    master, *children = [bins or {} for bins in held.values()]
    for child in children:
        if child["conflicting"] != master["conflicting"]:
            return f"conflicting: a child {child['conflicting']}, its master {master['conflicting']}"
    return None


def none_is_missing(held: Held, memory: Any, told: dict[str, list[Told]]) -> str | None:
    spenders = {(bins or {})["utxos"][0][32:64] for bins in held.values()} - {b""}
    for each in [each for of_caller in told.values() for each in of_caller if each.ask == marks(True)]:
        for result, error in each.outcomes or ():
            if error is None and {*result[1]} != spenders:
                return f"{len(spenders)} spend from it, and {len(result[1])} were named"
    return marks_agree(held, memory, told)


def ask_again(held: Held, told: dict[str, list[Told]]) -> list[Ask]:
    """Who got no answer."""
    return [
        each.ask
        for of_caller in told.values()
        for each in of_caller
        if any(error is not None and error.executed == codes.UNKNOWN for _, error in each.outcomes or ())
    ]


def _model(name: str, records: Records, *callers: tuple[Ask, ...], **options: Any) -> Model:
    by_name: dict[str, Caller] = {"ABC"[number]: asks(*asked) for number, asked in enumerate(callers)}
    return Model(name, records, by_name, NAMES, **({"at_rest": marks_agree} | options))


def models() -> Iterator[Model]:
    mark, unmark = marks(True), marks(False)
    one, two = unspent(1), unspent(2)
    yield _model("marked and unmarked at once", two, (mark,), (unmark,))
    yield _model("marked and unmarked by three", one, (mark,), (unmark,), (mark,))
    yield _model("marked, unmarked, marked again", one, (mark, unmark), (mark,))
    yield _model("one dies, and is asked again", one, (mark,), (unmark,), faults=2, in_doubt=True, again=ask_again)
    spends = [_spend(one, vout) for vout in (0, 1)]
    yield _model("spent from meanwhile", one, (mark,), *((spend,) for spend in spends), at_rest=none_is_missing)
    yield _model("spent from while two mark it", one, (mark,), (mark,), (spends[1],), at_rest=none_is_missing)
