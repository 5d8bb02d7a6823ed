"""Opening a set in a cluster of which not all is well: what is a reason to refuse, and what is only said."""

import logging

import aerospike
import pytest

from store import StoreError, open_store
from store.aerospike.batch_records import call_policy
from store.aerospike.indexes import INDEXED_BINS
from tests.support.scripted_aerospike import ScriptedCluster

URL = "aerospike://one/coins"


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "utxod.store")


def test_a_node_without_the_namespace_is_named_and_the_others_serve(
    cluster: ScriptedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.nodes[1].namespaces = "other"
    open_store(URL)
    assert [record.getMessage() for record in caplog.records] == [
        "aerospike://one:3000/coins?set=utxo: node two has no namespace coins: it keeps nothing of the set"
    ]
    assert cluster.indexes == list(INDEXED_BINS)


def test_where_no_node_has_the_namespace_it_is_refused_with_those_that_there_are(cluster: ScriptedCluster) -> None:
    for node in cluster.nodes:
        node.namespaces = "other;more"
    with pytest.raises(StoreError, match="no namespace coins on node one; there is other, more"):
        open_store(URL)


def test_a_node_that_hangs_is_waited_for_once(cluster: ScriptedCluster) -> None:
    open_store(URL)
    for node in cluster.nodes:
        node.asked.clear()
    cluster.nodes[1].is_silent = True
    open_store(URL)
    assert len(cluster.nodes[0].asked) > 3
    assert len(cluster.nodes[1].asked) == 1


def test_where_no_node_answers_it_is_refused(cluster: ScriptedCluster) -> None:
    for node in cluster.nodes:
        node.is_silent = True
    with pytest.raises(StoreError, match="cannot be asked about itself"):
        open_store(URL)


def test_nodes_that_cannot_be_reached_are_said_and_the_others_serve(
    cluster: ScriptedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.out_of_reach = ["three"]
    open_store(URL)
    assert "1 of the cluster's 3 nodes cannot be reached" in caplog.text


def test_alternate_addresses_that_are_not_configured_are_named(cluster: ScriptedCluster) -> None:
    cluster.nodes[0].alternate = "10.0.0.1:3000"
    with pytest.raises(StoreError, match="no alternate address is configured on three, two"):
        open_store(f"{URL}?services_alternate=true")
    for node in cluster.nodes:
        node.alternate = "10.0.0.1:3000"
    open_store(f"{URL}?services_alternate=true")


def test_every_call_asks_all_copies_and_only_reads_are_repeated() -> None:
    reads, writes = call_policy(3.0, 2), call_policy(3.0, 0)
    for policy in (reads, writes):
        assert policy["read_mode_ap"] == aerospike.POLICY_READ_MODE_AP_ALL
        assert policy["total_timeout"] == 3000
    assert (reads["max_retries"], reads["socket_timeout"]) == (2, 1000)
    assert (writes["max_retries"], writes["socket_timeout"]) == (0, 3000)


def test_a_set_that_is_only_looked_at_is_not_made(cluster: ScriptedCluster) -> None:
    with pytest.raises(StoreError, match="there is no set"):
        open_store(URL, create=False)
    assert (cluster.data, cluster.indexes) == ({}, [])
    open_store(URL)
    open_store(URL, create=False)
