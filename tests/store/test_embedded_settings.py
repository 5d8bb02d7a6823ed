"""What is fixed for the life of an embedded set is kept with it, and never guessed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest

from store import StoreError, open_store
from store.layout import DEFAULT_GENESIS_HEIGHT, GENESIS_NEVER, MAX_UTXO_BATCH_SIZE
from store.lmdb.settings import LAYOUT
from store.opening import open_conversion
from tests.support.old_sets import kept_settings, lose_settings
from tests.support.storing import create, read

REPOSITORY = Path(__file__).parents[2]


def change_settings(directory: Path, change: Callable[[Any], bytes]) -> None:
    """Of a set that nobody has open. change: from the settings to what is kept instead."""
    settings = kept_settings(directory)
    with lmdb.open(str(directory)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"settings", change(settings))


def test_a_new_set_keeps_what_is_wanted_of_it_or_the_defaults(tmp_path: Path) -> None:
    for name, query, size, height in (
        ("a", "", 128, DEFAULT_GENESIS_HEIGHT),
        ("b", "?utxo_batch_size=4&genesis_height=0", 4, 0),
        ("c", "?genesis_height=never", 128, GENESIS_NEVER),
        ("d", f"?utxo_batch_size={MAX_UTXO_BATCH_SIZE}&adopt=true", MAX_UTXO_BATCH_SIZE, DEFAULT_GENESIS_HEIGHT),
    ):
        store = open_store(f"lmdb://{tmp_path}/{name}{query}")
        assert (store.utxo_batch_size, store.genesis_height) == (size, height)
        store.close()
        assert kept_settings(tmp_path / name) == {
            "layout": LAYOUT,
            "utxo_batch_size": size,
            "genesis_height": height,
        }


def test_that_a_set_is_new_and_empty_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "utxod.store")
    for _ in range(2):
        open_store(f"lmdb://{tmp_path}/set").close()
        assert caplog.messages == ["there was no set here: a new one was made, which is empty"]


def test_they_are_fixed_for_the_life_of_a_set(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/set"
    open_store(f"{url}?utxo_batch_size=4&genesis_height=100").close()
    for query in ("", "?utxo_batch_size=4", "?genesis_height=100", "?utxo_batch_size=4&adopt=true"):
        store = open_store(url + query)
        assert (store.utxo_batch_size, store.genesis_height) == (4, 100)
        store.close()
    for query, message in (
        ("utxo_batch_size=128", "made with utxo_batch_size=4, which cannot be changed to 128"),
        ("genesis_height=101", "made with genesis_height=100, which cannot be changed to 101"),
        ("genesis_height=never&adopt=true", "made with genesis_height=100, which cannot be changed to never"),
    ):
        with pytest.raises(StoreError, match=f"^{tmp_path}/set: the set was {message}"):
            open_store(f"{url}?{query}")


def test_a_set_of_a_layout_to_come_is_refused(tmp_path: Path) -> None:
    open_store(f"lmdb://{tmp_path}/set").close()
    later = LAYOUT + 1
    change_settings(tmp_path / "set", lambda settings: msgpack.packb(settings | {"layout": later, "more": 1}))
    message = f"^{tmp_path}/set: its layout has version {later}, this program's {LAYOUT}"
    with pytest.raises(StoreError, match=message):
        open_store(f"lmdb://{tmp_path}/set")


def test_a_set_that_holds_records_and_has_lost_its_settings_is_refused(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/set"
    store = open_store(f"{url}?utxo_batch_size=4&genesis_height=100")
    create(store, a=1)
    store.close()
    lose_settings(tmp_path / "set")
    for query in ("", "?utxo_batch_size=4", "?adopt=true", "?utxo_batch_size=4&adopt=false"):
        with pytest.raises(StoreError, match=f"^{tmp_path}/set: the set holds records and has no settings"):
            open_store(url + query)
    store = open_store(f"{url}?utxo_batch_size=4&genesis_height=100&adopt=true")
    assert (store.utxo_batch_size, store.genesis_height, read(store)) == (4, 100, {"a": 1})
    store.close()
    open_store(url).close()


def test_an_empty_set_is_given_its_settings_again(tmp_path: Path) -> None:
    open_store(f"lmdb://{tmp_path}/set").close()
    lose_settings(tmp_path / "set")
    store = open_store(f"lmdb://{tmp_path}/set?utxo_batch_size=8")
    assert store.utxo_batch_size == 8
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: b"",
        lambda settings: b"no settings",
        lambda settings: msgpack.packb([1, 128]),
        lambda settings: msgpack.packb({"layout": 1}),
        lambda settings: msgpack.packb({"layout": LAYOUT, "utxo_batch_size": 128}),
        lambda settings: msgpack.packb(settings | {"utxo_batch_size": "128"}),
        lambda settings: msgpack.packb(settings | {"utxo_batch_size": 0}),
        lambda settings: msgpack.packb(settings | {"genesis_height": None}),
        lambda settings: msgpack.packb(settings | {"converted": 5}),
        lambda settings: msgpack.packb(settings | {"converted": [b""]}),
        lambda settings: msgpack.packb(settings | {"converted": [5, 6]}),
        lambda settings: msgpack.packb(settings | {"converted": [b"", "6"]}),
    ],
)
def test_damaged_settings_are_refused_and_left_as_they_are(tmp_path: Path, change: Callable[[Any], bytes]) -> None:
    open_store(f"lmdb://{tmp_path}/set").close()
    change_settings(tmp_path / "set", change)
    for query in ("", "?utxo_batch_size=128&adopt=true"):
        with pytest.raises(StoreError, match=f"^{tmp_path}/set: its settings can't be read") as caught:
            open_store(f"lmdb://{tmp_path}/set{query}")
        assert not caught.value.in_doubt
        with pytest.raises(StoreError, match=f"^{tmp_path}/set: its settings can't be read"):
            open_conversion(f"lmdb://{tmp_path}/set{query}")


OPEN_ONE = """
import sys
from store import StoreError, open_store
sys.stdin.readline()
try:
    print(open_store(sys.argv[1]).utxo_batch_size)
except StoreError as error:
    print(error)
"""


def test_of_several_that_make_a_set_at_once_one_decides(tmp_path: Path) -> None:
    url = f"lmdb://{tmp_path}/set?utxo_batch_size="
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_ONE, f"{url}{size}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        for size in (4, 8, 16)
    ]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("\n")
        maker.stdin.flush()
    told = [maker.communicate(timeout=60)[0].strip() for maker in makers]
    kept = str(kept_settings(tmp_path / "set")["utxo_batch_size"])
    assert told.count(kept) == 1
    assert sum(f"made with utxo_batch_size={kept}, which cannot be changed" in text for text in told) == 2
