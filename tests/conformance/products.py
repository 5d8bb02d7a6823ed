"""For each rule, the records and the arguments that are crossed: each of the one with each of the other.

The whole product of all that a record may be and all that a rule may be called with is too large. So for each rule
- crossed in full: what it looks at together, as the flags that refuse a spend, or all that is known of one output;
- in pairs: every two things that a record may be, and every two arguments, with all others as they usually are;
- in full for a few rules that reach it each in its own way: what decides over the delete-at-height, or a child's state;
- drawn, by a seed: everything with everything; so are histories (histories.py).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import count, product
from math import isqrt
from random import Random
from typing import Final, NamedTuple

from tests.conformance import arguments, records
from tests.conformance.arguments import chosen
from tests.conformance.implementations import Arguments, Bins
from tests.conformance.records import (
    BLOCKS,
    CHILD,
    CHILD_STATES,
    CONFLICTING,
    COUNTS,
    CREATING,
    DELETE_AT,
    EXTERNAL,
    FLAGS,
    HASHES,
    HEIGHT,
    HOLDERS,
    JOINED,
    KINDS,
    LAST_STATE,
    LOCK_HEIGHT,
    LOCK_SEQ,
    LOCKED,
    MASTER,
    MISSING,
    NEARLY,
    ODD_BLOCKS,
    OTHERS,
    OUR_OUTPUT,
    OURS,
    OURS_TOO,
    OUTPUTS,
    PRESERVED,
    PRUNED,
    RETENTION,
    SPENDABLE_IN,
    SPENDING_HEIGHT,
    SPENT,
    STATE_SEQ,
    THEIRS,
    UNMINED,
    UNSPENT,
    Dimension,
    States,
    around,
    crossed,
    merge,
)


class Product(NamedTuple):
    """records: made anew each time, there are many."""

    function: str
    name: str
    records: Callable[[], Iterable[States | Bins | None]]
    arguments: Sequence[Arguments]

    def size(self) -> int:
        """How many cases."""
        return sum(1 for _ in self.records()) * len(self.arguments)

    def step(self, cases: int) -> int:
        """Of about so many cases at equal distances: a prime number, so that no argument is always left out."""
        step = self.size() // cases
        return next(filter(self._is_free, count(step))) if step > 1 else 1

    def _is_free(self, step: int) -> bool:
        return all(step % divisor for divisor in range(2, isqrt(step) + 1)) and len(self.arguments) % step != 0

    def parts(self, step: int = 1, start: int = 0) -> Iterator[tuple[Bins | None, Sequence[Arguments]]]:
        """Every step-th case: a record, and what is called on it."""
        at = -start
        for record in self.records():
            some = self.arguments[-at % step :: step]
            at += len(self.arguments)
            if some:
                yield merge(record) if isinstance(record, tuple) else record, some


BOTH: Final = [False, True]
RETENTIONS: Final = [0, RETENTION]
TARGETS: Final = [(0, HASHES[0]), (1, HASHES[1]), (0, HASHES[2]), (2, HASHES[2]), (2**32 - 1, HASHES[0])]
SPENDERS: Final = [OURS, OURS_TOO, THEIRS]


def _at_targets(function: str, **values: arguments.Pool) -> list[Arguments]:
    """As chosen, about each of the targets: an offset with its hash."""
    return [(*target, *args[2:]) for target in TARGETS for args in chosen(function, **values)]


# What decides over a master's delete-at-height, and over the state of a child.
MASTER_CONCLUSION: Final[Sequence[Dimension]] = [
    [SPENT, EXTERNAL, NEARLY, MASTER, {"totalExtraRecs": 0}], COUNTS[:3], BLOCKS, UNMINED[:2], LOCKED, LOCK_HEIGHT[1:],
    PRESERVED[:2], DELETE_AT, CONFLICTING,
]  # fmt: skip
CHILD_CONCLUSION: Final[Sequence[Dimension]] = [
    [CHILD, {"external": True}], COUNTS, STATE_SEQ, LAST_STATE, LOCKED, CONFLICTING, PRESERVED[:2], LOCK_HEIGHT[:2],
]  # fmt: skip
OUTPUT: Final[Sequence[Dimension]] = [KINDS, HOLDERS, PRUNED, JOINED]
WHOLE: Final = [HOLDERS[0]]  # where the outputs do not matter

# One call of each rule that ends with the rule of the delete-at-height and else changes nothing of what that looks at,
# and what it changes of it.
_CONCLUDING: Final[dict[str, list[Arguments]]] = {
    "spend": chosen(
        "spend", spendingData=[OURS], ignoreConflicting=[True], ignoreLocked=[True], blockHeightRetention=RETENTIONS
    ),
    "spendMulti": chosen(
        "spendMulti", spends=[[]], ignoreConflicting=[True], ignoreLocked=[True], blockHeightRetention=RETENTIONS
    ),
    "unspend": chosen("unspend", blockHeightRetention=RETENTIONS),
    "release": chosen("release", blockHeightRetention=RETENTIONS, life=[0, 5]),
    "setMined": chosen(
        "setMined", blockID=[7, 9], blockHeightRetention=RETENTIONS, onLongestChain=BOTH, unsetMined=BOTH
    ),
    "markLongestChain": chosen("markLongestChain", onLongestChain=BOTH, blockHeightRetention=RETENTIONS),
    "expirePreservation": chosen("expirePreservation", blockHeightRetention=RETENTIONS),
    "setConflicting": chosen("setConflicting", value=BOTH, blockHeightRetention=RETENTIONS),
    "setLocked": chosen("setLocked", value=BOTH, blockHeightRetention=RETENTIONS),
    "incrementSpentExtraRecs": chosen("incrementSpentExtraRecs", delta=[0, 1], blockHeightRetention=RETENTIONS),
    "tellState": chosen("tellState", blockHeightRetention=RETENTIONS),
    "noteChild": chosen("noteChild", notes=[[[1, 1], [2, 1]], [[1, 5]]], blockHeightRetention=RETENTIONS),
}


def _of_conclusions() -> Iterator[Product]:
    for function, args in _CONCLUDING.items():
        yield Product(function, "conclusion", lambda: records.paired(HOLDERS[:4], *records.CONCLUSION), args)
        small = _small(function, args)
        yield Product(function, "small", lambda: crossed([HOLDERS[0]], *records.SMALL), small)
        if function != "tellState":
            yield Product(function, "master", lambda: crossed(WHOLE, *MASTER_CONCLUSION), args)
        if function not in ("incrementSpentExtraRecs", "noteChild"):
            yield Product(function, "child", lambda: crossed(WHOLE, *CHILD_CONCLUSION), args)


def _small(function: str, args: Sequence[Arguments]) -> list[Arguments]:
    """With heights near 0 in place of theirs."""
    at = [arguments.PARAMETERS[function].index(name) for name in ("currentBlockHeight", "blockHeightRetention")]
    heights = [*product([-5, -1, 0, 1, 2], [0, 1]), (1.5, 1), (1, 1.5)]
    some = [each for each in args if each[at[1]] == RETENTION]
    return [(*each[: at[0]], *chosen_heights, *each[at[1] + 1 :]) for each in some for chosen_heights in heights]


def _of_spending() -> Iterator[Product]:
    gate = [KINDS, *FLAGS, SPENDING_HEIGHT, [*HOLDERS[:4], {"utxos": None}]]
    spends = chosen("spend", ignoreConflicting=BOTH, ignoreLocked=BOTH)
    yield Product("spend", "gate", lambda: crossed(*gate), spends)
    yield Product("spend", "height", lambda: crossed(SPENDING_HEIGHT, SPENDABLE_IN, HOLDERS), _heights("spend"))
    yield Product(
        "spend", "output", lambda: crossed(*OUTPUT, SPENDABLE_IN), _at_targets("spend", spendingData=SPENDERS)
    )
    two = [arguments.a_spend(5, 0, HASHES[0], OURS), arguments.a_spend(6, 1, HASHES[1], THEIRS)]
    lists = chosen("spendMulti", spends=[[], two, two[::-1]], ignoreConflicting=BOTH, ignoreLocked=BOTH)
    yield Product("spendMulti", "gate", lambda: crossed(*gate), lists)
    few = records.all_outputs(OUTPUTS, 0, 1, 2)
    up_to_two = chosen("spendMulti", spends=arguments.spend_lists(arguments.SPENDS, 0, 1, 2))
    yield Product("spendMulti", "outputs", lambda: crossed(few, KINDS), up_to_two)
    three = records.all_outputs(records.FEW_OUTPUTS, 3)
    of_three = chosen("spendMulti", spends=arguments.spend_lists(arguments.SPENDS, 0, 1, 2, 3))
    yield Product("spendMulti", "three outputs", lambda: crossed(three, [NEARLY]), of_three)
    mixed = chosen("spendMulti", spends=arguments.MIXED_SPENDS)
    yield Product("spendMulti", "malformed", lambda: [None, *crossed(records.all_outputs(OUTPUTS, 0, 1, 2))], mixed)


def _heights(function: str) -> list[Arguments]:
    return chosen(function, currentBlockHeight=around(HEIGHT))


def _of_giving_back() -> Iterator[Product]:
    unspends = _at_targets("unspend", spendingData=SPENDERS, lifeOrNone=[None, 0, 1, 1.0])
    yield Product("unspend", "output", lambda: crossed(*OUTPUT), unspends)
    held = [{**HOLDERS[1], "joined": {0: [0, 1]}}]
    of_held = chosen("release", currentBlockHeight=around(HEIGHT), blockHeightRetention=RETENTIONS)
    yield Product("release", "held", lambda: records.paired(held, *MASTER_CONCLUSION), of_held)
    releases = _at_targets("release", spendingData=SPENDERS, life=[0, 1, 1.0, 2])
    yield Product("release", "output", lambda: crossed(*OUTPUT), releases)
    few = records.all_outputs(OUTPUTS, 1, 2)
    yield Product("unspend", "outputs", lambda: crossed(few, KINDS, STATE_SEQ[:3]), unspends)
    yield Product("release", "outputs", lambda: crossed(few, KINDS, STATE_SEQ[:3]), releases)
    of_any_life = [args[:-1] for args in unspends if args[-1] is None]
    yield Product("unspend", "any life", lambda: crossed(few, KINDS, STATE_SEQ[:1]), of_any_life)


def _of_blocks() -> Iterator[Product]:
    blocks = [*BLOCKS, *ODD_BLOCKS]
    both = chosen(
        "setMined",
        blockID=[7, 8, 9],
        blockHeight=[HEIGHT - 5, HEIGHT, HEIGHT + 2],
        blockHeightRetention=RETENTIONS,
        onLongestChain=BOTH,
        unsetMined=BOTH,
    )
    flags = [[MASTER, SPENT, CHILD, {"totalExtraRecs": 1}], COUNTS[2:3], CREATING, LOCKED]
    yield Product(
        "setMined", "blocks", lambda: crossed(WHOLE, *flags, blocks, UNMINED[:2], LOCK_HEIGHT, LOCK_SEQ[:3]), both
    )
    marks = chosen(
        "markLongestChain",
        onLongestChain=[*BOTH, None, 1],
        currentBlockHeight=[*around(HEIGHT), -1, 1.0],
        blockHeightRetention=RETENTIONS,
    )
    yield Product("markLongestChain", "blocks", lambda: crossed(WHOLE, *flags, blocks, UNMINED, DELETE_AT), marks)


def _of_alerts() -> Iterator[Product]:
    alerts = [KINDS, HOLDERS, PRUNED[:3], JOINED[:4], records.REASSIGNED]
    for function in ("freeze", "unfreeze"):
        yield Product(function, "output", lambda: crossed(*alerts), _at_targets(function))
    some = _at_targets(
        "reassign", newUtxoHash=[HASHES[4]], satoshis=[0, 700], spendableAfter=[0, 7], script=[b"", b"script"]
    )
    yield Product("reassign", "output", lambda: crossed(*alerts), some)
    frozen, scripts = HOLDERS[4], [b"s" * size for size in (65279, 65280, 65281, 65408, 65409)]
    earlier = [
        [],
        *([{"script": b"s" * size}] for size in (0, 1, 65280, 65281)),
        [{"script": b"s" * 100}, {"offset": 1}],
        [{"offset": 1}],
    ]
    large = chosen("reassign", script=[b"", b"s", *scripts])
    yield Product("reassign", "room", lambda: crossed([frozen], [{"reassignments": each} for each in earlier]), large)


def _of_flags() -> Iterator[Product]:
    heights = [records.ALL_KINDS, [*BLOCKS, *ODD_BLOCKS], UNMINED[::3], LOCK_HEIGHT, DELETE_AT[::2], CONFLICTING]
    locks = chosen("setLocked", value=BOTH, blockHeightRetention=RETENTIONS, lockSeq=[None, 3, 4])
    locks += [args[:3] for args in locks[::3]]  # without a lockSeq
    yield Product("setLocked", "heights", lambda: crossed(COUNTS[2:3], *heights), locks)
    seqs = chosen("setLocked", value=BOTH, lockSeq=[None, 0, 1, 2, 3, 4, 65535, 65536])
    yield Product("setLocked", "lockSeq", lambda: crossed(COUNTS[:3], KINDS, LOCK_SEQ, LOCKED, CONFLICTING), seqs)
    kept = [records.ALL_KINDS, PRESERVED, DELETE_AT, LOCKED, CONFLICTING]
    yield Product("preserveUntil", "heights", lambda: crossed(*kept), [(0,), (HEIGHT,), (HEIGHT + 5,)])
    expiries = chosen("expirePreservation", currentBlockHeight=[*around(HEIGHT), 1.5], blockHeightRetention=RETENTIONS)
    done = [COUNTS[:3], [BLOCKS[0], BLOCKS[2]], UNMINED[:2]]
    yield Product("expirePreservation", "heights", lambda: crossed(*kept, *done), expiries)
    noted = [*arguments.chosen("noteConflicting", childTxid=arguments.POOLS["childTxid"])]
    yield Product("noteConflicting", "children", lambda: map(records.merge, _conflicting_children()), noted)


def _conflicting_children() -> Iterator[list[records.State]]:
    many = [bytes([n >> 8, n & 255]) * 16 for n in range(1001)]
    lists = [
        None,
        [],
        [OURS[:32]],
        [HASHES[0], OURS[:32]],
        [b"short"],
        [b""],
        many[:999],
        many[:1000],
        many,
        [*many[:999], OURS[:32]],
    ]
    for each in lists:
        for more in (None, 0, 5):
            for kind in KINDS:
                yield [kind, {"conflictingCs": each, "conflictingMore": more}]


def _of_counting() -> Iterator[Product]:
    deltas = chosen("incrementSpentExtraRecs", delta=range(-4, 5), blockHeightRetention=RETENTIONS)
    counted = [
        records.ALL_KINDS,
        COUNTS[:3],
        records.CHILD_COUNTER,
        [{"childStates": None}, *CHILD_STATES],
        BLOCKS[1:3],
        DELETE_AT[:3],
    ]
    yield Product("incrementSpentExtraRecs", "counter", lambda: crossed(*counted), deltas)
    notes = chosen("noteChild", notes=arguments.POOLS["notes"])
    yield Product("noteChild", "states", _of_children, notes)
    yield Product("noteChild", "delete-at-height", lambda: crossed(*counted), notes)


def _of_pruning() -> Iterator[Product]:
    marks = chosen("addDeletedChildren", marks=arguments.POOLS["marks"])
    few = records.all_outputs(OUTPUTS, 0, 1, 2)
    yield Product("addDeletedChildren", "outputs", lambda: crossed(few, KINDS[::2]), marks)
    yield Product("addDeletedChildren", "holders", lambda: crossed(HOLDERS, PRUNED), marks)


def _of_children() -> Iterator[States]:
    """Masters of one to three children, with what they have heard of each."""
    seqs = [b"\0\0", b"\1\0", b"\2\0", b"\xff\x7f", b"\xff\xff"]
    heard = [b"", *seqs, *(one + other for one in seqs for other in seqs), b"\1\0\1\0\1\0"]
    states = [{"childStates": each + more} for each in heard for more in (b"", b"\0", b"\0\0\0")]
    done = [{"recordUtxos": 1, "spentUtxos": 1}, BLOCKS[2]]
    totals = [{"totalExtraRecs": total} for total in (0, 1, 2, 3)]
    return crossed(
        *([each] for each in done),
        totals,
        [{"childStates": None}, *states],
        records.CHILD_COUNTER,
        [{}, {"external": True}],
    )


def _of_everything() -> Iterator[Product]:
    """Every rule: all pairs of arguments on a few records, a few arguments on all pairs of what a record may be."""
    random = Random(0)
    for function in arguments.PARAMETERS:
        pairs = arguments.paired(function)
        yield Product(function, "missing", lambda: MISSING, pairs)
        yield Product(function, "arguments", _a_few, pairs)
        usual = _CONCLUDING.get(function) or chosen(function)
        yield Product(function, "records", lambda: records.paired(*records.EVERYTHING), usual)
        yield Product(function, "drawn", _drawn, [arguments.drawn(function, random, None) for _ in range(40)])


@cache
def _drawn() -> list[Bins]:
    random = Random(0)
    return [records.drawn(random) for _ in range(2000)]


def _a_few() -> Iterator[Bins]:
    plain = records.outputs(UNSPENT, OUR_OUTPUT)
    for kind in (MASTER, CHILD, SPENT):
        for holder in (HOLDERS[0], HOLDERS[1], HOLDERS[4]):
            yield merge([plain, holder, kind, OTHERS[1]])
    yield merge([MASTER, HOLDERS[1], {"creating": True, "locked": True, "lockHeight": 5}])
    yield merge([HOLDERS[1], {"spendingHeight": HEIGHT + 1, "conflicting": True, "lockSeq": 3}])
    yield {}
    yield {"recordUtxos": 0, "spentUtxos": 0}


@cache
def all_products() -> tuple[Product, ...]:
    """Those first that tell much with few cases."""
    return (
        *_of_everything(),
        *_of_spending(),
        *_of_giving_back(),
        *_of_blocks(),
        *_of_alerts(),
        *_of_flags(),
        *_of_counting(),
        *_of_pruning(),
        *_of_conclusions(),
    )
