import signal

import pytest

from tests.support.aerospike_server import BOTH

# A shell's job in the background ignores Ctrl-C, and so would whatever a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", params=BOTH)
def store_kind(request: pytest.FixtureRequest) -> str:
    """Each test that uses it runs on every kind of store."""
    kind: str = request.param
    return kind
