"""What happens to the embedded store's environment from outside, and that it goes on by itself."""

import contextlib
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

from store import Mode, Read, Status, StoreError, Write, open_store
from store.lmdb.environment import Environment, describe
from store.lmdb.store import EmbeddedStore
from store.lmdb.writer_lock import WriterLock, WriterLockTimeout
from tests.support.storing import KEY, OTHER, create, read, run, statuses

REPOSITORY = Path(__file__).parents[2]
MIB = 1 << 20
BIG = [bytes([n]) * 32 for n in range(20)]

OPEN_AND_WRITE = """
import sys
from store import Mode, Write, open_store
store = open_store(sys.argv[1])
for n in range(int(sys.argv[2])):
    store.batch_operate([Write(bytes([n]) * 32, {"a": bytes(500_000)}, Mode.UPSERT)], 30)
store.batch_operate([Write(b"o" * 32, {"by": "another"}, Mode.UPSERT)], 30)
store.close()
"""


def another_writes(directory: Path, map_bytes: int, half_mib: int) -> None:
    """Another process, with a larger map, writes so many records of some 500 kB, and OTHER."""
    url = f"lmdb://{directory}?sync=false&map_size={map_bytes}"
    subprocess.run([sys.executable, "-c", OPEN_AND_WRITE, url, str(half_mib)], check=True, cwd=REPOSITORY)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """A store whose map has 1 MiB, at tmp_path / "set"."""
    store = EmbeddedStore(tmp_path / "set", sync=False, map_bytes=MIB)
    create(store, a=1)
    yield store
    store.close()


def test_a_reader_goes_on_when_another_process_has_grown_the_map(small: EmbeddedStore, tmp_path: Path) -> None:
    another_writes(tmp_path / "set", 64 * MIB, 6)
    results = run(small, Read(KEY), Read(OTHER), Read(BIG[5]))
    assert [result.value for result in results] == [{"a": 1}, {"by": "another"}, {"a": bytes(500_000)}]


def test_a_writer_goes_on_when_another_process_has_grown_the_map(small: EmbeddedStore, tmp_path: Path) -> None:
    for half_mib in (6, 20):
        another_writes(tmp_path / "set", 10 * half_mib * MIB, half_mib)
        assert run(small, Write(KEY, {"a": half_mib}, Mode.UPDATE))[0].status is Status.OK
        assert read(small) == {"a": half_mib}
    assert statuses(run(small, *[Write(key, {"b": bytes(500_000)}, Mode.UPDATE) for key in BIG])) == ["OK"] * 20


def test_a_writer_uses_the_room_that_another_process_has_made(small: EmbeddedStore, tmp_path: Path) -> None:
    another_writes(tmp_path / "set", 64 * MIB, 0)
    writes = [Write(key, {"a": bytes(100_000)}, Mode.CREATE) for key in BIG]
    assert statuses(run(small, *writes)) == ["OK"] * 20
    with pytest.raises(StoreError, match=f"the set is full: reopen it with map_size above {64 * MIB} bytes") as caught:
        run(small, *[Write(bytes([n]) * 36, {"a": bytes(MIB - 100)}, Mode.CREATE) for n in range(70)])
    assert not caught.value.in_doubt
    assert read(small, bytes(36)) is None
    assert run(small, Write(KEY, {"a": 2}, Mode.UPDATE))[0].status is Status.OK


def test_a_map_does_not_shrink_to_that_of_a_process_with_less(tmp_path: Path) -> None:
    EmbeddedStore(tmp_path / "set", sync=False, map_bytes=MIB).close()
    environment = Environment(tmp_path / "set", sync=False, map_bytes=4 * MIB)
    assert environment.adopt_map_size() is False
    assert environment.map_bytes == 4 * MIB
    environment.close()


