"""What is fixed for the life of a set in Aerospike: read first, made only where there is none, never guessed."""

import pytest

from store import Mode, Read, RuleCall, Status, StoreError, Write, open_store
from store.aerospike.settings import LAYOUT
from store.layout import DEFAULT_GENESIS_HEIGHT, GENESIS_NEVER
from tests.support.scripted_aerospike import ScriptedCluster
from tests.support.storing import KEY

SETTINGS = ("utxo-settings", b"settings")
OLD = {"layout": 1, "utxoBatchSize": 64}
OUT_OF_SPACE, FORBIDDEN = 8, 22
SPEND = RuleCall(KEY, "spend", ())


def url(**options: object) -> str:
    return "&".join(["aerospike://one/coins?set=utxo", *(f"{name}={value}" for name, value in options.items())])


def test_a_new_set_keeps_what_it_was_made_with(cluster: ScriptedCluster) -> None:
    store = open_store(url(utxo_batch_size=64, genesis_height="never"))
    assert (store.utxo_batch_size, store.genesis_height) == (64, GENESIS_NEVER)
    assert cluster.data[SETTINGS] == {
        "layout": LAYOUT,
        "utxoBatchSize": 64,
        "genesisHeight": GENESIS_NEVER,
    }
    again = open_store(url())
    assert (again.utxo_batch_size, again.genesis_height) == (64, GENESIS_NEVER)
    for other, message in ((url(utxo_batch_size=128), "utxo_batch_size=64"), (url(genesis_height=7), "never")):
        with pytest.raises(StoreError, match=f"made with .*{message}"):
            open_store(other)


@pytest.mark.parametrize("code", [OUT_OF_SPACE, FORBIDDEN])
def test_a_namespace_that_refuses_writes_keeps_nobody_from_opening_a_set_that_has_settings(
    cluster: ScriptedCluster, code: int
) -> None:
    open_store(url(utxo_batch_size=64))
    for node in cluster.nodes:
        node.refuses = code
    assert open_store(url()).utxo_batch_size == 64
    cluster.data.clear()
    with pytest.raises(StoreError, match=f"cannot be kept.*result code {code}"):
        open_store(url())


@pytest.mark.parametrize(
    "options", [{}, {"utxo_batch_size": 64}, {"adopt": "true"}, {"utxo_batch_size": 64, "adopt": "false"}]
)
def test_records_without_settings_are_not_guessed_at(cluster: ScriptedCluster, options: dict[str, object]) -> None:
    cluster.nodes[1].objects = 7
    with pytest.raises(StoreError, match="holds records and has no settings") as caught:
        open_store(url(**options))
    assert not caught.value.in_doubt
    assert not cluster.data


def test_records_without_settings_are_adopted_by_who_names_them(cluster: ScriptedCluster) -> None:
    cluster.nodes[1].objects = 7
    assert open_store(url(utxo_batch_size=64, adopt="true")).utxo_batch_size == 64
    assert open_store(url()).utxo_batch_size == 64


def test_settings_that_another_daemon_makes_meanwhile_are_found_though_it_writes_at_once(
    cluster: ScriptedCluster,
) -> None:
    def another_comes() -> None:
        cluster.data[SETTINGS] = {"layout": LAYOUT, "utxoBatchSize": 32, "genesisHeight": 1}
        cluster.nodes[0].objects = 1

    cluster.before_counting = another_comes
    assert open_store(url()).utxo_batch_size == 32


@pytest.mark.parametrize(
    "bins",
    [{"utxoBatchSize": "64"}, {"utxoBatchSize": 0}, {"utxoBatchSize": None}, {"genesisHeight": b""}, {"layout": ""}],
)
def test_damaged_settings_are_refused_and_left_as_they_are(cluster: ScriptedCluster, bins: dict[str, object]) -> None:
    damaged = OLD | bins
    cluster.data[SETTINGS] = dict(damaged)
    for options in ({}, {"utxo_batch_size": 64, "adopt": "true"}):
        with pytest.raises(StoreError, match=r"set=utxo: its settings can't be read: it is damaged"):
            open_store(url(**options))
    assert cluster.data[SETTINGS] == damaged


def test_a_node_that_does_not_answer_is_not_taken_for_empty(cluster: ScriptedCluster) -> None:
    cluster.nodes[2].is_silent = True
    with pytest.raises(StoreError, match="cannot be told: three does not say"):
        open_store(url())
    assert not cluster.data
    cluster.nodes[2].is_silent = False
    cluster.nodes[2].forbids = "sets/"
    with pytest.raises(StoreError, match="cannot be told: three does not say"):
        open_store(url())
    cluster.nodes[2].forbids = ""
    open_store(url())


def test_the_first_write_raises_the_layout_of_an_older_set_once_and_reads_do_not(cluster: ScriptedCluster) -> None:
    cluster.data[SETTINGS] = dict(OLD)
    store = open_store(url())
    assert (store.utxo_batch_size, store.genesis_height) == (64, DEFAULT_GENESIS_HEIGHT)
    store.batch_operate([Read(KEY)], 30)
    assert cluster.data[SETTINGS] == OLD
    for _ in range(2):
        store.batch_operate([SPEND, Write(KEY, {"a": 1}, Mode.UPSERT)], 30)
    assert cluster.data[SETTINGS] == OLD | {"layout": LAYOUT}
    assert [key for _, key in cluster.log].count(SETTINGS[1]) == 1
    assert cluster.log[0] == ("Write", SETTINGS[1])  # before anything of the new layout


@pytest.mark.parametrize(
    ("code", "status"), [(OUT_OF_SPACE, Status.OVERLOADED), (FORBIDDEN, Status.UNAVAILABLE), (81, Status.ERROR)]
)
def test_a_write_whose_layout_cannot_be_raised_is_not_done(cluster: ScriptedCluster, code: int, status: Status) -> None:
    cluster.data[SETTINGS] = dict(OLD)
    store = open_store(url())
    cluster.nodes[SETTINGS[1][0] % 3].refuses = code
    with pytest.raises(StoreError, match="layout cannot be raised") as caught:
        store.batch_operate([SPEND], 30)
    assert (caught.value.status, caught.value.in_doubt) == (status, False)
    assert ("Apply", KEY) not in cluster.log
    cluster.nodes[SETTINGS[1][0] % 3].refuses = 0
    assert store.batch_operate([SPEND], 30)[0].status is Status.OK


def test_a_set_whose_layout_is_newer_is_neither_opened_nor_written_to(cluster: ScriptedCluster) -> None:
    cluster.data[SETTINGS] = dict(OLD)
    store = open_store(url())
    cluster.data[SETTINGS]["layout"] = LAYOUT + 1  # a newer program came
    with pytest.raises(StoreError, match="layout has version"):
        store.batch_operate([SPEND], 30)
    with pytest.raises(StoreError, match="layout has version"):
        open_store(url())
    assert ("Apply", KEY) not in cluster.log


def test_settings_truncated_under_an_open_store_do_it_no_harm(cluster: ScriptedCluster) -> None:
    cluster.data[SETTINGS] = dict(OLD)
    store = open_store(url())
    cluster.data.clear()
    assert store.batch_operate([SPEND], 30)[0].status is Status.OK
