"""The embedded store among several processes: killed, stopped, forked, and on a full disk."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store import Mode, Read, RuleCall, Status, Store, StoreError, Write, open_store
from store.lmdb.store import EmbeddedStore
from store.lmdb.writer_lock import WriterLock, WriterLockTimeout
from tests.support.patience import SOON
from tests.support.storing import KEY, create, read, run

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def another_process(script: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs the script, once it has said that it is ready. It is killed in the end."""
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


HOLD_LOCK = """
import sys
from pathlib import Path
from store.lmdb.writer_lock import WriterLock
with WriterLock(Path(sys.argv[1]) / "writer.lock").held(1):
    print("ready", flush=True)
    sys.stdin.read()
"""

STOP_INSIDE_A_WRITE = """
import sys
from store import Mode, Write, open_store
store = open_store(sys.argv[1])
class Endless:
    def keys(self):
        print("ready", flush=True)
        sys.stdin.read()
store.batch_operate([Write(b"x" * 32, {"a": 1}, Mode.CREATE), Write(b"k" * 32, Endless(), Mode.UPSERT)], 30)
"""

HOLD_READER = """
import os, sys, lmdb
environment = lmdb.open(sys.argv[1], lock=True)
transaction = environment.begin()
transaction.get(b"k")
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/set"
    script = """
import sys
from store import Mode, Write, open_store
open_store(sys.argv[1]).batch_operate([Write(b"k" * 32, {"a": 1}, Mode.CREATE)], 30)
print("ready", flush=True)
sys.stdin.read()
"""
    with another_process(script, url):
        pass
    store = open_store(url)
    assert read(store) == {"a": 1}
    store.close()


ON_A_SMALL_DISK = """
import resource, signal, sys
from store import Mode, Read, StoreError, Write, open_store
store = open_store(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
keys = [bytes([n]) * 32 for n in range(20)]
for key in keys:
    try:
        store.batch_operate([Write(key, {"a": bytes(50_000)}, Mode.CREATE)], 30)
    except StoreError as error:
        assert not error.in_doubt
        assert "bytes are free on the disk" in str(error)
        break
assert [store.batch_operate([Read(k)], 30)[0].status for k in (keys[0], key)] == ["OK", "NOT_FOUND"]
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_full_disk_refuses_the_batch_and_leaves_the_set_as_it_was(tmp_path: Path) -> None:
    with another_process(ON_A_SMALL_DISK, f"lmdb://{tmp_path}/set"):
        store = open_store(f"lmdb://{tmp_path}/set")
        create(store, a=1)
        assert read(store, bytes(32))["a"] == bytes(50_000)
        store.close()


def test_a_writer_that_waits_too_long_names_the_holder(store: Store, tmp_path: Path) -> None:
    create(store, a=1)
    with another_process(HOLD_LOCK, str(tmp_path / "set")) as holder:
        started = time.monotonic()
        with pytest.raises(WriterLockTimeout, match=rf"held by process {holder.pid}, for \d") as caught:
            store.batch_operate([Write(KEY, {"a": 2}, Mode.UPDATE)], 0.1)
        assert 0.1 <= time.monotonic() - started < SOON
        assert (caught.value.in_doubt, caught.value.holder) == (False, holder.pid)
        assert read(store) == {"a": 1}
    assert run(store, Write(KEY, {"a": 2}, Mode.UPDATE))[0].status is Status.OK


def test_a_writer_killed_inside_its_transaction_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    create(store, a=1)
    url = f"lmdb://{tmp_path}/set?sync=false"
    with another_process(STOP_INSIDE_A_WRITE, url) as writer:
        with pytest.raises(WriterLockTimeout, match=f"held by process {writer.pid}"):
            store.batch_operate([Write(KEY, {"a": 2}, Mode.UPDATE)], 0)
        assert read(store) == {"a": 1}
        writer.kill()
        assert run(store, Write(KEY, {"b": 2}, Mode.UPDATE))[0].status is Status.OK
    assert read(store) == {"a": 1, "b": 2}
    assert run(store, Read(b"x" * 32))[0].status is Status.NOT_FOUND


def test_a_lock_whose_holder_cannot_be_named_is_given_back(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path / "lock")
    for name in os.listdir("/proc/self/fd"):
        path = Path("/proc/self/fd", name)
        if path.exists() and path.readlink() == tmp_path / "lock":
            readable = os.open(tmp_path / "lock", os.O_RDONLY)
            os.dup2(readable, int(name))  # can be locked, and not written to
            os.close(readable)
            break
    with pytest.raises(StoreError, match=f"{tmp_path}/lock: .*Bad file descriptor") as caught, lock.held(1):
        pass
    assert not caught.value.in_doubt
    other = WriterLock(tmp_path / "lock")
    with other.held(0):
        assert other.holder()[0] == os.getpid()
    lock.close()
    other.close()


def test_the_slots_of_dead_readers_are_freed(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, sync=False)
    with another_process(HOLD_READER, str(tmp_path)):
        assert store.clear_stale_readers() == 0
    assert store.clear_stale_readers() == 1
    assert store.clear_stale_readers() == 0
    store.close()


def test_a_store_is_refused_after_a_fork(store: Store) -> None:
    create(store, a=1)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            run(store, Read(KEY))
        except StoreError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        assert b"opened before a fork" in answer.read()
    assert read(store) == {"a": 1}


def test_two_processes_write_one_set(store: Store, tmp_path: Path) -> None:
    create(store, totalExtraRecs=10_000, spentExtraRecs=0)
    script = """
import sys
from store import RuleCall, open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
for _ in range(100):
    [result] = store.batch_operate([RuleCall(b"k" * 32, "incrementSpentExtraRecs", (1, 1000, 288))], 30)
    assert result.value["status"] == "OK"
"""
    with another_process(script, f"lmdb://{tmp_path}/set?sync=false") as other:
        for _ in range(100):
            run(store, RuleCall(KEY, "incrementSpentExtraRecs", (1, 1000, 288)))
        assert other.wait(60) == 0
    assert read(store)["spentExtraRecs"] == 200