LIMITED = """
import resource, subprocess, sys
from store import Mode, Read, StoreError, Write, open_store
MIB = 1 << 20
url, script = sys.argv[1:]
KEY, OTHER = b"k" * 32, b"o" * 32

def limit_to(more):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    soft = resource.RLIM_INFINITY if more is None else used + more
    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))

def another_writes(map_bytes, half_mib):
    limit_to(None)
    command = [sys.executable, "-c", script, f"{url}&map_size={map_bytes}", str(half_mib)]
    subprocess.run(command, check=True)

def refused(ask):
    try:
        ask()
    except StoreError as error:
        assert not error.in_doubt
        return str(error)
    raise AssertionError("was not refused")

limit_to(256 * MIB)
message = refused(lambda: open_store(f"{url}&map_size={1 << 40}"))
assert f"no memory for a map of map_size={1 << 40} bytes" in message and "ulimit -v" in message, message
store = open_store(f"{url}&map_size={MIB}")
store.batch_operate([Write(KEY, {"a": 1}, Mode.CREATE)], 30)

# More than there is memory for: what is used of it will do.
another_writes(1 << 40, 6)
limit_to(64 * MIB)
assert store.batch_operate([Read(OTHER)], 30)[0].value == {"by": "another"}
assert store.batch_operate([Write(KEY, {"a": 2}, Mode.UPDATE)], 30)[0].status == "OK"

# Not even for that.
another_writes(1 << 40, 100)
limit_to(8 * MIB)
for operation in (Read(KEY), Write(KEY, {"a": 3}, Mode.UPDATE), Read(KEY)):
    message = refused(lambda: store.batch_operate([operation], 30))
    assert "no memory for a map of map_size=" in message, message
limit_to(None)
assert store.batch_operate([Read(KEY)], 30)[0].value == {"a": 2}
assert store.batch_operate([Write(KEY, {"a": 3}, Mode.UPDATE)], 30)[0].status == "OK"
store.close()
"""


def test_without_memory_for_the_map_it_names_map_size_and_goes_on_when_there_is_some(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, f"lmdb://{tmp_path}/set?sync=false", OPEN_AND_WRITE]
    run_of = subprocess.run(command, check=False, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    assert (run_of.returncode, run_of.stderr) == (0, "")


def test_a_map_beyond_all_address_space_is_refused_and_leaves_nothing_open(tmp_path: Path) -> None:
    gc.collect()  # what is left of other tests may be closed at any time
    before = set(os.listdir("/proc/self/fd"))
    for map_bytes in (1 << 60, 1 << 64, 1 << 80):
        with pytest.raises(StoreError, match=f"{tmp_path}/set: no memory for a map of map_size={map_bytes} bytes"):
            EmbeddedStore(tmp_path / "set", map_bytes=map_bytes)
    assert set(os.listdir("/proc/self/fd")) == before
    open_store(f"lmdb://{tmp_path}/set").close()


TAKE_ALL_SLOTS = """
import sys
import lmdb
environment = lmdb.open(sys.argv[1])
held = []
try:
    while True:
        held.append(environment.begin())
except lmdb.ReadersFullError:
    print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def all_slots_taken(directory: Path) -> Iterator[None]:
    command = [sys.executable, "-c", TAKE_ALL_SLOTS, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


def test_slots_of_dead_readers_are_taken_over_where_there_is_no_other(tmp_path: Path) -> None:
    environment = Environment(tmp_path, sync=False, map_bytes=MIB)
    with all_slots_taken(tmp_path):
        pass
    with environment.begin() as transaction:
        assert transaction.get(KEY) is None
    environment.close()


def test_while_others_hold_all_slots_it_is_overloaded(tmp_path: Path) -> None:
    EmbeddedStore(tmp_path / "set").close()
    environment = Environment(tmp_path / "set", sync=False, map_bytes=MIB)
    with all_slots_taken(tmp_path / "set"):
        with pytest.raises(lmdb.ReadersFullError):
            environment.begin()
        environment.close()
        with pytest.raises(StoreError, match=f"^{tmp_path}/set: cannot be opened: .*MDB_READERS_FULL") as caught:
            EmbeddedStore(tmp_path / "set")
        assert (caught.value.status, caught.value.in_doubt) == (Status.OVERLOADED, False)
    store = EmbeddedStore(tmp_path / "set")
    create(store, a=1)
    store.close()


def test_a_store_that_finds_no_slot_is_overloaded_until_there_is_one(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "set")
    create(store, a=1)
    with all_slots_taken(tmp_path / "set"):
        held = [store._environment.begin()]
        with contextlib.suppress(lmdb.ReadersFullError):
            while True:  # those that it keeps for itself
                held.append(store._environment.begin())
        with pytest.raises(StoreError, match="MDB_READERS_FULL") as caught:
            read(store)
        assert (caught.value.status, caught.value.in_doubt) == (Status.OVERLOADED, False)
        assert run(store, Write(KEY, {"a": 2}, Mode.UPDATE))[0].status is Status.OK
        held.pop().abort()
        assert read(store) == {"a": 2}
        while held:
            held.pop().abort()
    store.close()


def data_files() -> list[int]:
    """This process's descriptors of LMDB's data files: the one for data first, the one for meta pages last."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        path = Path("/proc/self/fd", name)
        if path.exists() and path.readlink().name == "data.mdb":
            found.append(int(name))
    return sorted(found)


def test_after_a_meta_page_could_not_be_written_it_is_opened_anew(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "set")
    create(store, a=1)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, data_files()[-1])
    os.close(full)
    with pytest.raises(StoreError, match="No space left") as caught:
        run(store, Write(KEY, {"a": 2}, Mode.UPDATE))
    assert caught.value.in_doubt
    assert read(store) in ({"a": 1}, {"a": 2})
    assert run(store, Write(KEY, {"a": 3}, Mode.UPDATE))[0].status is Status.OK
    store.close()
    assert data_files() == []
    store = EmbeddedStore(tmp_path / "set")
    assert read(store) == {"a": 3}
    store.close()


