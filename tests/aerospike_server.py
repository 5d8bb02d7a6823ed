"""The Aerospike server of the tests that want one: UTXOD_TEST_AEROSPIKE=host[:port]/namespace names it.

The namespace is the tests' own: they write into sets whose names begin with `utxod-test`, and leave them empty.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aerospike
import pytest

SERVER = os.environ.get("UTXOD_TEST_AEROSPIKE", "")
NAMESPACE = SERVER.partition("/")[2]
SET = f"utxod-test{os.environ.get('PYTEST_XDIST_WORKER', '')}"

AEROSPIKE = pytest.param(
    "aerospike",
    marks=[
        pytest.mark.aerospike,
        pytest.mark.skipif(not SERVER, reason="UTXOD_TEST_AEROSPIKE names no server: host[:port]/namespace"),
    ],
)
BOTH = ["lmdb", AEROSPIKE]


def server_url(set_name: str = SET, **options: object) -> str:
    return "&".join([f"aerospike://{SERVER}?set={set_name}", *(f"{name}={value}" for name, value in options.items())])


@contextmanager
def server_client() -> Iterator[Any]:
    host, _, port = SERVER.partition("/")[0].partition(":")
    with tempfile.TemporaryDirectory() as directory:
        client: Any = aerospike.client({"hosts": [(host, int(port or 3000))], "lua": {"user_path": directory}})
        try:
            yield client
        finally:
            client.close()


def empty(*set_names: str) -> None:
    """Removes every record, one by one: truncating a set takes what is written soon after, too."""
    with server_client() as client:
        for name in set_names:
            for one in (name, f"{name}-settings"):
                keys = [record[0] for record in client.query(NAMESPACE, one).results(options={"nobins": True})]
                for key in keys:
                    client.remove(key)
