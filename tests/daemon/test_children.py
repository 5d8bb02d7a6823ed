"""P6: work that follows from work goes downstream, so that no number of it at once can stop it."""

import time

from protocol import CreateItem, SetLocked
from store import Read, Remove, Status, Store
from store.layout import record_key
from tests.support.daemon import Start
from tests.support.seven_operations import NOTHING_ENDS_IT

TRANSACTIONS = 200
CHILDREN = 40
TXIDS = [number.to_bytes(32, "big") for number in range(TRANSACTIONS)]
OUTPUTS = dict.fromkeys(range(CHILDREN + 1), (1, b"Q"))


def flags(store: Store, txids: list[bytes]) -> list[bool]:
    keys = [record_key(txid, index) for txid in txids for index in range(CHILDREN + 1)]
    results = store.batch_operate([Read(key, ["locked"]) for key in keys], 30)
    assert {result.status for result in results} == {Status.OK}
    return [result.value["locked"] for result in results]


def test_many_transactions_of_many_records_are_locked_at_once_by_one_worker_of_each_pool(start: Start) -> None:
    daemon = start(NOTHING_ENDS_IT, store_options="&utxo_batch_size=1")
    daemon.wait_for_workers()
    with daemon.client() as client, daemon.store() as store:
        creations = [CreateItem.partial(txid, OUTPUTS, block_height=1) for txid in TXIDS]
        assert [outcome.error for outcome in client.create_many(creations) if not outcome.ok] == []
        for value in (True, False):
            began = time.monotonic()
            outcomes = client.set_locked_many([SetLocked(txid, value) for txid in TXIDS])
            print(f"{'locked' if value else 'unlocked'} in {time.monotonic() - began:.2f} s")
            assert [outcome.result for outcome in outcomes] == [CHILDREN] * TRANSACTIONS
            assert flags(store, TXIDS) == [value] * (TRANSACTIONS * (CHILDREN + 1))

        # One that lacks a child record is an error, and harms no other.
        store.batch_operate([Remove(record_key(TXIDS[77], 7))], 30)
        outcomes = client.set_locked_many([SetLocked(txid, True) for txid in TXIDS])
        error = outcomes.pop(77).error
        assert error is not None
        assert (error.code, error.executed) == ("STORE_ERROR", "unknown")
        assert [outcome.result for outcome in outcomes] == [CHILDREN] * (TRANSACTIONS - 1)
        assert all(flags(store, TXIDS[:77] + TXIDS[78:]))
    status = daemon.status()
    assert [pool["workers"] for pool in status["pools"].values()] == [1, 1, 1]
    assert (status["pending"], status["owed"]) == (0, 0)