def test_an_error_whose_room_on_the_disk_is_not_known_is_still_one_of_the_store(tmp_path: Path) -> None:
    assert describe(lmdb.DiskError("full"), tmp_path / "away").startswith("full")


def move(directory: Path) -> None:
    directory.rename(directory.with_name("away"))


def put_a_backup_in_its_place(directory: Path) -> None:
    move(directory)
    shutil.copytree(directory.with_name("away"), directory)


def put_a_backup_of_the_data_in_its_place(directory: Path) -> None:
    shutil.copy(directory / "data.mdb", directory / "backup")
    (directory / "backup").rename(directory / "data.mdb")


@pytest.mark.parametrize(
    "happens", [shutil.rmtree, move, put_a_backup_in_its_place, put_a_backup_of_the_data_in_its_place]
)
def test_nothing_is_written_to_a_set_that_is_not_the_one_at_its_path(
    small: EmbeddedStore, tmp_path: Path, happens: Callable[[Path], object]
) -> None:
    happens(tmp_path / "set")
    with pytest.raises(StoreError, match="was moved, removed or replaced, and the set with it") as caught:
        run(small, Write(KEY, {"a": 2}, Mode.UPDATE))
    assert not caught.value.in_doubt
    assert read(small) == {"a": 1}


def test_a_set_that_was_moved_away_and_back_is_written_to_again(small: EmbeddedStore, tmp_path: Path) -> None:
    move(tmp_path / "set")
    with pytest.raises(StoreError, match="was moved"):
        run(small, Write(KEY, {"a": 2}, Mode.UPDATE))
    (tmp_path / "away").rename(tmp_path / "set")
    assert statuses(run(small, Write(KEY, {"a": 3}, Mode.UPDATE))) == ["OK"]
    assert read(small) == {"a": 3}


def test_no_commit_is_lost_where_the_file_of_the_locks_is_removed(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "set", sync=False, map_bytes=MIB)
    create(store, a=1)
    (tmp_path / "set" / "lock.mdb").unlink()
    for _ in range(2):
        another_writes(tmp_path / "set", MIB, 0)
    assert statuses(run(store, Write(KEY, {"a": 2}, Mode.UPDATE))) == ["OK"]
    store.close()
    store = EmbeddedStore(tmp_path / "set", sync=False, map_bytes=MIB)
    assert [result.value for result in run(store, Read(KEY), Read(OTHER))] == [{"a": 2}, {"by": "another"}]
    store.close()


def test_a_writers_lock_that_was_removed_is_made_anew_and_holds(small: EmbeddedStore, tmp_path: Path) -> None:
    path = tmp_path / "set" / "writer.lock"
    path.unlink()
    assert statuses(run(small, Write(KEY, {"a": 2}, Mode.UPDATE))) == ["OK"]
    other = WriterLock(path)
    with other.held(1), pytest.raises(WriterLockTimeout):
        small.batch_operate([Write(KEY, {"a": 3}, Mode.UPDATE)], 0)
    other.close()
    assert read(small) == {"a": 2}
