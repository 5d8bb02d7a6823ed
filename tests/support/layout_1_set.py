"""A set that a program of layout 1 wrote, one of d1aa91c, kept as its keys, values and blobs in layout_1_set.json.

utxo_batch_size is 2, retention was 288. Four transactions, each of which spends from the one before:

PARENT     the first payment in Bitcoin's history, mined in block 7 at height 170. FINISHED spends output 0 of two
FINISHED   mined in block 8 at height 181. SPREAD spends both outputs, at height 190: deleteAtHeight is 478
SPREAD     five outputs, so a master, two children and a blob; unmined since 190. HELD spends output 4, which completes
           child 2: spentExtraRecs is 1
HELD       two outputs, unmined since 200; output 0 is frozen
"""

import json
from pathlib import Path
from typing import Any, Final

import lmdb

from store.lmdb import codec

UTXO_BATCH_SIZE: Final = 2
PARENT: Final = bytes.fromhex("169e1e83e930853391bc6f35f605c6754cfead57cf8387639d3b4096c54f18f4")
FINISHED: Final = bytes.fromhex("6d64d50bd69961021b715acb6b85d5572eb434b320f56448270b4fab0d50e403")
SPREAD: Final = bytes.fromhex("8fc0d627609498edf54bc9567d53be46ed479dbe799e354e2d50a96f2bfae2bb")
HELD: Final = bytes.fromhex("95d252e2cc1bc36e89fdd8c4448e2a812ed0366961a301ddfee9372f645c3393")


def build(directory: Path) -> str:
    """The set in this directory, which must not exist yet, and its URL."""
    kept = json.loads(Path(__file__).with_suffix(".json").read_text())
    directory.mkdir()
    with lmdb.open(str(directory), map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
        for key, value in kept["records"].items():
            transaction.put(bytes.fromhex(key), bytes.fromhex(value))
    for name, content in kept["blobs"].items():
        path = directory / "blobs" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes.fromhex(content))
    return f"lmdb://{directory}"


def kept_settings(directory: Path) -> dict[str, Any]:
    """What a set that nobody has open keeps of its settings."""
    with lmdb.open(str(directory)) as environment, environment.begin() as transaction:
        settings: dict[str, Any] = codec.unpack(transaction.get(b"settings") or b"")
        return settings
