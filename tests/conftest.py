import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.support.aerospike_server import BOTH

# A shell's job in the background ignores Ctrl-C, what nohup starts ignores SIGHUP, and so would whatever a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A machine that is busy with something else makes examples slowly.
settings.register_profile("busy", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("busy")


@pytest.fixture(scope="module", params=BOTH)
def store_kind(request: pytest.FixtureRequest) -> str:
    """Each test that uses it runs on every kind of store."""
    kind: str = request.param
    return kind
