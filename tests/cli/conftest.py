from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.aerospike_server import own_set


@pytest.fixture
def store_url(store_kind: str, tmp_path: Path) -> Iterator[str]:
    with own_set(store_kind, tmp_path) as url:
        yield url
