from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from dispatching import Dispatched, dispatch

from store import Store, open_store
from tests.aerospike_server import BOTH, SET, empty, server_url
from utxod.generate import Generator


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Two outputs a record, so that a transaction of four has a child."""
    if request.param == "lmdb":
        opened = open_store(f"lmdb://{tmp_path / 'set'}?utxo_batch_size=2&sync=false")
    else:
        opened = open_store(server_url(utxo_batch_size=2, blobs=tmp_path / "blobs"))
    yield opened
    opened.close()
    if request.param != "lmdb":
        empty(SET)


@pytest.fixture
def generate() -> Generator:
    return Generator()


@pytest.fixture
def run(store: Store) -> Callable[..., Dispatched]:
    def run(operation: str, *requests: Sequence[Any], **options: Any) -> Dispatched:
        return dispatch(store, operation, *requests, **options)

    return run
