import time
from pathlib import Path
from typing import Any

import lmdb
import pytest

from store import Call, Mode, Read, Record, Remove, Result, Status, Store, StoreError, Write, open_store
from store.embedded import EmbeddedStore
from store.emulation import Rules

KEY, OTHER = b"k" * 32, b"o" * 32
BUDGET = 5.0


def run(store: Store, *records: Record) -> list[Result]:
    return store.batch_operate(records, BUDGET)


def create(store: Store, key: bytes = KEY, **bins: Any) -> None:
    assert run(store, Write(key, bins, Mode.CREATE))[0].status is Status.OK


def read(store: Store, key: bytes = KEY) -> Any:
    return run(store, Read(key))[0].value


def statuses(results: list[Result]) -> list[str]:
    return [result.status.value for result in results]


def test_a_record_is_created_read_changed_and_removed(store: Store) -> None:
    assert run(store, Read(KEY))[0].status is Status.NOT_FOUND
    create(store, a=1, utxos=[b"x", None], outputs=[b"o"])
    assert read(store) == {"a": 1, "utxos": [b"x", None], "outputs": [b"o"]}
    assert run(store, Write(KEY, {"a": None, "b": 2.0, "outputs": None}, Mode.UPDATE))[0].status is Status.OK
    assert read(store) == {"b": 2.0, "utxos": [b"x", None]}
    assert statuses(run(store, Remove(KEY), Remove(KEY), Read(KEY))) == ["OK", "NOT_FOUND", "NOT_FOUND"]


def test_a_read_of_named_bins_gives_those_that_exist(store: Store) -> None:
    create(store, a=1, b=None, utxos=[b"x"])
    for names, expected in (
        (["a", "b", "c"], {"a": 1}),
        (["utxos", "outputs"], {"utxos": [b"x"]}),
        (["utxos", "a"], {"utxos": [b"x"], "a": 1}),
        ([], {}),
    ):
        assert run(store, Read(KEY, names))[0].value == expected


def test_modes(store: Store) -> None:
    assert run(store, Write(KEY, {"a": 1}, Mode.UPDATE))[0].status is Status.NOT_FOUND
    assert run(store, Write(KEY, {"a": 1}, Mode.UPSERT))[0].status is Status.OK
    assert run(store, Write(KEY, {"a": 2}, Mode.CREATE))[0].status is Status.EXISTS
    assert run(store, Write(KEY, {"b": 2}, Mode.UPSERT))[0].status is Status.OK
    assert read(store) == {"a": 1, "b": 2}


def test_conditions(store: Store) -> None:
    create(store, token=b"mine", creating=True)
    for condition, status in (
        ({"token": b"theirs"}, Status.CONDITION_FALSE),
        ({"token": b"mine", "creating": None}, Status.CONDITION_FALSE),
        ({"token": b"mine", "locked": None}, Status.OK),
    ):
        assert run(store, Write(KEY, {"creating": True}, Mode.UPDATE, condition))[0].status is status
    assert run(store, Remove(KEY, {"token": b"theirs"}))[0].status is Status.CONDITION_FALSE
    assert run(store, Remove(KEY, {"token": b"mine"}))[0].status is Status.OK
    assert run(store, Write(KEY, {"a": 1}, Mode.UPSERT, {"token": b"mine"}))[0].status is Status.CONDITION_FALSE


def test_a_record_whose_time_to_live_has_passed_is_absent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    assert run(store, Write(KEY, {"token": 1}, Mode.CREATE, ttl=30))[0].status is Status.OK
    now += 29
    assert run(store, Write(KEY, {"more": 1}, Mode.CREATE))[0].status is Status.EXISTS
    assert run(store, Write(KEY, {"more": 1}, Mode.UPDATE))[0].status is Status.OK
    now += 1
    assert statuses(run(store, Read(KEY), Remove(KEY), Write(KEY, {}, Mode.UPDATE))) == ["NOT_FOUND"] * 3
    assert run(store, Call(KEY, "setLocked", (True,)))[0].value["errorCode"] == "TX_NOT_FOUND"
    assert run(store, Write(KEY, {"token": 2}, Mode.CREATE))[0].status is Status.OK
    now += 1000
    assert read(store) == {"token": 2}


