import pytest

from tests.aerospike_server import BOTH


@pytest.fixture(scope="module", params=BOTH)
def store_kind(request: pytest.FixtureRequest) -> str:
    """Each test that uses it runs on every kind of store."""
    kind: str = request.param
    return kind
