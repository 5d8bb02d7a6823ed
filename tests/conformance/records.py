"""Records, out of dimensions. A dimension is one thing that a record may be in several states of, each written as the
bins that it has then (None: no such bin); its first state is the usual one. HEIGHT is the height that rules are called
at."""

from collections.abc import Iterator, Sequence
from itertools import product
from random import Random
from typing import Any, Final, NamedTuple

from tests.conformance import combining
from tests.conformance.implementations import Bins

HEIGHT: Final = 1000
RETENTION: Final = 10
HASHES: Final = [bytes([index + 1]) * 32 for index in range(5)]
OURS: Final = b"\x0a" * 32 + b"\1\0\0\0"
OURS_TOO: Final = b"\x0a" * 32 + b"\2\0\0\0"  # another input of the same transaction
THEIRS: Final = b"\x0b" * 31 + b"\x0c" + b"\2\1\0\x80"
FROZEN: Final = b"\xff" * 36
OUR_MARK: Final = "0a" * 32
THEIR_MARK: Final = "0c" + "0b" * 31

State = dict[str, Any]
Dimension = Sequence[State]
# One state of each dimension: a record, once it is merged, which most of what is crossed never is.
States = tuple[State, ...]


def around(height: int) -> range:
    return range(height - 1, height + 2)


def states(name: str, *values: Any) -> list[State]:
    """Of one bin, which usually is not there."""
    return [{}, *({name: value} for value in values)]


def flag(name: str) -> Dimension:
    return states(name, False, True)


# What bars a creation has no bin of a transaction, as its txID, and is none.
ABANDONED: Final[Dimension] = [
    {},
    *({"abandoned": value} for value in (True, False)),
    {"txID": bytes(range(32))},
    {"abandoned": True, "txID": bytes(range(32))},
]
MISSING: Final[list[Bins | None]] = [None, {"abandoned": True}]

