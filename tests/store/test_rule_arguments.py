"""What a bin must not get: a rule refuses it, or fails, and changes nothing."""

from typing import Any

import pytest
from lupa.lua54 import LuaError

from tests.support.ruled import FROZEN, HASHES, OURS, RETENTION, Ruled, refused

pytestmark = pytest.mark.usefixtures("run_rules")

NO_INTEGERS = [None, 1.0, "1", True, b"1", [1]]
NO_BOOLEANS = [None, 0, 1, "true", []]
REASSIGN = [0, HASHES[0], HASHES[1], 5, b"s", 100, 10]
SET_MINED = [7, 950, 3, 1000, RETENTION, True, False]

HEIGHTED: list[tuple[str, tuple[Any, ...]]] = [
    ("spend", (0, HASHES[0], OURS, False, False)),
    ("spendMulti", ([], False, False)),
    ("unspend", (0, HASHES[0], OURS)),
    ("expirePreservation", ()),
    ("setConflicting", (True,)),
    ("setLocked", (True,)),
    ("setLocked", (False,)),
    ("incrementSpentExtraRecs", (0,)),
]


def frozen() -> Ruled:
    return Ruled(utxos=[HASHES[0] + FROZEN, HASHES[1]])


def refuses(record: Ruled, function: str, *args: Any) -> bool:
    before = record.bins
    return refused(record.call(function, *args), "INVALID_PARAMETER") and record.bins == before


@pytest.mark.parametrize("value", NO_BOOLEANS)
def test_a_flag_is_set_to_a_boolean_only(value: Any) -> None:
    assert refuses(Ruled(), "setConflicting", value, 1000, RETENTION)
    assert refuses(Ruled(), "setLocked", value, 1000, RETENTION)


@pytest.mark.parametrize("value", NO_INTEGERS[1:])
def test_a_lock_seq_is_an_integer(value: Any) -> None:
    assert refuses(Ruled.child(), "setLocked", True, 1000, RETENTION, value)


@pytest.mark.parametrize("value", [*NO_INTEGERS, -1])
@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("unset", [False, True])
def test_a_block_is_told_by_integers(position: int, value: Any, unset: bool) -> None:
    args = [*SET_MINED[:-1], unset]
    args[position] = value
    assert refuses(Ruled.mined(), "setMined", *args)


@pytest.mark.parametrize("value", [*NO_INTEGERS, -1])
def test_a_height_that_is_kept_is_an_integer(value: Any) -> None:
    assert refuses(Ruled(), "preserveUntil", value)
    assert refuses(frozen(), "reassign", *REASSIGN[:5], value, 10)
    assert refuses(frozen(), "reassign", *REASSIGN[:5], 100, value)


@pytest.mark.parametrize("value", NO_INTEGERS)
@pytest.mark.parametrize(("function", "args"), HEIGHTED, ids=str)
def test_what_a_delete_at_height_would_count_from_is_an_integer(
    function: str, args: tuple[Any, ...], value: Any
) -> None:
    for heights in ((value, RETENTION), (1000, value)):
        record = Ruled(spendingHeight=1001 if function.startswith("spend") else None)
        before = record.bins
        with pytest.raises((LuaError, TypeError)):
            record.call(function, *args, *heights)
        assert record.bins == before


@pytest.mark.parametrize("value", [value for value in NO_BOOLEANS if value is not None])
def test_only_true_lets_a_flag_be_ignored(value: Any) -> None:
    for flags in ({"conflicting": True}, {"locked": True}):
        assert Ruled(**flags).spend((0, OURS), ignore=(value, value))["status"] == "ERROR"
        assert Ruled(**flags).spend((0, OURS), ignore=(True, True))["status"] == "OK"


@pytest.mark.parametrize("value", NO_BOOLEANS)
def test_only_true_says_that_a_block_is_unset_or_on_the_longest_chain(value: Any) -> None:
    record = Ruled()
    assert record.call("setMined", *SET_MINED[:-2], value, value)["blockIDs"] == [7]
    assert record["unminedSince"] == 900