def test_a_batch_sees_its_own_writes_and_answers_in_order(store: Store) -> None:
    results = run(
        store,
        Read(KEY),
        Write(KEY, {"totalExtraRecs": 2, "spentExtraRecs": 0}, Mode.CREATE),
        Call(KEY, "incrementSpentExtraRecs", (1, 1000, 288)),
        Read(KEY, ["spentExtraRecs"]),
        Call(OTHER, "setLocked", (True,)),
    )
    assert statuses(results) == ["NOT_FOUND", "OK", "OK", "OK", "OK"]
    assert [result.key for result in results] == [KEY, KEY, KEY, KEY, OTHER]
    assert results[2].value == {"status": "OK", "childCount": 2}
    assert results[3].value == {"spentExtraRecs": 1}
    assert results[4].value["errorCode"] == "TX_NOT_FOUND"
    assert run(store, Read(OTHER))[0].status is Status.NOT_FOUND


def test_a_rule_leaves_the_bins_it_does_not_touch(store: Store) -> None:
    bins: dict[str, Any] = {
        "utxos": [b"h" * 32],
        "inputs": [b"i"],
        "outputs": [b"o"],
        "totalExtraRecs": 0,
        "x": {"y": [1.5, None]},
    }
    create(store, **bins)
    run(store, Call(KEY, "setLocked", (True,)))
    assert read(store) == bins | {"locked": True}


def test_a_rule_that_raises_fails_its_record_alone_and_saves_nothing(store: Store) -> None:
    store._rules = Rules(  # type: ignore[attr-defined]
        b"function good(rec) rec['a'] = 2; aerospike:update(rec); return map() end\n"
        b"function bad(rec) good(rec); error('broken') end"
    )
    create(store, a=1)
    create(store, OTHER, a=1)
    bad, missing, good = run(store, Call(KEY, "bad", ()), Call(KEY, "nosuch", ()), Call(OTHER, "good", ()))
    assert (bad.status, missing.status, good.status) == (Status.ERROR, Status.ERROR, Status.OK)
    assert not bad.in_doubt
    assert "broken" in bad.message
    assert "nosuch" in missing.message
    assert (read(store), read(store, OTHER)) == ({"a": 1}, {"a": 2})


def test_what_cannot_be_stored_fails_its_record_alone(store: Store) -> None:
    results = run(
        store,
        Write(KEY, {"a": 1 << 64}, Mode.CREATE),
        Write(KEY, {"a": object()}, Mode.CREATE),  # type: ignore[dict-item]
        Write(KEY, {"sixteen letters!": 1}, Mode.CREATE),
        Call(KEY, "setLocked", (1 << 64,)),
        Write(OTHER, {"a": 1}, Mode.CREATE),
    )
    assert statuses(results) == ["ERROR", "ERROR", "ERROR", "ERROR", "OK"]
    assert run(store, Read(KEY))[0].status is Status.NOT_FOUND


@pytest.mark.parametrize("key", [b"", b"settings", KEY[:31], KEY + b"12345", b"k" * 600, "k" * 32, None])
def test_a_bad_key_fails_its_record_alone(store: Store, key: Any) -> None:
    bad: list[Record] = [Read(key), Write(key, {"a": 1}, Mode.UPSERT), Remove(key), Call(key, "setLocked", (True,))]
    results = run(store, *bad, Write(KEY, {"a": 1}, Mode.CREATE))
    assert statuses(results) == ["ERROR"] * 4 + ["OK"]
    assert "key" in results[0].message
    assert statuses(run(store, Read(key), Read(KEY))) == ["ERROR", "OK"]


