import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aerospike
import pytest

from store import Store, open_store
from store.rules import rules_source
from store.transaction import Transaction, parse_transaction
from tests.lua import Rules
from tests.support import ruled
from tests.support.aerospike_server import AEROSPIKE, own_set, server_client
from tests.support.embedded_rules import EmbeddedRules
from tests.support.scripted_aerospike import ScriptedCluster
from tests.support.served_rules import ServedRules

REPOSITORY = Path(__file__).parents[2]
_LUA = Rules()
FIRST_SPENDS = json.loads((REPOSITORY / "utxod" / "data" / "first-spends.json").read_text())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"lmdb://{tmp_path}/set?sync=false")
    yield opened
    opened.close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> ScriptedCluster:
    """What every Aerospike store that is opened finds."""
    scripted = ScriptedCluster("one", "two", "three")
    monkeypatch.setattr(aerospike, "client", scripted.client)
    return scripted


@pytest.fixture
def either_store(store_kind: str, tmp_path: Path) -> Iterator[Store]:
    """One test, every store."""
    with own_set(store_kind, tmp_path) as url:
        opened = open_store(url)
        yield opened
        opened.close()


@pytest.fixture
def load_rules(store_kind: str) -> Iterator[Callable[[bytes], Rules | ServedRules]]:
    """Loads a module of rules: into the emulation, or into a server."""
    if store_kind == "lmdb":
        yield Rules
        return
    with server_client() as client:
        loaded: list[ServedRules] = []

        def load(source: bytes) -> ServedRules:
            loaded.append(ServedRules(client, source))
            return loaded[-1]

        yield load
        for rules in loaded:
            rules.remove()


@pytest.fixture(params=["Python", "Lua", AEROSPIKE])
def run_rules(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the records of ruled.py have their rules from: each test runs on every implementation."""
    with _rules_of(request.param) as rules:
        monkeypatch.setattr(ruled, "RULES", rules)
        yield


@contextmanager
def _rules_of(implementation: str) -> Iterator[EmbeddedRules | Rules | ServedRules]:
    if implementation == "Python":
        yield EmbeddedRules()
    elif implementation == "Lua":
        yield _LUA
    else:
        with server_client() as client:
            served = ServedRules(client, rules_source())
            yield served
            served.remove()


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
