import time
from pathlib import Path
from typing import Any

import lmdb
import pytest

from store import Mode, Read, Remove, RuleCall, Status, Store, StoreError, Write, open_store
from store.lmdb.record import Record
from store.lmdb.rules import RULES
from store.lmdb.store import EmbeddedStore
from tests.support.storing import KEY, OTHER, create, read, run, statuses


def test_a_record_whose_time_to_live_has_passed_is_absent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    assert run(store, Write(KEY, {"token": 1}, Mode.CREATE, ttl=30))[0].status is Status.OK
    now += 29
    assert run(store, Write(KEY, {"more": 1}, Mode.CREATE))[0].status is Status.EXISTS
    assert run(store, Write(KEY, {"more": 1}, Mode.UPDATE))[0].status is Status.OK
    now += 1
    assert statuses(run(store, Read(KEY), Remove(KEY), Write(KEY, {}, Mode.UPDATE))) == ["NOT_FOUND"] * 3
    assert run(store, RuleCall(KEY, "setLocked", (True, 0, 288)))[0].value["errorCode"] == "TX_NOT_FOUND"
    assert run(store, Write(KEY, {"token": 2}, Mode.CREATE))[0].status is Status.OK
    now += 1000
    assert read(store) == {"token": 2}


def test_what_can_be_no_record_is_refused_as_that_only_where_there_is_none_yet(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, sync=False, max_record_bytes=1000)
    for bins, status in (({"a": bytes(1000)}, "TOO_BIG"), ({"a": 1 << 64}, "ERROR"), ({"a": 1}, "OK")):
        write = Write(KEY, bins, Mode.CREATE)
        assert statuses(run(store, write)) == [status]
    for bins in ({"a": bytes(1000)}, {"a": 1 << 64}, {"a": 2}):
        assert statuses(run(store, Write(KEY, bins, Mode.CREATE))) == ["EXISTS"]
    assert read(store) == {"a": 1}
    store.close()


@pytest.mark.parametrize("mode", [Mode.UPDATE, Mode.UPSERT])
def test_a_value_that_cannot_be_kept_is_named_and_the_record_stays_as_it_was(store: Store, mode: Mode) -> None:
    before: dict[str, Any] = {"fee": 1, "locked": True, "utxos": [b"h" * 32], "token": 2}
    create(store, **before)
    for name, value in (("fee", "1"), ("utxos", [7]), ("token", 1 << 64)):
        (result,) = run(store, Write(KEY, {"locked": False, name: value}, mode))
        assert (result.status, read(store)) == (Status.ERROR, before)
        assert result.message.startswith(f"a value cannot be stored: {name}: ")


def good(record: Record, *args: Any) -> dict[str, Any]:
    record.bins.spentUtxos = 2
    record.rest["a"] = 2
    record.set_utxo(0, b"x")
    record.is_changed = True
    return {"status": "OK"}


def bad(record: Record, *args: Any) -> dict[str, Any]:
    good(record)
    raise RuntimeError("broken")


def test_a_rule_that_raises_fails_its_record_alone_and_saves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RULES, "good", good)
    monkeypatch.setitem(RULES, "bad", bad)
    before = {"a": 1, "utxos": [b"y"]}
    for key in (KEY, OTHER):
        create(store, key, **before)
    results = run(store, RuleCall(KEY, "bad", ()), RuleCall(KEY, "nosuch", ()), RuleCall(OTHER, "good", ()))
    assert statuses(results) == ["ERROR", "ERROR", "OK"]
    assert [result.message for result in results] == ["bad: broken", "nosuch: there is no such rule", ""]
    assert not results[0].in_doubt
    assert (read(store), read(store, OTHER)) == (before, {"a": 2, "utxos": [b"x"], "spentUtxos": 2})


