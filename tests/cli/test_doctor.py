"""utxod doctor: what it finds, and what it says to do."""

import json
import os

import lmdb
import pytest
from click.testing import CliRunner

from store import ErrorKind, open_store
from tests.support.aerospike_server import SERVER, SET, empty, server_url
from utxod.commands import cli
from utxod.doctor import REMEDIES, examine_batches, examine_namespace

needs_server = pytest.mark.skipif(not SERVER, reason="UTXOD_TEST_AEROSPIKE names no server: host[:port]/namespace")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Of a daemon that never ran."""
    monkeypatch.setenv("UTXOD_STATE", str(tmp_path / "state/of/utxod"))
    return tmp_path / "state/of/utxod"


def doctor(store):
    result = CliRunner().invoke(cli, ["doctor", "--json", "--store", store])
    return result.exit_code, {finding["what"]: finding for finding in json.loads(result.output)}


def made(url):
    open_store(url).close()
    return url


def test_an_embedded_store_that_is_well(tmp_path):
    code, findings = doctor(made(f"lmdb://{tmp_path}/set?utxo_batch_size=4"))
    assert code == 0
    assert "4 outputs a record" in findings["store"]["found"]
    assert "rule" in findings["round trip"]["found"]


def everything(directory):
    return sorted(path for path in directory.rglob("*"))


def test_a_set_that_is_not_there_is_said_and_not_made(tmp_path):
    for name in ("set", "sit/of/another"):
        for url in (f"lmdb://{tmp_path}/{name}", f"faulty+lmdb://{tmp_path}/{name}?faults=/nosuch"):
            code, findings = doctor(url)
            assert code == 1
            assert findings["store"]["found"] == f"{tmp_path}/{name}: there is no set"
            assert "a daemon, which makes the set" in findings["store"]["remedy"]
            assert "round trip" not in findings
            found = CliRunner().invoke(cli, ["leftovers", "00" * 32, "--store", f"lmdb://{tmp_path}/{name}"])
            assert (found.exit_code, found.output) == (1, f"Error: {tmp_path}/{name}: there is no set\n")
    assert everything(tmp_path) == []
    (tmp_path / "set").mkdir()
    lmdb.open(str(tmp_path / "set")).close()  # of one who was killed before it had made its settings
    assert "there is no set" in doctor(f"lmdb://{tmp_path}/set?utxo_batch_size=4&adopt=true")[1]["store"]["found"]


def test_whether_what_is_in_doubt_can_be_written_is_looked_at_without_writing_it(tmp_path, state):
    code, findings = doctor("null:")
    assert code == 0
    assert findings["state"]["found"] == f"{state}, made where it is needed"
    assert everything(tmp_path) == []
    state.mkdir(parents=True)
    assert doctor("null:")[1]["state"] == {"what": "state", "found": str(state), "remedy": ""}
    (state / "in-doubt.jsonl").write_text("before\n")
    assert doctor("null:")[0] == 0
    assert (state / "in-doubt.jsonl").read_text() == "before\n"
    assert everything(state) == [state / "in-doubt.jsonl"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.parent.parent.write_text(""),
        lambda state: (state / "in-doubt.jsonl").mkdir(parents=True),
        pytest.param(
            lambda state: (state.mkdir(parents=True), state.chmod(0o500)),
            marks=pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere"),
        ),
    ],
    ids=["no directory", "no file", "not ours"],
)
def test_a_state_that_can_not_be_written_is_wrong(spoil, state):
    spoil(state)
    code, findings = doctor("null:")
    assert code == 1
    assert "cannot be written" in findings["state"]["found"]
    assert "`state`" in findings["state"]["remedy"]


def test_settings_that_are_wrong_are_a_finding(monkeypatch):
    monkeypatch.setenv("UTXOD_WORKERS_WRITE", "many")
    code, findings = doctor("null:")
    assert code == 1
    assert findings["settings"]["found"].startswith("workers.write: must be a valid integer")


def test_what_is_wrong_is_said_in_words_with_what_to_do(tmp_path):
    made(f"lmdb://{tmp_path}/set?utxo_batch_size=4")
    for store, found, remedy in (
        (f"lmdb://{tmp_path}/set?utxo_batch_size=8", "made with utxo_batch_size=4", "leave utxo_batch_size out"),
        ("aerospike://127.0.0.1:1/utxo", "cannot be reached", "is a node up"),
        ("aerospike://127.0.0.1", "needs hosts and a namespace", "correct the setting"),
    ):
        code, findings = doctor(store)
        assert code == 1
        (finding,) = (finding for finding in findings.values() if finding["remedy"])
        assert found in finding["found"]
        assert remedy in finding["remedy"]


@pytest.mark.parametrize("name", ["genesis_height", "layout", "there is no set", "udf-admin"])
def test_a_remedy_is_for_what_is_wrong_whatever_words_the_message_has(tmp_path, name):
    """The directory's name is in the message, and may have the words of another error."""
    made(f"lmdb://{tmp_path}/{name}")
    with lmdb.open(str(tmp_path / name)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"settings", b"damaged")
    code, findings = doctor(f"lmdb://{tmp_path}/{name}")
    assert code == 1
    assert "its settings can't be read" in findings["store"]["found"]
    assert findings["store"]["remedy"] == "see the message"


def test_every_kind_of_error_that_has_a_remedy_has_it_once():
    assert set(REMEDIES) == set(ErrorKind) - {ErrorKind.OTHER}


def test_a_person_reads_a_table(tmp_path):
    result = CliRunner().invoke(cli, ["doctor", "--store", made(f"lmdb://{tmp_path}/set")])
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
    code, findings = doctor(made(server_url(blobs=tmp_path)))
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
