"""Records of a batch that bear the same group number are applied together or not at all, in the embedded store."""

import tempfile
import time
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import Mode, Read, RecordOperation, Remove, Result, RuleCall, Status, Store, Write
from store.lmdb.store import EmbeddedStore
from tests.support.storing import BUDGET, KEY, OTHER, create, read, run, statuses

THIRD = b"t" * 32
UPDATE, CREATE, UPSERT = Mode.UPDATE, Mode.CREATE, Mode.UPSERT


def add(key: bytes, delta: int, group: int | None = None) -> RuleCall:
    """A rule that refuses where the number would not be between 0 and totalExtraRecs."""
    return RuleCall(key, "incrementSpentExtraRecs", (delta, 1000, 288), group)


def test_a_group_of_which_all_is_well_is_applied(store: Store) -> None:
    create(store, totalExtraRecs=3, spentExtraRecs=0)
    results = run(store, add(KEY, 1, 1), Write(OTHER, {"a": 1}, CREATE, group=1), add(KEY, 1, 1))
    assert statuses(results) == ["OK"] * 3
    assert (read(store)["spentExtraRecs"], read(store, OTHER)) == (2, {"a": 1})


def test_a_refused_record_takes_back_what_was_done_before_it_and_what_is_done_after(store: Store) -> None:
    create(store, totalExtraRecs=2, spentExtraRecs=0)
    results = run(
        store,
        add(KEY, 1, 7),
        Write(OTHER, {"a": 1}, CREATE, group=7),
        add(KEY, 5, 7),
        add(KEY, 1, 7),
        Write(OTHER, {"b": 1}, UPDATE, group=7),
    )
    assert [result.key for result in results] == [KEY, OTHER, KEY, KEY, OTHER]
    assert statuses(results) == ["OK"] * 5
    answers = [results[index].value["status"] for index in (0, 2, 3)]
    assert answers == ["OK", "ERROR", "OK"]  # the last one in the state that the first one had made
    assert read(store) == {"totalExtraRecs": 2, "spentExtraRecs": 0}
    assert run(store, Read(OTHER))[0].status is Status.NOT_FOUND


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (Write(KEY, {"a": 9}, CREATE, group=1), "EXISTS"),
        (Write(THIRD, {"a": 9}, UPDATE, group=1), "NOT_FOUND"),
        (Write(KEY, {"a": 9}, UPDATE, {"a": 5}, group=1), "CONDITION_FALSE"),
        (Write(KEY, {"a": bytes(2000)}, UPDATE, group=1), "TOO_BIG"),
        (Write(KEY, {"a": 1 << 64}, UPDATE, group=1), "ERROR"),
        (Write(b"short", {"a": 1}, UPSERT, group=1), "ERROR"),
        (RuleCall(KEY, "nosuch", (), 1), "ERROR"),
        (RuleCall(THIRD, "setLocked", (True, 1000, 288), 1), "OK"),
    ],
)
def test_whatever_refuses_one_refuses_all(tmp_path: Path, refused: RecordOperation, status: str) -> None:
    store = EmbeddedStore(tmp_path, sync=False, max_record_bytes=1000)
    create(store, a=1)
    create(store, OTHER, a=1)
    own: list[RecordOperation] = [Write(OTHER, {"a": 2}, UPDATE, group=1), Write(KEY, {"a": 2}, UPDATE, group=1)]
    for batch in ([*own, refused], [refused, *own], [own[0], refused, own[1]]):
        assert sorted(statuses(run(store, *batch))) == sorted([status, "OK", "OK"])
        assert (read(store), read(store, OTHER)) == ({"a": 1}, {"a": 1})
    store.close()


def test_a_refused_group_harms_no_other_and_nothing_that_has_none(store: Store) -> None:
    for key in (KEY, OTHER, THIRD):
        create(store, key, totalExtraRecs=9, spentExtraRecs=0)
    run(
        store,
        add(KEY, 1),
        add(KEY, 1, 1),
        add(OTHER, 1, 1),
        add(OTHER, 100, 2),
        add(KEY, 1, 2),
        add(THIRD, 1, 3),
        add(KEY, 1),
        Read(KEY),
        add(KEY, 1, 2),
        Remove(THIRD),
    )
    assert (read(store)["spentExtraRecs"], read(store, OTHER)["spentExtraRecs"]) == (4, 1)
    assert run(store, Read(THIRD))[0].status is Status.NOT_FOUND


