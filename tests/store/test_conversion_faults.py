"""What a conversion finds that is not as it should be: settings that were lost, what is new already, keys and records
that are no set's, a disk that is full."""

import contextlib
import resource
import shlex
from pathlib import Path

import lmdb
import pytest

from store import ErrorKind, StoreError, open_store
from store.lmdb.conversion import Conversion
from store.opening import open_conversion
from tests.support.old_sets import SETTINGS, bins_of, build, kept_records, kept_settings, lose_settings, put, read_all

COMMAND = "utxod convert --store"
WANTED = "utxo_batch_size=4&genesis_height=100&adopt=true"
LAST = max(bins_of(2))


def convert(directory: Path, query: str = "", *, keep_damaged: bool = False) -> Conversion:
    """Converts all of it, and closes it."""
    url = f"lmdb://{directory}?sync=false&{query}"
    with contextlib.closing(open_conversion(url, keep_damaged=keep_damaged)) as conversion:
        for _ in conversion.steps():
            pass
    return conversion


@pytest.fixture
def whole(tmp_path: Path) -> dict[bytes, bytes]:
    """The records of a set of layout 2, converted."""
    build(tmp_path / "whole", 2)
    convert(tmp_path / "whole")
    return kept_records(tmp_path / "whole")


def test_old_records_whose_settings_were_lost_are_adopted_as_old_ones(tmp_path: Path) -> None:
    build(tmp_path / "set", 2)
    lose_settings(tmp_path / "set")
    for query in ("", "?adopt=true", "?utxo_batch_size=4"):
        with pytest.raises(StoreError, match=r"no settings.*utxo_batch_size.*adopt=true") as caught:
            open_conversion(f"lmdb://{tmp_path}/set{query}")
        assert caught.value.kind is ErrorKind.SETTINGS_LOST
    url = f"lmdb://{tmp_path}/set?{WANTED}"
    with pytest.raises(StoreError, match=COMMAND):
        open_store(url)
    convert(tmp_path / "set")
    store = open_store(url)
    assert (read_all(store, 2), store.genesis_height) == (bins_of(2), 100)
    store.close()


def test_conversion_adopts_a_set_whose_settings_were_lost_as_its_url_says(
    tmp_path: Path, whole: dict[bytes, bytes]
) -> None:
    build(tmp_path / "set", 2)
    lose_settings(tmp_path / "set")
    with pytest.raises(StoreError, match="no settings yet"):
        open_store(f"lmdb://{tmp_path}/set?{WANTED}", create=False)
    convert(tmp_path / "set", WANTED)
    assert (kept_records(tmp_path / "set"), kept_settings(tmp_path / "set")["genesis_height"]) == (whole, 100)


def test_conversion_refuses_other_settings_than_the_sets_own(tmp_path: Path) -> None:
    build(tmp_path / "set", 2)
    before = kept_records(tmp_path / "set"), kept_settings(tmp_path / "set")
    for query, name in (("utxo_batch_size=5&adopt=true", "utxo_batch_size=4"), ("genesis_height=1", "genesis_height")):
        with pytest.raises(StoreError, match=f"made with {name}.*cannot be changed"):
            convert(tmp_path / "set", query)
    assert (kept_records(tmp_path / "set"), kept_settings(tmp_path / "set")) == before


def test_a_set_without_records_and_settings_is_none(tmp_path: Path) -> None:
    open_store(f"lmdb://{tmp_path}/set").close()
    lose_settings(tmp_path / "set")
    with pytest.raises(StoreError, match="there is no set") as caught:
        convert(tmp_path / "set", WANTED)
    assert caught.value.kind is ErrorKind.NO_SET


def test_settings_lost_halfway_cost_no_record(tmp_path: Path, whole: dict[bytes, bytes]) -> None:
    for done in range(len(whole) + 1):
        directory = tmp_path / f"set{done}"
        build(directory, 2)
        half = Conversion(directory, sync=False, map_bytes=1 << 24, step_records=1)
        with contextlib.closing(half):
            steps = half.steps()
            for _ in range(done):
                next(steps)
        lose_settings(directory)
        assert convert(directory, WANTED).damaged == []
        assert kept_records(directory) == whole