# What kind of record: a master without children, with two (none of them spent, one, all), and a child.
MASTER: Final[State] = {"totalExtraRecs": 0, "spentExtraRecs": 0}
EXTERNAL: Final[State] = {"totalExtraRecs": 2, "spentExtraRecs": 0, "external": True, "childStates": bytes(4)}
NEARLY: Final[State] = EXTERNAL | {"spentExtraRecs": 1, "childStates": b"\0\0\1\0"}
SPENT: Final[State] = EXTERNAL | {"spentExtraRecs": 2, "childStates": b"\1\0\3\0"}
CHILD: Final[State] = {}
KINDS: Final[Dimension] = [MASTER, EXTERNAL, CHILD]
ALL_KINDS: Final[Dimension] = [
    *KINDS,
    NEARLY,
    SPENT,
    MASTER | {"external": True},
    MASTER | {"external": False},
    SPENT | {"external": None},
    {"totalExtraRecs": 0},
    {"totalExtraRecs": 1},
    {"totalExtraRecs": 2},
    {"external": True},
]
CREATING: Final[Dimension] = flag("creating")
CONFLICTING: Final[Dimension] = flag("conflicting")
LOCKED: Final[Dimension] = flag("locked")
FLAGS: Final[Sequence[Dimension]] = [CREATING, CONFLICTING, LOCKED]
SPENDING_HEIGHT: Final[Dimension] = states("spendingHeight", *around(HEIGHT))
LOCK_HEIGHT: Final[Dimension] = states("lockHeight", 0, *around(HEIGHT))
UNMINED: Final[Dimension] = states("unminedSince", *around(HEIGHT))
PRESERVED: Final[Dimension] = states("preserveUntil", 0, *around(HEIGHT))
DELETE_AT: Final[Dimension] = states("deleteAtHeight", HEIGHT, *around(HEIGHT + RETENTION))
LOCK_SEQ: Final[Dimension] = states("lockSeq", 0, 3, 65535)
BLOCKS: Final[Dimension] = [
    {},
    {"blockIDs": [], "blockHeights": [], "subtreeIdxs": []},
    {"blockIDs": [7], "blockHeights": [HEIGHT - 5], "subtreeIdxs": [0]},
    {"blockIDs": [7, 8], "blockHeights": [HEIGHT + 1, HEIGHT - 5], "subtreeIdxs": [0, 3]},
]
# Near 0, where a bin that is not there and one that is 0 could be told apart.
SMALL: Final[Sequence[Dimension]] = [
    [MASTER, SPENT, {"totalExtraRecs": 0}, {"totalExtraRecs": 1}, CHILD],
    [{"recordUtxos": 1, "spentUtxos": 1}, {"recordUtxos": 1, "spentUtxos": 0}],
    [{}, {"blockIDs": [7], "blockHeights": [0], "subtreeIdxs": [0]}],
    states("lockHeight", 0, 2),
    states("deleteAtHeight", 0, 1),
    states("unminedSince", 0),
    LOCKED,
    CONFLICTING,
]
# As another program may have left them.
ODD_BLOCKS: Final[Dimension] = [
    {"blockIDs": [7]},
    {"blockHeights": [HEIGHT + 2]},
    {"blockIDs": [7, 7], "blockHeights": [3, 4], "subtreeIdxs": [5, 6]},
    {"blockIDs": [8, 7, 9], "blockHeights": [3, 4, HEIGHT + 3], "subtreeIdxs": [5]},
]
# How many of the record's own outputs are spent.
COUNTS: Final[Dimension] = [
    {"recordUtxos": 2, "spentUtxos": 0},
    {"recordUtxos": 2, "spentUtxos": 1},
    {"recordUtxos": 2, "spentUtxos": 2},
    {"recordUtxos": 0, "spentUtxos": 0},
    {"recordUtxos": 1, "spentUtxos": 2},
    {"recordUtxos": None, "spentUtxos": 1},
    {"recordUtxos": 1, "spentUtxos": None},
    {"recordUtxos": None, "spentUtxos": None},
]
STATE_SEQ: Final[Dimension] = states("stateSeq", 0, 1, 2, 3, 65535, 65536)
LAST_STATE: Final[Dimension] = states("lastSpentState", "ALLSPENT", "NOTALLSPENT")
CHILD_COUNTER: Final[Dimension] = states("spentExtraRecs", 0, 1, 2, 3)
CHILD_STATES: Final[Dimension] = [
    {},
    *({"childStates": value} for value in (b"", bytes(4), b"\1\0\2\0", bytes(5), bytes(3))),
]
CONFLICTING_CHILDREN: Final[Dimension] = states("conflictingCs", [], [OURS[:32]], [HASHES[0], OURS[:32]])
REASSIGNED: Final[Dimension] = [
    {},
    {"reassignments": [], "reassigned": {}, "utxoSpendableIn": {}},
    {
        "reassignments": [{"offset": 0, "script": b"before"}, {"offset": 1}],
        "reassigned": {0: [1, b"before"], 1: [2, b""]},
        "utxoSpendableIn": {0: HEIGHT + 1, 1: HEIGHT},
    },
]
# What no rule looks at.
OTHERS: Final[Dimension] = [
    {},
    {
        "version": 0xFFFFFFFF, "locktime": 0, "fee": -5, "sizeInBytes": 3, "extendedSize": 4,
        "isCoinbase": True, "totalUtxos": 9, "createdAt": 1 << 41, "inputs": [b"input", b""],
        "outputs": [b"output", None], "pruneTry": 1, "pruning": True, "another": {"k": [1.5, "text"]},
    },
]  # fmt: skip


class Output(NamedTuple):
    """utxo: what stands in the list, after the hash of its place; None: it is no UTXO. pruned: marks in
    deletedChildren."""

    holder: bytes | None
    joined: tuple[int, int] | None = None
    spendable_in: int | None = None
    pruned: Sequence[str] = ()


# The states of one output.
UNSPENT: Final = Output(b"")
OUR_OUTPUT: Final = Output(OURS)
OUTPUTS: Final = [
    UNSPENT,
    OUR_OUTPUT,
    Output(THEIRS),
    Output(FROZEN),
    Output(None),
    Output(b"", joined=(0, 1)),
    Output(b"", joined=(1, 0)),
    Output(OURS, joined=(0, 1)),
    Output(OURS, joined=(1, 0)),
    Output(OURS, joined=(2, 1)),
    Output(b"", pruned=[OUR_MARK]),
    Output(OURS, pruned=[OUR_MARK]),
    Output(THEIRS, pruned=[THEIR_MARK]),
    Output(b"", spendable_in=HEIGHT - 1),
    Output(b"", spendable_in=HEIGHT),
    Output(b"", spendable_in=HEIGHT + 1),
    Output(OURS, spendable_in=HEIGHT + 1),
    Output(b"x"),
]
FEW_OUTPUTS: Final = [
    UNSPENT,
    OUR_OUTPUT,
    Output(THEIRS),
    Output(FROZEN),
    Output(None),
    OUTPUTS[9],
    OUTPUTS[12],
    OUTPUTS[15],
]


