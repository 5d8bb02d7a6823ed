from pathlib import Path

import pytest

from store import open_store
from store.layout import GENESIS_NEVER


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
        ("lmdb:///dir?utxo_batch_size=0", "utxo_batch_size=0: is no number from 1 to 4096"),
        ("lmdb:///dir?genesis_height=soon", "genesis_height=soon: is neither a block height nor never"),
        ("lmdb:///dir?genesis_height=-1", "genesis_height=-1: is neither a block height nor never"),
        ("lmdb:///dir?genesis_height=4294967296", "genesis_height=4294967296: is neither a block height nor never"),
        ("lmdb:///dir?adopt=yes", "adopt=yes: is neither true nor false"),
        ("lmdb:///dir?utxo_batch_size=4097", "utxo_batch_size=4097: is no number from 1 to 4096; .* spent whole"),
        ("lmdb:///dir?map_size=1GB", f"map_size=1GB: is no number from 4096 to {1 << 46}"),
        ("lmdb:///dir?map_size=4095", "map_size=4095: is no number from"),
        (f"lmdb:///dir?map_size={(1 << 46) + 1}", "is no number from"),
        (f"lmdb:///dir?map_size={'9' * 5000}", "is no number from"),
        ("lmdb:///dir?sink=false", "unknown option sink"),
        ("null:?sync=true", "unknown option sync"),
        ("faulty+null:", "needs faults=FILE"),
        ("faulty:", "unknown scheme 'faulty'"),
    ],
)
def test_a_wrong_url_is_refused_by_name(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_store(url)


def test_the_options_reach_the_embedded_store_also_where_faults_are_injected(tmp_path: Path) -> None:
    query = "sync=false&map_size=1048576&utxo_batch_size=4&genesis_height=never&adopt=true"
    for url in (f"lmdb://{tmp_path}/a?{query}", f"faulty+lmdb://{tmp_path}/b?{query}&faults={tmp_path}/faults.json"):
        store = open_store(url)
        assert (store.utxo_batch_size, store.genesis_height) == (4, GENESIS_NEVER)
        store.close()


def test_a_directory_is_made_and_may_have_any_name(tmp_path: Path) -> None:
    open_store(f"lmdb://{tmp_path}/a%20set/of%3Fours").close()
    assert (tmp_path / "a set" / "of?ours" / "data.mdb").exists()
    assert (tmp_path / "a set" / "of?ours" / "blobs").is_dir()
