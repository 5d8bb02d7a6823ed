import json
import os
import threading
import time
from pathlib import Path, PosixPath
from typing import Any

import pytest

from store import Mode, Read, RecordOperation, RuleCall, Status, Store, StoreError, Write, open_store
from store.faulty import FaultyStore, FileFaults
from tests.support.patience import SOON
from tests.support.wrapped import Wrapped

KEYS = [bytes([n]) * 32 for n in range(3)]
CREATE = [Write(key, {"n": n}, Mode.CREATE) for n, key in enumerate(KEYS)]
READ: list[RecordOperation] = [Read(key) for key in KEYS]


def values(store: Store) -> list[Any]:
    return [result and result.value for result in store.batch_operate(READ, 30)]


def test_without_faults_it_is_the_store_inside(store: Store) -> None:
    faulty = FaultyStore(store, [])
    faulty.batch_operate(CREATE, 30)
    assert values(faulty) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert (faulty.utxo_batch_size, faulty.blobs) == (store.utxo_batch_size, store.blobs)


def test_a_batch_that_raises_before_is_not_executed_and_one_that_raises_after_is(store: Store) -> None:
    faulty = FaultyStore(store, [{"kind": "raise_before"}, {"kind": "raise_after"}])
    for in_doubt, found in ((False, [None] * 3), (True, [{"n": 0}, {"n": 1}, {"n": 2}])):
        with pytest.raises(StoreError, match="injected") as caught:
            faulty.batch_operate(CREATE, 30)
        assert caught.value.in_doubt is in_doubt
        assert values(store) == found
    assert values(faulty) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_one_record_fails_and_is_not_executed(store: Store) -> None:
    faulty = FaultyStore(store, [{"kind": "fail", "index": 1}])
    results = faulty.batch_operate(CREATE, 30)
    assert [result.status for result in results] == [Status.OK, Status.ERROR, Status.OK]
    assert [result.key for result in results] == KEYS
    assert values(store) == [{"n": 0}, None, {"n": 2}]
    assert FaultyStore(store, [{"kind": "fail"}]).batch_operate(READ[:1], 30)[0].status is Status.ERROR


def test_results_are_dropped_emptied_and_malformed(store: Store) -> None:
    store.batch_operate(CREATE, 30)
    faulty = FaultyStore(store, [{"kind": "drop", "index": 1}, {"kind": "none"}, {"kind": "malform", "index": 2}])
    assert values(faulty) == [{"n": 0}, {"n": 2}]
    assert values(faulty) == [None, {"n": 1}, {"n": 2}]
    assert isinstance(values(faulty)[2], str)
    assert values(faulty) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_fault_hits_as_often_as_it_says_and_only_what_it_is_meant_for(store: Store) -> None:
    faulty = FaultyStore(store, [{"kind": "raise_before", "function": "setLocked", "times": 2, "index": 0}])
    assert values(faulty) == [None] * 3
    locking = [RuleCall(KEYS[0], "setLocked", (True, 1000, 288))]
    for _ in range(2):
        with pytest.raises(StoreError):
            faulty.batch_operate(locking, 30)
    assert faulty.batch_operate(locking, 30)[0].status is Status.OK
    endless = FaultyStore(store, [{"kind": "drop", "index": 2, "times": None}])
    assert [len(values(endless)) for _ in range(3)] == [2] * 3
    assert endless.batch_operate(READ[:1], 30)[0].status is Status.NOT_FOUND


def test_a_delay_passes(store: Store) -> None:
    started = time.monotonic()
    assert values(FaultyStore(store, [{"kind": "delay", "seconds": 0.05}])) == [None] * 3
    assert time.monotonic() - started >= 0.05


def test_a_delay_after_the_batch_finds_it_executed(store: Store) -> None:
    started = time.monotonic()
    faulty = FaultyStore(store, [{"kind": "delay", "seconds": 0.05, "after": True}])
    assert [result.status for result in faulty.batch_operate(CREATE, 30)] == [Status.OK] * 3
    assert time.monotonic() - started >= 0.05
    assert values(store) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_faults_come_from_a_file_that_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    store = open_store(f"faulty+lmdb://{tmp_path}/set?sync=false&utxo_batch_size=4&faults={file}")
    assert store.utxo_batch_size == 4
    assert values(store) == [None] * 3
    write_faults(file, [{"kind": "drop", "times": None}])
    assert len(values(store)) == 2
    write_faults(file, [{"kind": "raise_before"}])
    with pytest.raises(StoreError):
        values(store)
    assert values(store) == [None] * 3
    file.unlink()
    assert values(store) == [None] * 3
    store.close()


class TakenAwayAtOnce(PosixPath):
    """The path of a file that is there for one look."""

    def stat(self, **options: Any) -> os.stat_result:
        found = super().stat(**options)
        self.unlink()
        return found

    def open(self, *arguments: Any, **options: Any) -> Any:
        file = super().open(*arguments, **options)
        self.unlink()
        return file


def test_faults_that_are_taken_away_while_they_are_looked_at_are_no_error(tmp_path: Path) -> None:
    write_faults(tmp_path / "faults.json", [{"kind": "drop"}])
    faults = FileFaults(TakenAwayAtOnce(tmp_path / "faults.json"))
    assert faults() in ([{"kind": "drop"}], [])
    assert faults() == []


def test_a_batch_that_hangs_afterwards_has_been_executed(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    write_faults(file, [{"kind": "hang", "after": True}])
    inner = open_store(f"lmdb://{tmp_path}/set?sync=false")
    executed, done = threading.Event(), threading.Event()

    class Telling(Wrapped):
        def batch_operate(self, *arguments: Any) -> list[Any]:
            results = inner.batch_operate(*arguments)
            executed.set()
            return results

    faulty = FaultyStore(Telling(inner), FileFaults(file))

    def operate() -> None:
        faulty.batch_operate(CREATE, 30)
        done.set()

    thread = threading.Thread(target=operate)
    thread.start()
    assert executed.wait(SOON)
    assert values(inner) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert not done.wait(0.1)
    write_faults(file, [])
    assert done.wait(SOON)
    thread.join()
    inner.close()


def test_a_hanging_batch_goes_on_when_the_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    write_faults(file, [{"kind": "hang"}])
    store = open_store(f"faulty+null:?faults={file}")
    done = threading.Event()

    def operate() -> None:
        store.batch_operate(READ, 30)
        done.set()

    thread = threading.Thread(target=operate)
    thread.start()
    assert not done.wait(0.1)
    write_faults(file, [])
    assert done.wait(SOON)
    thread.join()


def write_faults(file: Path, faults: list[dict[str, Any]]) -> None:
    new = file.with_suffix(".new")
    new.write_text(json.dumps(faults))
    os.replace(new, file)


def test_it_can_pass_for_a_store_whose_batches_are_not_one_whole(tmp_path: Path) -> None:
    for options, atomic in (("", True), ("&atomic=false", False), ("&atomic=true", True)):
        store = open_store(f"faulty+null:?faults={tmp_path}/faults.json{options}")
        assert store.is_atomic is atomic
        store.close()
