import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import Store, open_store
from store.transaction import Transaction, parse_transaction

REPOSITORY = Path(__file__).parents[2]
FIRST_SPENDS = json.loads((REPOSITORY / "utxod" / "data" / "first-spends.json").read_text())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"lmdb://{tmp_path}/set?sync=false")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def first_payment() -> Transaction:
    """The first payment in Bitcoin's history: one input, two outputs."""
    return parse_transaction(bytes.fromhex(FIRST_SPENDS[1]["raw"]))


@pytest.fixture(scope="session")
def first_coinbase() -> Transaction:
    return parse_transaction(bytes.fromhex(FIRST_SPENDS[0]["raw"]))


@pytest.fixture(scope="session")
def blocks() -> list[bytes]:
    directory = REPOSITORY.parent / "shared" / "blocks"
    if not directory.is_dir():
        pytest.skip(f"real blocks are not there: no {directory}")
    return [path.read_bytes() for path in sorted(directory.glob("*.bin"))]
