"""Sets that programs of older layouts wrote, kept as keys, values and blobs in layout_1_set.json and layout_2_set.json,
with the bins that the last program of layout 2 read there.

Layout 1: utxo_batch_size is 2, and the set has no genesis height. Four transactions, each of which spends from the one
before; the third has several records and a blob, an output of the last is frozen.
Layout 2: utxo_batch_size is 4, genesis_height 100. Outputs that were spent, unspent again, joined, frozen and
reassigned; children, marks, locks, conflicts; a creation lock that lasts until the year 2100.
"""

import json
from pathlib import Path
from typing import Any

import lmdb
import msgpack

from store import Read, Status, Store
from store.layout import DEFAULT_GENESIS_HEIGHT

SETTINGS = {1: (2, DEFAULT_GENESIS_HEIGHT), 2: (4, 100)}  # layout -> utxo_batch_size, genesis_height


def _kept(layout: int) -> Any:
    return json.loads(Path(__file__).with_name(f"layout_{layout}_set.json").read_text())


def build(directory: Path, layout: int) -> str:
    """The set in this directory, which must not exist yet, and its URL."""
    kept = _kept(layout)
    directory.mkdir()
    put(directory, {bytes.fromhex(key): bytes.fromhex(value) for key, value in kept["records"].items()})
    for name, content in kept["blobs"].items():
        path = directory / "blobs" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes.fromhex(content))
    return f"lmdb://{directory}"


def put(directory: Path, records: dict[bytes, bytes]) -> None:
    """In a set that nobody has open."""
    with lmdb.open(str(directory), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)


def lose_settings(directory: Path) -> None:
    """Of a set that nobody has open."""
    with lmdb.open(str(directory), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        transaction.delete(b"settings")


def bins_of(layout: int) -> dict[bytes, dict[str, Any]]:
    """Of each record, by its key."""
    return {
        bytes.fromhex(key): msgpack.unpackb(bytes.fromhex(bins), strict_map_key=False)
        for key, bins in _kept(layout)["bins"].items()
    }


def read_all(store: Store, layout: int) -> dict[bytes, dict[str, Any]]:
    """As bins_of, what the set has of these records now."""
    keys = list(bins_of(layout))
    results = store.batch_operate([Read(key) for key in keys], 30.0)
    assert [result.status for result in results] == [Status.OK] * len(keys)
    return {key: result.value for key, result in zip(keys, results, strict=True)}


def kept_records(directory: Path) -> dict[bytes, bytes]:
    """Every key and value of a set that nobody has open, but its settings."""
    with lmdb.open(str(directory), map_size=1 << 24) as environment, environment.begin() as transaction:
        return {key: value for key, value in transaction.cursor() if key != b"settings"}


def kept_settings(directory: Path) -> dict[str, Any]:
    """What a set that nobody has open keeps of its settings."""
    with lmdb.open(str(directory), map_size=1 << 24) as environment, environment.begin() as transaction:
        settings: dict[str, Any] = msgpack.unpackb(transaction.get(b"settings"))
        return settings
