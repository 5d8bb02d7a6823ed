"""setMined and markLongestChain: which blocks a transaction is in, and whether one of them is on the longest chain."""

import itertools
from typing import Any

import pytest

from tests.support.ruled import HASHES, OURS, RETENTION, Ruled, refused

pytestmark = pytest.mark.usefixtures("run_rules")

SPENT = {"utxos": [HASHES[0] + OURS, HASHES[1] + OURS], "spentUtxos": 2}
CURRENT = 1000


def set_mined(
    record: Ruled,
    height: int = 950,
    block: int = 7,
    longest: bool = True,
    unset: bool = False,
    current: int = CURRENT,
) -> dict[str, Any]:
    return record.call("setMined", block, height, 3, current, RETENTION, longest, unset)


def unset_mined(record: Ruled, block: int = 7, longest: bool = False, current: int = CURRENT) -> dict[str, Any]:
    """longest: whether it still is on the longest chain, by another block."""
    return set_mined(record, block=block, longest=longest, unset=True, current=current)


def in_blocks(*blocks: int, unmined_since: int | None = None, **bins: Any) -> Ruled:
    count = len(blocks)
    lists = {"blockIDs": list(blocks), "blockHeights": [950] * count, "subtreeIdxs": [3] * count}
    return Ruled(**(lists | {"unminedSince": unmined_since} | bins))


def test_a_block_is_added_once() -> None:
    record = Ruled()
    for _ in range(2):
        assert set_mined(record) == {"status": "OK", "blockIDs": [7], "childCount": 0, "lockSeq": 0}
    set_mined(record, block=8, height=951)
    assert (record["blockIDs"], record["blockHeights"], record["subtreeIdxs"]) == ([7, 8], [950, 951], [3, 3])


@pytest.mark.parametrize("unset", [False, True])
def test_what_is_being_created_is_left_alone(unset: bool) -> None:
    record = in_blocks(7, creating=True, locked=True, unmined_since=900, totalExtraRecs=1, external=True)
    before = record.bins
    for block in (7, 8):
        assert refused(set_mined(record, block=block, unset=unset), "CREATING")
    assert record.bins == before


def test_what_is_missing() -> None:
    assert refused(set_mined(Ruled.missing()), "TX_NOT_FOUND")
    assert refused(unset_mined(Ruled.missing()), "TX_NOT_FOUND")


@pytest.mark.parametrize(("longest", "since"), [(True, None), (False, 900)])
def test_a_block_on_the_longest_chain_makes_it_mined_and_another_does_not(longest: bool, since: int | None) -> None:
    record = Ruled()
    set_mined(record, longest=longest)
    assert (record["blockIDs"], record["unminedSince"]) == ([7], since)


def test_a_side_block_leaves_it_mined_where_it_was() -> None:
    record = in_blocks(7)
    set_mined(record, block=8, longest=False)
    assert (record["blockIDs"], record["unminedSince"]) == ([7, 8], None)


def test_the_same_block_again_may_now_be_on_the_longest_chain() -> None:
    record = in_blocks(7, unmined_since=900)
    set_mined(record, longest=True)
    assert (record["blockIDs"], record["unminedSince"]) == ([7], None)


def test_unsetting_removes_the_block_with_its_height_and_subtree() -> None:
    record = Ruled()
    for block, height, subtree in ((7, 950, 1), (8, 951, 2), (9, 952, 3)):
        record.call("setMined", block, height, subtree, CURRENT, RETENTION, True, False)
    result = unset_mined(record, block=8, longest=True)
    assert result == {"status": "OK", "blockIDs": [7, 9], "childCount": 0, "lockSeq": 0}
    assert (record["blockHeights"], record["subtreeIdxs"]) == ([950, 952], [1, 3])


# blocks, unminedSince; the block unset, whether it is still on the longest chain; blocks and unminedSince after it.
UNSET = [
    ("its last block", [7], None, 7, False, [], CURRENT),
    ("its last block, whatever is said of the longest chain", [7], None, 7, True, [], CURRENT),
    ("its last block, of a side chain: the earliest stays", [7], 900, 7, False, [], 900),
    ("one of two, and it is off the longest chain", [7, 8], None, 7, False, [8], CURRENT),
    ("one of two, and the other is on the longest chain", [7, 8], None, 7, True, [8], None),
    ("one of two, neither on the longest chain: the earliest stays", [7, 8], 900, 7, False, [8], 900),
    ("one that it is not in: nothing is known of it", [7], None, 9, False, [7], None),
    ("one that it is not in, and it is in none", [], None, 9, False, [], CURRENT),
    ("one that it is not in, and it is in none: the earliest stays", [], 900, 9, True, [], 900),
]


