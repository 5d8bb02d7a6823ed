"""A set of an older layout is refused until it is converted; the conversion loses and doubles nothing, whatever ends
it."""

import contextlib
import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from protocol.hashing import utxo_hash
from store import ErrorKind, Read, RuleCall, StoreError, open_store
from store.layout import FROZEN, pack_spending_data, raw_transaction
from store.lmdb import conversion
from store.lmdb.conversion import Conversion
from store.lmdb.record import Record
from store.lmdb.settings import LAYOUT
from store.opening import open_conversion
from store.transaction import parse_transaction
from tests.support.old_sets import SETTINGS, bins_of, build, kept_records, kept_settings, put, read_all
from tests.support.storing import KEY, create, read, run

REPOSITORY = Path(__file__).parents[2]
PARENT = bytes.fromhex("169e1e83e930853391bc6f35f605c6754cfead57cf8387639d3b4096c54f18f4")
SPREAD = bytes.fromhex("8fc0d627609498edf54bc9567d53be46ed479dbe799e354e2d50a96f2bfae2bb")
COMMAND = "utxod convert --store lmdb://"


@pytest.fixture(params=SETTINGS)
def layout(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


def convert(directory: Path, **options: Any) -> Conversion:
    """Converts all of it, and closes it."""
    with contextlib.closing(Conversion(directory, sync=False, map_bytes=1 << 24, **options)) as conversion:
        for _ in conversion.steps():
            pass
    return conversion


def test_a_set_of_before_is_refused_with_the_command_that_converts_it(tmp_path: Path, layout: int) -> None:
    url = build(tmp_path / "set", layout)
    before = kept_records(tmp_path / "set")
    with pytest.raises(StoreError, match=f"^{tmp_path}/set: its layout has version {layout}.*{COMMAND}") as caught:
        open_store(url)
    assert caught.value.kind is ErrorKind.OLD_LAYOUT
    assert not caught.value.in_doubt
    assert (kept_records(tmp_path / "set"), kept_settings(tmp_path / "set")["layout"]) == (before, layout)


@pytest.mark.parametrize("step", [1, 2, 1000])
def test_once_converted_it_has_every_bin_that_it_had(tmp_path: Path, layout: int, step: int) -> None:
    url = build(tmp_path / "set", layout)
    done = convert(tmp_path / "set", step_records=step)
    expected = bins_of(layout)
    assert (done.done, done.total, done.damaged) == (len(expected), len(expected), [])
    store = open_store(url)
    assert read_all(store, layout) == expected
    assert (store.utxo_batch_size, store.genesis_height) == SETTINGS[layout]
    store.close()
    assert kept_settings(tmp_path / "set") == {
        "layout": LAYOUT,
        "utxo_batch_size": SETTINGS[layout][0],
        "genesis_height": SETTINGS[layout][1],
    }


def test_once_converted_its_blobs_and_its_coins_are_what_they_were(tmp_path: Path) -> None:
    url = build(tmp_path / "set", 1)
    convert(tmp_path / "set")
    store = open_store(url)
    assert parse_transaction(store.blobs.get(SPREAD) or b"").txid == SPREAD
    output = parse_transaction(raw_transaction(read(store, PARENT)) or b"").outputs[1]
    hashed = utxo_hash(PARENT, 1, output.locking_script, output.satoshis)
    spend = RuleCall(PARENT, "spend", (1, hashed, pack_spending_data(KEY, 0), False, False, 500, 288))
    assert run(store, spend)[0].value["status"] == "OK"
    assert read(store, PARENT)["utxos"][1][32:] == pack_spending_data(KEY, 0) != FROZEN
    store.close()


def test_a_time_to_live_stays(tmp_path: Path) -> None:
    build(tmp_path / "set", 2)
    lock = next(key for key, bins in bins_of(2).items() if "token" in bins)
    expires = int.from_bytes(kept_records(tmp_path / "set")[lock][:4], "little")
    convert(tmp_path / "set")
    assert Record.unpack(lock, kept_records(tmp_path / "set")[lock]).expires == expires > 0


def test_a_set_that_is_new_says_so_and_stays_as_it_is(tmp_path: Path) -> None:
    store = open_store(f"lmdb://{tmp_path}/set")
    create(store, a=1)
    store.close()
    before = kept_records(tmp_path / "set")
    with contextlib.closing(open_conversion(f"lmdb://{tmp_path}/set?sync=false")) as needless:
        assert not needless.is_needed
        assert list(needless.steps()) == []
    assert kept_records(tmp_path / "set") == before


def is_killed(directory: Path, place: int) -> bool:
    """A process converts the set, two records a step, and is killed at a place: before it looks who has the set open,
    before it converts a record, before it notes how far it came, or after a step. False where it ends before."""
    pid = os.fork()
    if pid == 0:
        left = place

        def dying(function: Any) -> Any:
            def call(*arguments: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments)

            return call

        try:
            for holder, name in (
                (Conversion, "_refuse_others"),
                (conversion, "_convert"),
                (conversion, "write_settings"),
            ):
                setattr(holder, name, dying(getattr(holder, name)))
            running = Conversion(directory, sync=False, map_bytes=1 << 24, step_records=2)
            for _ in running.steps():
                dying(len)("")
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL)
    return status != 0


