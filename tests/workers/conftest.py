from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from store import Store, open_store
from tests.support.abandoning import Payment
from tests.support.aerospike_server import own_set
from tests.support.dispatching import Dispatched, Run, dispatch
from tests.support.wrapped import RecordByRecord
from utxod.generate import Generator


@pytest.fixture
def opened(store_kind: str, tmp_path: Path) -> Iterator[Store]:
    """Two outputs a record, so that a transaction of four has a child."""
    with own_set(store_kind, tmp_path) as url:
        opened = open_store(f"{url}&utxo_batch_size=2")
        yield opened
        opened.close()


@pytest.fixture
def store(opened: Store) -> Store:
    return opened


@pytest.fixture(params=["as one whole", "record by record"])
def store_either_way(opened: Store, request: pytest.FixtureRequest) -> Any:
    """What a module's own `store` is where it must hold however batches are taken."""
    if request.param == "record by record":
        return RecordByRecord(opened)
    if not opened.is_atomic:
        pytest.skip("this store takes record by record")
    return opened


@pytest.fixture
def separate(store: Store) -> Store:
    """Only where records are taken one by one does the mark of one that is being abandoned stand by itself."""
    if store.is_atomic:
        pytest.skip("an abandon leaves no mark in a store whose batches are one whole")
    return store


@pytest.fixture(params=[True, False], ids=["extended", "standard"])
def is_extended(request: pytest.FixtureRequest) -> Any:
    """The format of a transaction that is accepted."""
    return request.param


@pytest.fixture
def generate() -> Generator:
    return Generator()


@pytest.fixture
def run(store: Store) -> Run:
    def run(operation: str, *requests: Sequence[Any], **options: Any) -> Dispatched:
        return dispatch(store, operation, *requests, **options)

    return run


@pytest.fixture
def payment(run: Run, store: Store, generate: Generator) -> Payment:
    return Payment(run, store, generate)