def test_a_read_between_operations_of_a_group_ends_it(store: Store) -> None:
    create(store, totalExtraRecs=9, spentExtraRecs=0)
    results = run(store, add(KEY, 1, 1), Read(KEY, ["spentExtraRecs"]), add(KEY, 1, 1), add(KEY, 100, 1))
    assert results[1].value == {"spentExtraRecs": 1}
    assert read(store)["spentExtraRecs"] == 1


@pytest.mark.parametrize("others", [0, 1])
def test_a_rule_that_would_apply_a_part_applies_nothing_in_a_group(store: Store, others: int) -> None:
    """Of spendMulti what is good is applied otherwise, also where it is the only one of its group."""
    spends = [
        {"idx": offset, "offset": offset, "utxoHash": b"h" * 32, "spendingData": b"s" * 36} for offset in range(2)
    ]
    utxos = [b"h" * 32, b"H" * 32]
    for key in (KEY, OTHER):
        create(store, key, utxos=utxos, recordUtxos=2, spentUtxos=0, totalExtraRecs=0)
    args = (spends, False, False, 1000, 288)
    results = run(store, RuleCall(KEY, "spendMulti", args, 1), *[add(THIRD, 1, 1)] * others)
    assert (results[0].value["status"], results[0].value["applied"]) == ("ERROR", [0])
    run(store, RuleCall(OTHER, "spendMulti", args))
    assert (read(store)["utxos"], read(store)["spentUtxos"]) == (utxos, 0)
    assert (read(store, OTHER)["utxos"], read(store, OTHER)["spentUtxos"]) == ([b"h" * 32 + b"s" * 36, b"H" * 32], 1)


def test_what_was_put_back_has_its_time_to_live_as_before(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    run(store, Write(KEY, {"a": 1}, CREATE, ttl=30))
    run(store, Write(KEY, {"a": 2}, UPDATE, ttl=1000, group=1), Write(OTHER, {}, UPDATE, group=1))
    now += 29
    assert read(store) == {"a": 1}
    now += 1
    run(store, Write(KEY, {"a": 2}, CREATE, group=1), Write(OTHER, {}, UPDATE, group=1))
    assert run(store, Read(KEY))[0].status is Status.NOT_FOUND


def test_what_an_atomic_store_has_put_back_is_not_seen_after_opening_again(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    run(store, Write(KEY, {"a": 1}, CREATE, group=1), Write(OTHER, {}, UPDATE, group=1))
    store.close()
    store = EmbeddedStore(tmp_path)
    assert run(store, Read(KEY))[0].status is Status.NOT_FOUND
    store.close()


KEYS = [KEY, OTHER, THIRD]
operations = st.one_of(
    st.builds(add, st.sampled_from(KEYS), st.sampled_from([-1, 1, 1, 2]), st.sampled_from([None, 1, 2])),
    st.builds(
        Write,
        st.sampled_from(KEYS),
        st.sampled_from([{"totalExtraRecs": 2, "spentExtraRecs": 0}, {"spentExtraRecs": 1}, {"a": None}]),
        st.sampled_from(Mode),
        group=st.sampled_from([None, 1, 2]),
    ),
    st.builds(Remove, st.sampled_from(KEYS)),
)


def is_well(result: Result) -> bool:
    return result.status is Status.OK and (result.value is None or result.value["status"] == "OK")


@settings(max_examples=300, deadline=None)
@given(st.lists(operations, max_size=12))
def test_a_batch_leaves_what_it_would_leave_without_its_refused_groups(batch: list[RecordOperation]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        grouped = EmbeddedStore(Path(directory) / "grouped", sync=False)
        plain = EmbeddedStore(Path(directory) / "plain", sync=False)
        answers = zip(batch, grouped.batch_operate(batch, BUDGET), strict=True)
        kept: list[RecordOperation] = []
        for number, run_of in groupby(answers, lambda pair: getattr(pair[0], "group", None)):
            group = list(run_of)
            if number is None or all(is_well(result) for _, result in group):
                kept += [operation for operation, _ in group]
        plain.batch_operate(kept, BUDGET)
        reads = [Read(key) for key in KEYS]
        assert grouped.batch_operate(reads, BUDGET) == plain.batch_operate(reads, BUDGET)
        grouped.close()
        plain.close()