def test_killed_anywhere_it_goes_on_from_there_when_asked_again(tmp_path: Path, layout: int) -> None:
    build(tmp_path / "whole", layout)
    convert(tmp_path / "whole")
    whole = kept_records(tmp_path / "whole")
    for place in count(1):
        directory = tmp_path / f"set{place}"
        url = build(directory, layout)
        if not is_killed(directory, place):
            break
        settings = kept_settings(directory)
        if settings["layout"] != LAYOUT or "converted" in settings:
            with pytest.raises(StoreError, match=COMMAND):
                open_store(url)
            assert convert(directory, step_records=3).done == len(whole)
        assert kept_records(directory) == whole
    assert place > 2 * len(whole)
    assert kept_records(directory) == whole


def test_killed_again_and_again_it_ends_all_the_same(tmp_path: Path, layout: int) -> None:
    build(tmp_path / "whole", layout)
    convert(tmp_path / "whole")
    build(tmp_path / "set", layout)
    kills = 0
    while is_killed(tmp_path / "set", 7):
        kills += 1
    assert kills > 1
    assert kept_records(tmp_path / "set") == kept_records(tmp_path / "whole")


def test_one_that_is_half_done_is_refused_to_programs_of_before(tmp_path: Path, layout: int) -> None:
    build(tmp_path / "set", layout)
    with contextlib.closing(Conversion(tmp_path / "set", sync=False, map_bytes=1 << 24, step_records=1)) as half:
        next(half.steps())
    assert kept_settings(tmp_path / "set")["layout"] not in SETTINGS


HOLDING = """
import sys
from pathlib import Path
from store.lmdb.environment import Environment
held = Environment(Path(sys.argv[1]), sync=False, map_bytes=1 << 24)
print("open", flush=True)
sys.stdin.read()
"""


def test_while_another_process_has_the_set_open_nothing_is_done(tmp_path: Path, layout: int) -> None:
    """As a daemon of a program of before has, which does not look at the settings again."""
    build(tmp_path / "set", layout)
    before = kept_records(tmp_path / "set"), kept_settings(tmp_path / "set")
    command = [sys.executable, "-c", HOLDING, str(tmp_path / "set")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match=f"^{tmp_path}/set: process {other.pid} has the set open"):
            convert(tmp_path / "set")
        other.communicate("", timeout=60)
    assert (kept_records(tmp_path / "set"), kept_settings(tmp_path / "set")) == before
    convert(tmp_path / "set")


