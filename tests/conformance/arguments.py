"""What rules are called with: for each parameter a pool of values, good ones and bad ones, the usual one first.

Not among them is what Lua makes something of that no rule means, and no caller can send: numbers as text, integers
whose sums have more than 63 bits, and text, bytes or a list where a spend should stand in its list."""

from collections.abc import Iterator, Sequence
from itertools import product
from random import Random
from typing import Any, Final

from tests.conformance import combining
from tests.conformance.implementations import Arguments, Bins
from tests.conformance.records import FROZEN, HASHES, HEIGHT, OURS, OURS_TOO, RETENTION, THEIRS, around

Pool = Sequence[Any]

_NO_BYTES: Final[Pool] = [None, 7, True, "x" * 32, [1], {}]
_NO_INDEX: Final = [None, -1, 1.0, True, "x", b"\0", [0]]
_NO_HEIGHT: Final = [None, 1.5, float(HEIGHT), True, "x", b"\0", -1]
_HUGE: Final = [2**32 - 2, 2**32 - 1, 2**32, 2**53]
_FLAG: Final = [False, True, None, 0, 1, ""]

_HASH: Final = [HASHES[0], HASHES[1], HASHES[2], HASHES[0][:31], HASHES[0] + b"x", b"", *_NO_BYTES]
_SPENDER: Final = [OURS, THEIRS, OURS_TOO, FROZEN, OURS[:35], OURS + b"x", b"", *_NO_BYTES]


def a_spend(idx: Any, offset: Any, utxo_hash: Any, spender: Any) -> dict[str, Any]:
    return {"idx": idx, "offset": offset, "utxoHash": utxo_hash, "spendingData": spender}


def spend_lists(parts: Sequence[tuple[int, bytes, bytes]], *counts: int) -> list[list[dict[str, Any]]]:
    """All lists of so many of these spends: offset, hash, spender. Idx from 5 on."""
    return [
        [a_spend(5 + at, *part) for at, part in enumerate(chosen)]
        for count in counts
        for chosen in product(parts, repeat=count)
    ]


GOOD_SPENDS: Final = [(offset, HASHES[offset], spender) for offset in range(4) for spender in (OURS, THEIRS)]
SPENDS: Final = [*GOOD_SPENDS, (0, HASHES[1], OURS)]
_GOOD: Final = a_spend(3, 0, HASHES[0], OURS)
_BAD_SPENDS: Final = [
    *(_GOOD | {name: value} for name in ("offset", "idx") for value in _NO_INDEX),
    *(
        _GOOD | {name: value}
        for name, pool in (("utxoHash", _HASH[3:]), ("spendingData", _SPENDER[3:]))
        for value in pool
    ),
    *({key: value for key, value in _GOOD.items() if key != name} for name in _GOOD),
    *(_GOOD | {"offset": offset} for offset in _HUGE),
    _GOOD | {"idx": 2**53},
    {},
    None,
    7,
]
_OTHER: Final = a_spend(4, 1, HASHES[1], THEIRS)
MIXED_SPENDS: Final[list[Any]] = [
    *([bad] for bad in _BAD_SPENDS),
    *([_OTHER, bad] for bad in _BAD_SPENDS),
    *([bad, _OTHER, _GOOD] for bad in _BAD_SPENDS),
    *([bad, {}] for bad in _BAD_SPENDS),
    [_OTHER | {"idx": 3}, _GOOD],
    [_GOOD, a_spend(3, 0, HASHES[0], THEIRS), a_spend(0, 1, HASHES[1], OURS)],
    [a_spend(2, 0, HASHES[0], THEIRS), a_spend(1, 1, HASHES[0], OURS), a_spend(0, 0, HASHES[0], OURS)],
]

_SEQS: Final = [1, 0, 2, 3, 32767, 32768, 32769, 65535, 65536, 65537, 2**32]
_NOTES: Final[list[Any]] = [
    [[1, 1]],
    [],
    *([[index, seq]] for index in (1, 2) for seq in _SEQS),
    *([[1, one], [2, other]] for one in _SEQS for other in _SEQS),
    *([[1, one], [1, other]] for one in _SEQS[:4] for other in _SEQS[:4]),
    [[2, 1], [1, 1], [1, 2]],
    [[1, 1], [2, 1], [3, 1]],
    [[3, 1]],
    [[0, 1]],
    *([[index, 1]] for index in _NO_INDEX),
    *([[1, 1], [2, seq]] for seq in _NO_INDEX),
    [[1]],
    [[1, 1, 7]],
    [[]],
    [None],
    [7],
    [[1, 1], None, [9, 9]],
    None,
    7,
    {},
]

PRUNED_SPENDERS: Final = [OURS[:32], THEIRS[:32], FROZEN[:32]]
MARKS: Final = [(offset, spender) for offset in range(3) for spender in PRUNED_SPENDERS]
_MARK_LISTS: Final[list[Any]] = [
    [[0, OURS[:32]]],
    *([[*mark] for mark in marks] for count in (0, 1, 2) for marks in product(MARKS, repeat=count)),
    *([[0, OURS[:32]], [offset, THEIRS[:32]]] for offset in (*_NO_INDEX, *_HUGE)),
    *([[0, OURS[:32]], [1, spender]] for spender in (OURS, OURS[:31], b"", *_NO_BYTES)),
    [[-1, None]],
    [[0]],
    [[0, OURS[:32], 7]],
    [[]],
    [None],
    [7],
    [[0, OURS[:32]], None, [-1, b""]],
    None,
    7,
    {},
]

