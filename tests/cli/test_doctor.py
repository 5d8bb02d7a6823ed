"""utxod doctor: what it finds, and what it says to do."""

import json

import pytest
from click.testing import CliRunner

from tests.aerospike_server import SERVER, SET, empty, server_url
from utxod.commands import cli
from utxod.doctor import examine_batches, examine_namespace

needs_server = pytest.mark.skipif(not SERVER, reason="UTXOD_TEST_AEROSPIKE names no server: host[:port]/namespace")


def doctor(store):
    result = CliRunner().invoke(cli, ["doctor", "--json", "--store", store])
    return result.exit_code, {finding["what"]: finding for finding in json.loads(result.output)}


def test_an_embedded_store_that_is_well(tmp_path):
    code, findings = doctor(f"lmdb://{tmp_path}/set?utxo_batch_size=4")
    assert code == 0
    assert "4 outputs a record" in findings["store"]["found"]
    assert "rule" in findings["round trip"]["found"]


def test_what_is_wrong_is_said_in_words_with_what_to_do(tmp_path):
    doctor(f"lmdb://{tmp_path}/set?utxo_batch_size=4")
    for store, found, remedy in (
        (f"lmdb://{tmp_path}/set?utxo_batch_size=8", "made with utxo_batch_size=4", "leave utxo_batch_size out"),
        ("aerospike://127.0.0.1:1/utxo", "cannot be reached", "is a node up"),
        ("aerospike://127.0.0.1", "needs hosts and a namespace", "correct the setting"),
    ):
        code, findings = doctor(store)
        assert code == 1
        (finding,) = findings.values()
        assert found in finding["found"]
        assert remedy in finding["remedy"]


def test_a_person_reads_a_table(tmp_path):
    result = CliRunner().invoke(cli, ["doctor", "--store", f"lmdb://{tmp_path}/set"])
    assert result.exit_code == 0
    assert "well" in result.output
    assert "wrong" not in result.output


WELL = {"max-record-size": "1048576", "nsup-period": "120", "default-ttl": "0", "replication-factor": "2"}


@pytest.mark.parametrize(
    ("changed", "wrong", "remedy"),
    [
        ({}, None, ""),
        ({"max-record-size": "40000"}, "record size", "max-record-size"),
        ({"nsup-period": "0"}, "expiry", "creation locks must expire"),
        ({"nsup-period": "0", "allow-ttl-without-nsup": "true"}, None, ""),
        ({"default-ttl": "3600"}, "default time to live", "default-ttl 0"),
        ({"storage-engine.evict-used-pct": "60"}, "eviction", "refuse, not forget"),
        ({"disable-write-dup-res": "true"}, "writes ask all copies", "disable-write-dup-res false"),
        ({"read-consistency-level-override": "one"}, "reads ask all copies", "read-consistency-level-override off"),
        ({"read-consistency-level-override": "all"}, None, ""),
    ],
)
def test_a_namespace_that_would_harm_the_set_is_named(changed, wrong, remedy):
    findings = list(examine_namespace("namespace", WELL | changed, 128))
    found = [finding for finding in findings if not finding.is_well]
    assert [finding.what for finding in found] == ([f"namespace: {wrong}"] if wrong else [])
    assert all(remedy in finding.remedy for finding in found)


def test_a_node_without_the_namespace_is_named_and_nothing_is_said_of_its_settings():
    (finding,) = examine_namespace("namespace", {}, 128)
    assert "add the namespace" in finding.remedy


@pytest.mark.parametrize(("limit", "is_well"), [(None, True), (5000, True), (1000, True), (999, False)])
def test_a_limit_of_batches_below_a_full_dispatch_is_named(limit, is_well):
    finding = examine_batches(limit)
    assert finding.is_well is is_well
    assert is_well or "batch-max-requests to 1000" in finding.remedy


@pytest.mark.aerospike
@needs_server
def test_a_cluster_that_is_well(tmp_path):
    code, findings = doctor(server_url(blobs=tmp_path))
    empty(SET)
    assert code == 0, findings
    assert {"nodes", "rules", "index on deleteAtHeight", "index on unminedSince", "blobs", "round trip"} <= set(
        findings
    )


@pytest.mark.aerospike
@needs_server
def test_a_namespace_that_is_not_there_is_named_with_those_that_are():
    code, findings = doctor(f"aerospike://{SERVER.partition('/')[0]}/nosuch")
    assert code == 1
    assert SERVER.partition("/")[2] in findings["store"]["found"]
    assert "every node" in findings["store"]["remedy"]