def test_a_new_set_whose_settings_were_lost_and_last_record_is_damaged_keeps_the_others(
    tmp_path: Path, whole: dict[bytes, bytes]
) -> None:
    damaged = whole[LAST][:-1] + bytes([whole[LAST][-1] ^ 1])
    put(tmp_path / "whole", {LAST: damaged})
    lose_settings(tmp_path / "whole")
    with pytest.raises(StoreError, match=f"of transaction {LAST[31::-1].hex()} is damaged"):
        convert(tmp_path / "whole", WANTED)
    assert convert(tmp_path / "whole", keep_damaged=True).damaged == [LAST]
    assert kept_records(tmp_path / "whole") == whole | {LAST: damaged}


def test_what_an_older_program_wrote_to_a_new_set_that_it_adopted_is_converted(
    tmp_path: Path, whole: dict[bytes, bytes]
) -> None:
    build(tmp_path / "set", 2)
    old = kept_records(tmp_path / "set")
    mixed = {key: (old if place % 2 else whole)[key] for place, key in enumerate(sorted(old))}
    put(tmp_path / "set", mixed)
    convert(tmp_path / "set")
    assert kept_records(tmp_path / "set") == whole


@pytest.mark.parametrize("key", [b"k", b"k" * 31, b"k" * 33, b"k" * 35, b"k" * 40])
def test_what_has_no_records_key_is_named_and_can_stay(tmp_path: Path, whole: dict[bytes, bytes], key: bytes) -> None:
    build(tmp_path / "set", 2)
    put(tmp_path / "set", {key: b"foreign"})
    with pytest.raises(StoreError, match=f"^{tmp_path}/set: key {key.hex()} is no record's key"):
        convert(tmp_path / "set")
    assert convert(tmp_path / "set", keep_damaged=True).damaged == [key]
    assert kept_records(tmp_path / "set") == whole | {key: b"foreign"}


def test_another_data_base_in_the_same_files_is_named_and_can_stay(tmp_path: Path, whole: dict[bytes, bytes]) -> None:
    build(tmp_path / "set", 2)
    with lmdb.open(str(tmp_path / "set"), map_size=1 << 24, max_dbs=1) as environment:
        environment.open_db(b"other")
    with pytest.raises(StoreError, match=f"key {b'other'.hex()} is no record's key"):
        convert(tmp_path / "set")
    assert convert(tmp_path / "set", keep_damaged=True).damaged == [b"other"]
    assert kept_records(tmp_path / "set").items() >= whole.items()


@pytest.mark.parametrize("layout", SETTINGS)
def test_a_record_of_another_transaction_gets_no_valid_checksum(tmp_path: Path, layout: int) -> None:
    build(tmp_path / "set", layout)
    first, other, *_ = (key for key, bins in bins_of(layout).items() if bins.get("txID") == key)
    misplaced = kept_records(tmp_path / "set")[other]
    put(tmp_path / "set", {first: misplaced})
    with pytest.raises(StoreError, match=f"of transaction {first[::-1].hex()} is damaged"):
        convert(tmp_path / "set")
    assert convert(tmp_path / "set", keep_damaged=True).damaged == [first]
    assert kept_records(tmp_path / "set")[first] == misplaced


def test_a_full_disk_is_said_with_its_room_and_what_was_converted_is_kept(
    tmp_path: Path, whole: dict[bytes, bytes]
) -> None:
    """A limit on the size of files stands for it: to LMDB it is the same failure."""
    build(tmp_path / "set", 2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    small = Conversion(tmp_path / "set", sync=False, map_bytes=1 << 24, step_records=1)
    with contextlib.closing(small):
        steps = small.steps()
        next(steps)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
            with pytest.raises(StoreError, match=r"bytes are free.*1 records are converted, and stay so; ask again"):
                list(steps)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert convert(tmp_path / "set").done == len(whole)
    assert kept_records(tmp_path / "set") == whole


@pytest.mark.parametrize("query", ["", "?sync=false", "?map_size=16777216", "?sync=false&map_size=16777216"])
def test_the_command_that_a_refusal_tells_has_the_urls_own_options(tmp_path: Path, query: str) -> None:
    url = build(tmp_path / "a set", 2).replace(" ", "%20") + query
    with pytest.raises(StoreError) as caught:
        open_store(url)
    told = str(caught.value)
    assert shlex.split(told[told.index(COMMAND) :]) == [*COMMAND.split(), url]