def test_a_process_that_opened_the_set_while_it_began_ends_it_before_a_record_is_touched(tmp_path: Path) -> None:
    build(tmp_path / "set", 2)
    before = kept_records(tmp_path / "set")
    begun = Conversion(tmp_path / "set", sync=False, map_bytes=1 << 24)
    command = [sys.executable, "-c", HOLDING, str(tmp_path / "set")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match=f"process {other.pid} has the set open"):
            list(begun.steps())
        other.communicate("", timeout=60)
    begun.close()
    assert kept_records(tmp_path / "set") == before
    assert convert(tmp_path / "set").done == len(before)


def test_a_full_map_ends_it_and_a_larger_one_lets_it_go_on(tmp_path: Path) -> None:
    url = build(tmp_path / "set", 2)
    record = kept_records(tmp_path / "set")[PARENT]
    more = {key: record.replace(PARENT, key) for key in (bytes([number]) * 32 for number in range(60))}
    put(tmp_path / "set", more)
    size = (tmp_path / "set" / "data.mdb").stat().st_size
    with contextlib.closing(Conversion(tmp_path / "set", sync=False, map_bytes=size, step_records=10)) as small:
        with pytest.raises(StoreError, match=f"^{tmp_path}/set: the set is full.*map_size above {size}"):
            list(small.steps())
        done = small.done
    assert convert(tmp_path / "set").done == len(more) + len(bins_of(2)) > done
    store = open_store(url)
    assert read_all(store, 2) == bins_of(2)
    assert all(read(store, key) == bins_of(2)[PARENT] | {"txID": key} for key in more)
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:10],
        lambda raw: raw[:30],
        lambda raw: raw[:16] + b"\xc1" * 80,
        lambda raw: raw[:-1],
        lambda raw: b"",
    ],
)
def test_a_damaged_record_ends_it_and_is_named_and_nothing_is_lost(tmp_path: Path, damage: Any) -> None:
    url = build(tmp_path / "set", 2)
    before = kept_records(tmp_path / "set")
    sound = before[PARENT]
    put(tmp_path / "set", {PARENT: damage(sound)})
    with pytest.raises(StoreError, match=f"record 0 of transaction {PARENT[::-1].hex()} is damaged.*--keep-damaged"):
        convert(tmp_path / "set", step_records=1)
    assert kept_records(tmp_path / "set")[PARENT] == damage(sound)
    put(tmp_path / "set", {PARENT: sound})
    convert(tmp_path / "set", step_records=1)
    store = open_store(url)
    assert read_all(store, 2) == bins_of(2)
    store.close()


def test_a_damaged_record_can_stay_and_stays_damaged(tmp_path: Path) -> None:
    url = build(tmp_path / "set", 2)
    damaged = kept_records(tmp_path / "set")[PARENT][:-1]
    put(tmp_path / "set", {PARENT: damaged})
    assert convert(tmp_path / "set", keep_damaged=True).damaged == [PARENT]
    assert kept_records(tmp_path / "set")[PARENT] == damaged
    store = open_store(url)
    others = [key for key in bins_of(2) if key != PARENT]
    assert {key: read(store, key) for key in others} == {key: bins_of(2)[key] for key in others}
    (result,) = run(store, Read(PARENT))
    assert (result.status, "damaged" in result.message) == ("ERROR", True)
    store.close()


def test_what_cannot_be_converted_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"^{tmp_path}/none: there is no set") as caught:
        open_conversion(f"lmdb://{tmp_path}/none")
    assert caught.value.kind is ErrorKind.NO_SET
    assert not (tmp_path / "none").exists()
    for url in ("null:", "aerospike://127.0.0.1:3000/test", "faulty+lmdb:///x?faults=/y"):
        with pytest.raises(ValueError, match="only an embedded set"):
            open_conversion(url)
    build(tmp_path / "set", 2)
    records = kept_records(tmp_path / "set")
    settings = b"\x82\xa6layout\x09\xafutxo_batch_size\x04"
    put(tmp_path / "set", {b"settings": settings})
    with pytest.raises(StoreError, match="its layout has version 9"):
        open_conversion(f"lmdb://{tmp_path}/set")
    assert kept_records(tmp_path / "set") == records