def outputs(*each: Output) -> State:
    """The bins that tell of a record's outputs."""
    bins: State = {
        "utxos": [None if output.holder is None else HASHES[at] + output.holder for at, output in enumerate(each)],
        "recordUtxos": sum(output.holder is not None for output in each),
        "spentUtxos": sum(output.holder not in (None, b"", FROZEN) for output in each),
        "joined": {at: list(output.joined) for at, output in enumerate(each) if output.joined},
        "utxoSpendableIn": {at: output.spendable_in for at, output in enumerate(each) if output.spendable_in},
        "deletedChildren": {mark: True for output in each for mark in output.pruned},
    }
    return {name: value for name, value in bins.items() if value != {}}


def all_outputs(kinds: Sequence[Output], *counts: int) -> list[State]:
    """Every record of so many outputs."""
    return [outputs(*each) for count in counts for each in product(kinds, repeat=count)]


# What is there of one output, one thing beside the other; the other is spent, so that a spend of this one is the last.
HOLDERS: Final[Dimension] = [
    {"utxos": [utxo, HASHES[1] + THEIRS], "recordUtxos": 2, "spentUtxos": spent}
    for utxo, spent in [
        (HASHES[0], 1),
        (HASHES[0] + OURS, 2),
        (HASHES[0] + OURS_TOO, 2),
        (HASHES[0] + THEIRS, 2),
        (HASHES[0] + FROZEN, 1),
        (None, 1),
        (b"", 1),
        (HASHES[0][:31], 1),
        (HASHES[0] + b"x", 1),
        (HASHES[0] + OURS[:35], 1),
        (HASHES[2], 1),
        (HASHES[2] + OURS, 1),
    ]
] + [{"utxos": None}, {"utxos": []}]
SPENDABLE_IN: Final[Dimension] = states(
    "utxoSpendableIn", {}, {1: HEIGHT + 1}, *({0: height} for height in around(HEIGHT))
)
PRUNED: Final[Dimension] = states(
    "deletedChildren", {}, {THEIR_MARK: True}, {OUR_MARK: True}, {OUR_MARK: False, THEIR_MARK: 1}
)
JOINED: Final[Dimension] = states(
    "joined", {}, {1: [3, 2]}, {0: [0, 0]}, {0: [0, 1]}, {0: [1, 0]}, {0: [2, 1], 1: [1, 1]}
)

# All that the rule of the delete-at-height looks at.
CONCLUSION: Final[Sequence[Dimension]] = [
    ALL_KINDS, COUNTS, BLOCKS, UNMINED, LOCKED, LOCK_HEIGHT, PRESERVED, DELETE_AT, CONFLICTING, STATE_SEQ, LAST_STATE,
]  # fmt: skip
EVERYTHING: Final[Sequence[Dimension]] = [
    ALL_KINDS, HOLDERS, CREATING, CONFLICTING, LOCKED, SPENDING_HEIGHT, [*BLOCKS, *ODD_BLOCKS], UNMINED, LOCK_HEIGHT,
    PRESERVED, DELETE_AT, LOCK_SEQ, STATE_SEQ, LAST_STATE, CHILD_STATES, CONFLICTING_CHILDREN, REASSIGNED, SPENDABLE_IN,
    PRUNED, JOINED, ABANDONED, OTHERS, [{}, *COUNTS],
]  # fmt: skip


def merge(each: Sequence[State]) -> Bins:
    bins: Bins = {}
    for state in each:
        bins.update(state)
    return {name: value for name, value in bins.items() if value is not None}


def crossed(*dimensions: Dimension) -> Iterator[States]:
    """Every state of each with every state of the others."""
    return product(*dimensions)


def paired(*dimensions: Dimension) -> Iterator[States]:
    """Every two states of two dimensions, the others as they usually are."""
    return combining.paired(dimensions)


def drawn(random: Random) -> Bins:
    """Of all dimensions, half of them as they usually are."""
    return merge(combining.drawn(EVERYTHING, random, 0.5))
