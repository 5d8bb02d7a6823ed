from store import Mode, Read, RecordOperation, Remove, RuleCall, Status, Write, open_store
from store.transaction import Transaction

KEY = b"k" * 32


def test_everything_is_answered_as_if_all_were_well(first_payment: Transaction) -> None:
    store = open_store("null:")
    spends = [{"idx": idx, "offset": 0, "utxoHash": KEY, "spendingData": bytes(36)} for idx in (3, 1)]
    calls = [
        RuleCall(KEY, "spendMulti", (spends, False, False, 1, 1)),
        RuleCall(KEY, "unspend", (0, KEY, bytes(36), 1, 1)),
        RuleCall(KEY, "setLocked", (True,)),
        RuleCall(KEY, "freeze", (0, KEY)),
    ]
    operations: list[RecordOperation] = [Read(KEY), Write(KEY, {"a": 1}, Mode.CREATE), Remove(KEY), *calls]
    results = store.batch_operate(operations, 0)
    assert {result.status for result in results} == {Status.OK}
    assert results[0].value["totalExtraRecs"] == 0
    assert len(results[0].value["outputs"]) == 2
    assert [result.value for result in results[3:]] == [
        {"status": "OK", "applied": [3, 1]},
        {"status": "OK", "applied": [0]},
        {"status": "OK", "childCount": 0},
        {"status": "OK"},
    ]
    assert store.blobs.put_new(first_payment) is True
    store.blobs.replace(first_payment)
    assert store.blobs.has_whole(first_payment.txid) is False
    assert store.blobs.get(first_payment.txid) is None
    assert store.blobs.output(first_payment.txid, 0) is None
    assert store.blobs.delete(first_payment.txid) is False
    store.close()
