"""The Aerospike server of the tests that want one: UTXOD_TEST_AEROSPIKE=host[:port]/namespace names it.

The namespace is the tests' own: they write into sets whose names begin with `utxod-test`, and leave them empty. A test
of what any store does runs on the embedded one and on the server; where no server is named, the second is skipped.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
# Of a test that takes the fixture `store_kind`, but is about the embedded store.
EMBEDDED_ONLY = pytest.mark.parametrize("store_kind", ["lmdb"], indirect=True)


@contextmanager
def own_set(kind: str, directory: Path, name: str = "") -> Iterator[str]:
    """The URL of a set of the test's own, which further options may follow. kind: one of BOTH. directory: where it, or
    its large transactions, are. name: tells it from other sets that are in use at the same time."""
    if kind == "lmdb":
        yield f"lmdb://{directory / 'store'}?sync=false"
        return
    set_name = f"{SET}-{name}" if name else SET
    try:
        yield server_url(set_name, blobs=directory / "blobs")
    finally:
        empty(set_name)


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
    """Removes every record, one by one: truncating a set would remove what is written soon after, too."""
    with server_client() as client:
        for name in set_names:
            for set_name in (name, f"{name}-settings"):
                keys = [record[0] for record in client.query(NAMESPACE, set_name).results(options={"nobins": True})]
                for key in keys:
                    client.remove(key)