@pytest.mark.parametrize(
    ("blocks", "since", "unset", "longest", "blocks_after", "since_after"),
    [row[1:] for row in UNSET],
    ids=[row[0] for row in UNSET],
)
def test_unsetting(
    blocks: list[int], since: int | None, unset: int, longest: bool, blocks_after: list[int], since_after: int | None
) -> None:
    record = in_blocks(*blocks, unmined_since=since)
    assert unset_mined(record, block=unset, longest=longest)["blockIDs"] == blocks_after
    assert (record["blockIDs"], record["unminedSince"]) == (blocks_after, since_after)


def test_unsetting_what_was_never_in_a_block() -> None:
    record = Ruled(unminedSince=None)
    assert unset_mined(record) == {"status": "OK", "blockIDs": [], "childCount": 0, "lockSeq": 0}
    assert record["unminedSince"] == CURRENT


def test_unsetting_again_keeps_since_when() -> None:
    record = in_blocks(7)
    unset_mined(record)
    unset_mined(record, current=1005)
    assert record["unminedSince"] == CURRENT


# Reorganisations: what stands at the end, whatever order the calls come in. Block 1 was on the old branch, 2 is on the
# new one. Each call: the block, whether it is set, and what onLongestChain says once all of it is over.
REORGANISATIONS = [
    ("in both, to the new branch", [1, 2], None, [(1, False, True), (2, True, True)], [2], True),
    ("in both, the old block invalidated only", [1, 2], None, [(1, False, True)], [2], True),
    ("in the old one only", [1], None, [(1, False, False)], [], False),
    ("in the old one, mined again in the new one", [1], None, [(1, False, True), (2, True, True)], [2], True),
    ("in both, the side block invalidated", [1, 2], None, [(2, False, True)], [1], True),
    ("in two side blocks, one of them invalidated", [1, 2], 5, [(1, False, False)], [2], False),
    ("in both, the new one of a side chain", [1], None, [(1, False, False), (2, True, False)], [2], False),
]


@pytest.mark.parametrize(
    ("blocks", "since", "calls", "blocks_after", "is_mined"),
    [row[1:] for row in REORGANISATIONS],
    ids=[row[0] for row in REORGANISATIONS],
)
def test_a_reorganisation_ends_alike_in_every_order_and_when_asked_again(
    blocks: list[int], since: int | None, calls: list[tuple[int, bool, bool]], blocks_after: list[int], is_mined: bool
) -> None:
    for order in itertools.chain(itertools.permutations(calls), itertools.permutations(calls * 2)):
        record = in_blocks(*blocks, unmined_since=since, **SPENT)
        for block, is_set, longest in order:
            set_mined(record, block=block, longest=longest, unset=not is_set)
        assert (record["blockIDs"], record["unminedSince"] is None) == (blocks_after, is_mined), order
        assert (record["deleteAtHeight"] is not None) == is_mined, order


def test_it_counts_from_the_mined_blocks_height() -> None:
    for current in (900, 5000):
        record = Ruled(**SPENT)
        set_mined(record, height=950, current=current)
        assert record["deleteAtHeight"] == 950 + RETENTION
        set_mined(record, height=960, block=8, current=current)
        assert record["deleteAtHeight"] == 960 + RETENTION
        set_mined(record, height=940, block=9, current=current)
        assert record["deleteAtHeight"] == 960 + RETENTION


def test_being_unmined_takes_the_delete_at_height_away() -> None:
    record = in_blocks(7, **SPENT, external=True, totalExtraRecs=1, spentExtraRecs=1, deleteAtHeight=1238)
    result = unset_mined(record)
    assert result == {"status": "OK", "blockIDs": [], "childCount": 1, "lockSeq": 0, "signal": "DAHUNSET"}
    assert record["deleteAtHeight"] is None


def test_it_tells_the_children_of_the_delete_at_height() -> None:
    record = Ruled(**SPENT, external=True, totalExtraRecs=1, spentExtraRecs=1)
    result = set_mined(record)
    assert result == {"status": "OK", "blockIDs": [7], "childCount": 1, "lockSeq": 1, "signal": "DAHSET"}