def test_arguments_that_are_too_many_or_too_few_are_an_error_of_the_call(store: Store) -> None:
    create(store, utxos=[b"h" * 32])
    for args in ((), (0,), (0, b"h" * 32, b"s" * 36, False, False, 1000, 288, 1)):
        (result,) = run(store, RuleCall(KEY, "spend", args))
        assert (result.status, result.message[:7]) == (Status.ERROR, "spend: ")
    assert read(store) == {"utxos": [b"h" * 32]}


def test_a_record_that_would_be_too_big_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, sync=False, max_record_bytes=532)
    create(store, a=b"x" * 400, conflictingCs=[], utxos=[])
    results = run(
        store,
        Write(KEY, {"b": b"x" * 200}, Mode.UPDATE),
        *[RuleCall(KEY, "noteConflicting", (bytes([n]) * 32,)) for n in range(3)],
        Write(OTHER, {"b": b"x" * 600}, Mode.CREATE),
    )
    assert statuses(results) == ["TOO_BIG", "OK", "TOO_BIG", "TOO_BIG", "TOO_BIG"]
    assert read(store) == {"a": b"x" * 400, "conflictingCs": [bytes(32)], "utxos": []}
    assert run(store, Read(OTHER))[0].status is Status.NOT_FOUND
    store.close()


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    for expected in (None, {"a": 1}):
        store = open_store(f"lmdb://{tmp_path}")
        assert read(store) == expected
        run(store, Write(KEY, {"a": 1}, Mode.UPSERT))
        store.close()


def test_a_store_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(f"lmdb://{tmp_path}/file/set")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(f"lmdb://{tmp_path}/set")


def test_a_full_set_refuses_the_batch_and_says_what_to_do(tmp_path: Path) -> None:
    store = open_store(f"lmdb://{tmp_path}?sync=false&map_size=1048576")
    create(store, a=1)
    big = [Write(bytes([n]) * 32, {"a": bytes(100_000)}, Mode.CREATE) for n in range(20)]
    with pytest.raises(StoreError, match="map_size above 1048576") as caught:
        run(store, Write(KEY, {"a": 2}, Mode.UPDATE), *big)
    assert not caught.value.in_doubt
    assert read(store) == {"a": 1}
    assert run(store, Write(KEY, {"a": 3}, Mode.UPDATE))[0].status is Status.OK
    store.close()
    store = open_store(f"lmdb://{tmp_path}?sync=false")
    assert {result.status for result in run(store, *big)} == {Status.OK}
    assert read(store) == {"a": 3}
    store.close()


def test_an_error_after_the_commit_is_in_doubt(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Committing:
        def __init__(self, transaction: Any) -> None:
            self._transaction = transaction

        def __getattr__(self, name: str) -> Any:
            return getattr(self._transaction, name)

        def commit(self) -> None:
            self._transaction.commit()
            raise lmdb.Error("mdb_txn_commit: Input/output error")

    environment = store._environment  # type: ignore[attr-defined]
    begin = environment.begin
    monkeypatch.setattr(environment, "begin", lambda write: Committing(begin(write=write)))
    with pytest.raises(StoreError, match="Input/output error") as caught:
        run(store, Write(KEY, {"a": 1}, Mode.CREATE))
    assert caught.value.in_doubt
    monkeypatch.undo()
    assert read(store) == {"a": 1}


@pytest.mark.parametrize("last", [Read(KEY), Write(KEY, {"late": 1}, Mode.UPSERT)])
def test_a_batch_that_outlasts_its_budget_changes_nothing(store: Store, last: Read | Write) -> None:
    create(store, a=1)
    first = [last] if isinstance(last, Read) else [Write(OTHER, {"b": 1}, Mode.CREATE)]
    with pytest.raises(StoreError, match="the time is up") as caught:
        store.batch_operate(first * 20_000 + [last], 0.005)
    assert not caught.value.in_doubt
    assert read(store) == {"a": 1}
    assert statuses(run(store, Read(OTHER))) == ["NOT_FOUND"]