def test_a_record_that_would_be_too_big_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, sync=False, max_record_bytes=500)
    create(store, a=b"x" * 400, conflictingCs=[], utxos=[])
    results = run(
        store,
        Write(KEY, {"b": b"x" * 200}, Mode.UPDATE),
        *[Call(KEY, "noteConflicting", (bytes([n]) * 32,)) for n in range(3)],
        Write(OTHER, {"b": b"x" * 500}, Mode.CREATE),
    )
    assert statuses(results) == ["TOO_BIG", "OK", "TOO_BIG", "TOO_BIG", "TOO_BIG"]
    assert read(store) == {"a": b"x" * 400, "conflictingCs": [bytes(32)], "utxos": []}
    assert run(store, Read(OTHER))[0].status is Status.NOT_FOUND
    store.close()


def test_the_limit_of_a_record_is_1_mib_by_default(store: Store) -> None:
    assert run(store, Write(KEY, {"a": bytes(1 << 20)}, Mode.CREATE))[0].status is Status.TOO_BIG
    assert run(store, Write(KEY, {"a": bytes((1 << 20) - 100)}, Mode.CREATE))[0].status is Status.OK


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    for expected in (None, {"a": 1}):
        store = open_store(f"lmdb://{tmp_path}")
        assert read(store) == expected
        run(store, Write(KEY, {"a": 1}, Mode.UPSERT))
        store.close()


def test_utxo_batch_size_is_fixed_for_the_life_of_a_set(tmp_path: Path) -> None:
    open_store(f"lmdb://{tmp_path}?utxo_batch_size=4").close()
    store = open_store(f"lmdb://{tmp_path}")
    assert store.utxo_batch_size == 4
    store.close()
    with pytest.raises(StoreError, match="made with utxo_batch_size=4, which cannot be changed to 128"):
        open_store(f"lmdb://{tmp_path}?utxo_batch_size=128")
    open_store(f"lmdb://{tmp_path}").close()


def test_a_set_of_another_layout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.embedded.LAYOUT_VERSION", 2)
    open_store(f"lmdb://{tmp_path}").close()
    monkeypatch.undo()
    with pytest.raises(StoreError, match="its layout has version 2, this program's 1"):
        open_store(f"lmdb://{tmp_path}")


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

    class Environment:
        def begin(self, write: bool = False) -> Any:
            return Committing(real.begin(write=True)) if write else real.begin()

    real = store._environment  # type: ignore[attr-defined]
    monkeypatch.setattr(store, "_environment", Environment())
    with pytest.raises(StoreError, match="Input/output error") as caught:
        run(store, Write(KEY, {"a": 1}, Mode.CREATE))
    assert caught.value.in_doubt
    monkeypatch.undo()
    assert read(store) == {"a": 1}


def test_a_rule_finds_every_bin_wherever_it_is_kept(store: Store) -> None:
    store._rules = Rules(  # type: ignore[attr-defined]
        b"function read(rec, name) local m = map(); m['found'] = rec[name]; return m end\n"
        b"function assign(rec, name, value) rec[name] = value; aerospike:update(rec); return map() end"
    )
    bins: dict[str, Any] = {
        "txID": KEY,
        "version": 1,
        "fee": -5,
        "locked": True,
        "createdAt": 1 << 40,
        "utxos": [b"x"],
        "outputs": [],
    }
    create(store, **bins)
    for name in (*bins, "locktime", "inputs", "nosuch"):
        assert run(store, Call(KEY, "read", (name,)))[0].value == {"found": bins.get(name)}
    for name, value in (("version", None), ("locktime", 7), ("outputs", None), ("locked", None), ("nosuch", [1])):
        run(store, Call(KEY, "assign", (name, value)))
        bins[name] = value
    assert read(store) == {name: value for name, value in bins.items() if value is not None}