def test_setting_unlocks_and_unsetting_leaves_the_lock_as_it_is() -> None:
    for locked in (True, False):
        record = in_blocks(7, locked=locked, lockSeq=4)
        assert unset_mined(record)["lockSeq"] == 4
        assert (record["locked"], record["lockSeq"]) == (locked, 4)
    record = Ruled(**SPENT, locked=True)
    set_mined(record, longest=True)
    assert (record["locked"], record["deleteAtHeight"]) == (False, 950 + RETENTION)
    on_a_side_chain = Ruled(locked=True)
    set_mined(on_a_side_chain, longest=False)
    assert on_a_side_chain["locked"] is False


# markLongestChain: for a reorganisation that moves a transaction's blocks off the longest chain, or onto it.


def mark(record: Ruled, longest: Any, current: Any = CURRENT, retention: int = RETENTION) -> dict[str, Any]:
    return record.call("markLongestChain", longest, current, retention)


def test_off_the_longest_chain_the_earliest_height_stays() -> None:
    record = in_blocks(7, **SPENT, external=True, totalExtraRecs=1, spentExtraRecs=1, deleteAtHeight=1238)
    assert mark(record, False) == {"status": "OK", "signal": "DAHUNSET", "childCount": 1}
    assert (record["unminedSince"], record["deleteAtHeight"], record["blockIDs"]) == (CURRENT, None, [7])
    assert mark(record, False, current=1005) == {"status": "OK", "childCount": 1}
    assert record["unminedSince"] == CURRENT


def test_on_the_longest_chain_it_is_mined_again_and_counts_from_now() -> None:
    record = in_blocks(7, unmined_since=900, **SPENT, external=True, totalExtraRecs=1, spentExtraRecs=1)
    assert mark(record, True) == {"status": "OK", "signal": "DAHSET", "childCount": 1}
    assert (record["unminedSince"], record["deleteAtHeight"]) == (None, CURRENT + RETENTION)
    assert mark(record, True) == {"status": "OK", "childCount": 1}


def test_what_is_in_no_block_is_not_on_the_longest_chain() -> None:
    for blocks in (None, []):
        record = Ruled(blockIDs=blocks)
        before = record.bins
        assert refused(mark(record, True), "INVALID_PARAMETER")
        assert record.bins == before
        assert mark(record, False) == {"status": "OK", "childCount": 0}
        assert record["unminedSince"] == 900


def test_a_lock_stays_and_what_it_counts_from_is_kept() -> None:
    record = in_blocks(7, unmined_since=900, **SPENT, locked=True, lockSeq=4)
    mark(record, True)
    assert (record["locked"], record["lockSeq"], record["unminedSince"]) == (True, 4, None)
    assert record["deleteAtHeight"] is None
    record.lock(False, current=0)
    assert record["deleteAtHeight"] == CURRENT + RETENTION


def test_what_is_being_created_is_marked_all_the_same() -> None:
    """The chain has changed, and what finishes the creation leaves the mark as it is."""
    record = in_blocks(7, creating=True, locked=True, totalExtraRecs=1, external=True)
    assert mark(record, False) == {"status": "OK", "childCount": 1}
    assert (record["unminedSince"], record["creating"], record["locked"]) == (CURRENT, True, True)
    assert mark(record, True) == {"status": "OK", "childCount": 1}
    assert record["unminedSince"] is None


def test_a_malformed_mark_is_refused() -> None:
    for longest, current in ((None, CURRENT), (1, CURRENT), (False, -1), (True, 1.0), (False, None)):
        record = in_blocks(7)
        before = record.bins
        assert refused(mark(record, longest, current), "INVALID_PARAMETER")
        assert record.bins == before


@pytest.mark.parametrize(
    ("blocks", "since", "calls", "blocks_after", "is_mined"),
    [row[1:] for row in REORGANISATIONS],
    ids=[row[0] for row in REORGANISATIONS],
)
def test_a_reorganisation_told_by_marks_ends_as_one_told_by_blocks(
    blocks: list[int], since: int | None, calls: list[tuple[int, bool, bool]], blocks_after: list[int], is_mined: bool
) -> None:
    """Whatever the blocks said meanwhile: the last word counts."""
    record = in_blocks(*blocks, unmined_since=since, **SPENT)
    for block, is_set, longest in calls:
        set_mined(record, block=block, longest=not longest, unset=not is_set)
    mark(record, is_mined)
    assert (record["blockIDs"], record["unminedSince"] is None) == (blocks_after, is_mined)
    assert (record["deleteAtHeight"] is not None) == is_mined
