"""What is the Aerospike store's own, against a server."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from store import Mode, Read, RuleCall, Status, StoreError, Write, open_store
from store.aerospike.indexes import INDEXED_BINS, find_indexes
from store.aerospike.rules_module import nodes_without_module, own_name
from store.aerospike.settings import LAYOUT, settings_set
from store.layout import CreationOptions, Partial, create_records
from store.transaction import Output
from tests.support.aerospike_server import NAMESPACE, SERVER, SET, empty, server_client, server_url
from tests.support.storing import KEY, OTHER, create, read, run

pytestmark = [
    pytest.mark.aerospike,
    pytest.mark.skipif(not SERVER, reason="UTXOD_TEST_AEROSPIKE names no server: host[:port]/namespace"),
    pytest.mark.usefixtures("emptied"),
]


@pytest.fixture
def emptied() -> Iterator[None]:
    empty(SET)
    yield
    empty(SET)


def test_opening_makes_module_and_indexes_once_and_leaves_nothing_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        open_store(server_url()).close()
        with server_client() as client:
            assert nodes_without_module(client, own_name()) == []
            assert set(INDEXED_BINS) <= set(find_indexes(client, NAMESPACE, SET))
    assert list(tmp_path.iterdir()) == []


def test_utxo_batch_size_is_fixed_for_the_life_of_a_set() -> None:
    open_store(server_url(utxo_batch_size=4)).close()
    store = open_store(server_url())
    assert store.utxo_batch_size == 4
    store.close()
    with pytest.raises(StoreError, match="made with utxo_batch_size=4, which cannot be changed to 128"):
        open_store(server_url(utxo_batch_size=128))


def settings_key() -> tuple[str, str, bytearray]:
    return NAMESPACE, settings_set(SET), bytearray(b"settings")


@contextmanager
def refusing_writes(set_name: str) -> Iterator[None]:
    """A set to which the server lets nothing new be written."""
    change = f"set-config:context=namespace;namespace={NAMESPACE};set={set_name};stop-writes-count="
    with server_client() as client:
        client.info_all(f"{change}1")
        try:
            yield
        finally:
            client.info_all(f"{change}0")


def test_a_set_of_layout_1_is_opened_where_nothing_can_be_written_and_raised_by_its_first_write() -> None:
    with server_client() as client:
        client.put(settings_key(), {"layout": 1, "utxoBatchSize": 4})
        with refusing_writes(settings_set(SET)):
            store = open_store(server_url())
        assert store.utxo_batch_size == 4
        run(store, Read(KEY))
        assert client.get(settings_key())[2]["layout"] == 1
        create(store, a=1)
        assert client.get(settings_key())[2] == {"layout": LAYOUT, "utxoBatchSize": 4}
    store.close()


def test_a_set_that_lost_its_settings_is_opened_by_who_names_them_alone() -> None:
    store = open_store(server_url(utxo_batch_size=4))
    create(store, a=1)
    with server_client() as client:
        client.remove(settings_key())
    for options in ({}, {"utxo_batch_size": 128}, {"adopt": "true"}):
        with pytest.raises(StoreError, match="holds records and has no settings"):
            open_store(server_url(**options))
    assert read(store) == {"a": 1}  # who has it open goes on
    store.close()
    open_store(server_url(utxo_batch_size=4, adopt="true")).close()
    open_store(server_url(utxo_batch_size=4)).close()


def test_a_set_that_refuses_writes_refuses_them_for_now() -> None:
    store = open_store(server_url())
    create(store, OTHER, totalExtraRecs=0)
    with refusing_writes(SET):
        (refused,) = run(store, Write(KEY, {"a": 1}, Mode.CREATE))
    assert (refused.status, refused.in_doubt) == (Status.UNAVAILABLE, False)
    assert "clocks differ" in refused.message
    store.close()


def test_rules_that_are_removed_from_the_server_come_back() -> None:
    store = open_store(server_url())
    create(store, totalExtraRecs=0)
    call = RuleCall(KEY, "setLocked", (True, 0, 288))
    with server_client() as client:
        client.info_random_node(f"udf-remove:filename={own_name()}.lua;")
    seen = set()
    until = monotonic() + 10
    while (result := run(store, call)[0]).status is not Status.OK or not seen:
        assert monotonic() < until
        if result.status is not Status.OK:
            assert (result.status, result.in_doubt) == (Status.UNAVAILABLE, False)
            seen.add(result.message)
    assert [text for text in seen if "does not have the rules" not in text] == []
    store.close()


def test_a_seed_that_hangs_costs_a_second_and_no_more() -> None:
    hosts, _, rest = server_url().removeprefix("aerospike://").partition("/")
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # takes connections, and never says anything
        began = monotonic()
        open_store(f"aerospike://127.0.0.1:{hanging.getsockname()[1]},{hosts}/{rest}").close()
    assert monotonic() - began < 5


def test_a_call_without_time_left_is_refused_and_nothing_of_it_is_done() -> None:
    store = open_store(server_url())
    with pytest.raises(StoreError) as caught:
        store.batch_operate([Write(KEY, {"a": 1}, Mode.CREATE)], 0.0)
    assert not caught.value.in_doubt
    assert run(store, Read(KEY))[0].status is Status.NOT_FOUND
    store.close()


def test_a_rule_that_fails_fails_its_record_alone() -> None:
    store = open_store(server_url())
    create(store, OTHER, totalExtraRecs=0)
    bad, good = run(store, RuleCall(KEY, "nosuch", ()), RuleCall(OTHER, "setLocked", (True, 0, 288)))
    assert (bad.status, bad.in_doubt, good.status) == (Status.ERROR, False, Status.OK)
    assert read(store, OTHER) == {"totalExtraRecs": 0, "locked": True, "lockSeq": 1}
    store.close()


def test_without_a_directory_for_blobs_a_large_transaction_is_refused() -> None:
    store = open_store(server_url())
    for ask in (lambda: store.blobs.put_new(Partial(KEY, {0: Output(1, b"")})), lambda: store.blobs.get(KEY)):
        with pytest.raises(OSError, match="blobs=DIRECTORY"):
            ask()
    store.close()


def test_a_lock_expires_and_other_records_do_not() -> None:
    store = open_store(server_url())
    (_, bins), *_ = create_records(Partial(KEY, {0: Output(1, b"")}), CreationOptions(block_height=1, now_ms=0)).records
    run(store, Write(KEY, bins, Mode.CREATE), Write(OTHER, {"token": b"t"}, Mode.CREATE, ttl=30))
    run(store, RuleCall(KEY, "setLocked", (True,)), Write(OTHER, {"more": 1}, Mode.UPDATE))
    with server_client() as client:
        seconds = [client.exists((NAMESPACE, SET, bytearray(key)))[1]["ttl"] for key in (KEY, OTHER)]
    assert seconds[0] == 0xFFFFFFFF
    assert 0 < seconds[1] <= 30
    store.close()