POOLS: Final[dict[str, Pool]] = {
    "offset": [0, 1, 2, 3, *_NO_INDEX, *_HUGE],
    "utxoHash": _HASH,
    "newUtxoHash": [HASHES[4], *_HASH[3:]],
    "spendingData": _SPENDER,
    "childTxid": [OURS[:32], HASHES[0], HASHES[1], *_HASH[3:]],
    "ignoreConflicting": _FLAG,
    "ignoreLocked": _FLAG,
    "spends": [[_GOOD], [], [_OTHER, _GOOD], *MIXED_SPENDS, None, 7, b"", {}],
    "currentBlockHeight": [HEIGHT, HEIGHT - 1, HEIGHT + 1, 0, *_NO_HEIGHT, *_HUGE],
    "blockHeightRetention": [RETENTION, 0, 288, *_NO_HEIGHT, *_HUGE[1:]],
    "life": [0, 1, 2, 3, *_NO_INDEX],
    "lifeOrNone": [None, 0, 1, 2, 3, *_NO_INDEX],
    "blockID": [7, 8, 9, 0, 2**32 - 1, *_NO_INDEX],
    "blockHeight": [HEIGHT - 5, *around(HEIGHT), 0, *_NO_HEIGHT, *_HUGE[1:]],
    "subtreeIdx": [0, 1, 2**32 - 1, *_NO_INDEX],
    "onLongestChain": _FLAG,
    "unsetMined": _FLAG,
    "satoshis": [700, 0, 2**53, *_NO_INDEX],
    "script": [b"script", b"", b"s" * 300, *_NO_BYTES],
    "spendableAfter": [0, 1, 7, *_NO_HEIGHT],
    "value": [True, False, None, 1],
    "lockSeq": [None, 0, 1, 2, 3, 4, 65535, 65536, *_NO_HEIGHT],
    "delta": [1, 0, 2, 3, -1, -2, -3, *_NO_INDEX, 2**53],
    "notes": _NOTES,
    "marks": _MARK_LISTS,
}

_TARGET: Final = ("offset", "utxoHash")
_AT: Final = ("currentBlockHeight", "blockHeightRetention")
_IGNORE: Final = ("ignoreConflicting", "ignoreLocked")
PARAMETERS: Final[dict[str, Sequence[str]]] = {
    "spend": (*_TARGET, "spendingData", *_IGNORE, *_AT),
    "spendMulti": ("spends", *_IGNORE, *_AT),
    "unspend": (*_TARGET, "spendingData", *_AT, "lifeOrNone"),
    "release": (*_TARGET, "spendingData", *_AT, "life"),
    "setMined": ("blockID", "blockHeight", "subtreeIdx", *_AT, "onLongestChain", "unsetMined"),
    "markLongestChain": ("onLongestChain", *_AT),
    "freeze": _TARGET,
    "unfreeze": _TARGET,
    "reassign": (*_TARGET, "newUtxoHash", "satoshis", "script", "blockHeight", "spendableAfter"),
    "setConflicting": ("value", *_AT),
    "noteConflicting": ("childTxid",),
    "preserveUntil": ("blockHeight",),
    "expirePreservation": _AT,
    "setLocked": ("value", *_AT, "lockSeq"),
    "incrementSpentExtraRecs": ("delta", *_AT),
    "tellState": _AT,
    "noteChild": ("notes", *_AT),
    "addDeletedChildren": ("marks",),
}


def pools(function: str) -> list[Pool]:
    return [POOLS[name] for name in PARAMETERS[function]]


def paired(function: str) -> list[Arguments]:
    """Every two values of two parameters, the others as they usually are."""
    return list(combining.paired(pools(function)))


def chosen(function: str, **values: Pool) -> list[Arguments]:
    """Each of these values with each of the others'; the parameters that are not named have their usual one."""
    return list(product(*(values.get(name, POOLS[name][:1]) for name in PARAMETERS[function])))


def drawn(function: str, random: Random, bins: Bins | None, usual: float = 0.6) -> Arguments:
    """Mostly about an output as it is, with heights near each other. usual: the probability of a parameter's usual
    value."""
    args = dict(zip(PARAMETERS[function], combining.drawn(pools(function), random, usual), strict=True))
    utxos = (bins or {}).get("utxos") or ()
    if "offset" in args and utxos and random.random() < 0.8:
        args["offset"] = random.randrange(len(utxos))
        args["utxoHash"] = _hash_at(utxos, args["offset"])
    if "spends" in args and utxos and random.random() < 0.8:
        args["spends"] = list(_drawn_spends(random, utxos))
    return tuple(args.values())


def _hash_at(utxos: Sequence[bytes | None], offset: int) -> bytes:
    return (utxos[offset] or HASHES[0])[:32]


def _drawn_spends(random: Random, utxos: Sequence[bytes | None]) -> Iterator[dict[str, Any]]:
    for idx in range(random.randrange(4)):
        offset = random.randrange(len(utxos))
        yield a_spend(idx, offset, _hash_at(utxos, offset), random.choice([OURS, OURS, OURS_TOO, THEIRS]))
