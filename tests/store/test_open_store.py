from pathlib import Path

import pytest

from store import open_store


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "unknown scheme ''"),
        ("/var/lib/utxod", "unknown scheme ''"),
        ("redis://host", "unknown scheme 'redis'; known are lmdb, aerospike, null"),
        ("lmdb://relative/path", "absolute directory"),
        ("lmdb:", "absolute directory"),
        ("lmdb:///", "absolute directory"),
        ("lmdb:///dir?sync=yes", "sync=yes: is neither true nor false"),
        ("lmdb:///dir?utxo_batch_size=0", "utxo_batch_size=0: is no positive number"),
        ("lmdb:///dir?map_size=1GB", "map_size=1GB: is no positive number"),
        ("lmdb:///dir?sink=false", "unknown option sink"),
        ("null:?sync=true", "unknown option sync"),
        ("faulty+null:", "needs faults=FILE"),
        ("faulty:", "unknown scheme 'faulty'"),
    ],
)
def test_a_wrong_url_is_refused_by_name(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_store(url)


def test_a_directory_is_made_and_may_have_any_name(tmp_path: Path) -> None:
    open_store(f"lmdb://{tmp_path}/a%20set/of%3Fours").close()
    assert (tmp_path / "a set" / "of?ours" / "data.mdb").exists()
    assert (tmp_path / "a set" / "of?ours" / "blobs").is_dir()
