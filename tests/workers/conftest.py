from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from store import Store, open_store
from tests.support.aerospike_server import own_set
from tests.support.dispatching import Dispatched, dispatch
from utxod.generate import Generator


@pytest.fixture
def store(store_kind: str, tmp_path: Path) -> Iterator[Store]:
    """Two outputs a record, so that a transaction of four has a child."""
    with own_set(store_kind, tmp_path) as url:
        opened = open_store(f"{url}&utxo_batch_size=2")
        yield opened
        opened.close()


@pytest.fixture
def generate() -> Generator:
    return Generator()


@pytest.fixture
def run(store: Store) -> Callable[..., Dispatched]:
    def run(operation: str, *requests: Sequence[Any], **options: Any) -> Dispatched:
        return dispatch(store, operation, *requests, **options)

    return run
