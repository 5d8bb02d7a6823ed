"""The alert system: what is frozen can't be spent, and what is reassigned only as it is now; in a child record as in a
master."""

from typing import Any

import pytest

from protocol.hashing import utxo_hash
from store import Mode, Remove, Store, Write
from store.layout import child_key
from store.transaction import Transaction
from tests.support.dispatching import HEIGHT, Run, bins_of, matured, output_of, records_of
from utxod.generate import Generator

SPENDER = b"s" * 32
OPERATIONS = ("freeze", "unfreeze", "reassign")
MOVED: tuple[int, bytes] = (9, b"\x52\x53")  # satoshis and script that an output is reassigned to
IN_MASTER_OR_CHILD = pytest.mark.parametrize("vout", [0, 3], ids=["in the master", "in a child"])


def item_of(operation: str, output: list[Any]) -> list[Any]:
    return [*output, *MOVED, HEIGHT, 10] if operation == "reassign" else output


def spend_of(output: list[Any], height: int = HEIGHT) -> list[Any]:
    return [*output, SPENDER, 0, height, 0]


@pytest.fixture
def coinbase(run: Run, generate: Generator) -> Transaction:
    return matured(run, generate, [1, 2, 3, 4, 5])


@IN_MASTER_OR_CHILD
def test_what_is_frozen_can_not_be_spent_until_it_is_unfrozen(run: Run, coinbase: Transaction, vout: int) -> None:
    output = output_of(coinbase, vout)
    assert run("freeze", [output]).results == [True]
    assert run("spend", [spend_of(output)]).codes == ["FROZEN"]
    assert run("unfreeze", [output]).results == [True]
    assert run("spend", [spend_of(output)]).results == [True]


@IN_MASTER_OR_CHILD
def test_what_is_reassigned_is_spent_by_its_new_hash_from_its_height_on(
    run: Run, coinbase: Transaction, vout: int
) -> None:
    output = output_of(coinbase, vout)
    run("freeze", [output]).results  # noqa: B018
    satoshis, script = MOVED
    new = [coinbase.txid, vout, utxo_hash(coinbase.txid, vout, script, satoshis)]
    assert run("reassign", [item_of("reassign", output)]).results == new[2:]
    assert run("outpoint", [[coinbase.txid, vout]]).results == [[*MOVED]]
    assert run("spend", [spend_of(output, HEIGHT + 10)]).codes == ["UTXO_HASH_MISMATCH"]
    assert run("spend", [spend_of(new, HEIGHT + 9)]).codes == ["FROZEN_UNTIL"]
    assert run("spend", [spend_of(new, HEIGHT + 10)]).results == [True]


@IN_MASTER_OR_CHILD
def test_asked_again_each_says_that_it_is_so_already(run: Run, coinbase: Transaction, vout: int) -> None:
    output = output_of(coinbase, vout)
    assert run("freeze", [output], [output]).codes == ["OK", "ALREADY_FROZEN"]
    assert run("unfreeze", [output], [output]).codes == ["OK", "UTXO_INVALID_SIZE"]
    run("freeze", [output]).results  # noqa: B018
    item = item_of("reassign", output)
    assert run("reassign", [item], [item]).codes == ["OK", "UTXO_HASH_MISMATCH"]


@IN_MASTER_OR_CHILD
def test_what_is_spent_is_neither_frozen_nor_taken_from_its_spender(
    run: Run, store: Store, coinbase: Transaction, vout: int
) -> None:
    output = output_of(coinbase, vout)
    run("spend", [spend_of(output)]).results  # noqa: B018
    before = records_of(store, coinbase)
    for operation, code in zip(OPERATIONS, ("SPENT", "UTXO_NOT_FROZEN", "UTXO_NOT_FROZEN"), strict=True):
        (outcome,) = run(operation, [item_of(operation, output)]).outcomes
        assert outcome.error is not None
        assert (outcome.code, outcome.executed) == (code, "no")
        assert outcome.error.details == {"spending_txid": SPENDER, "spending_vin": 0}
    assert records_of(store, coinbase) == before


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_output_that_is_not_there_fails_alone(run: Run, coinbase: Transaction, operation: str) -> None:
    good = [output_of(coinbase, vout) for vout in (0, 4)]
    if operation != "freeze":
        run("freeze", good).results  # noqa: B018
    bad = [
        [bytes(32), 0, bytes(32)],
        [bytes(32), 4, bytes(32)],  # of a child of a transaction that is not there
        [coinbase.txid, 5, bytes(32)],
        [coinbase.txid, 900, bytes(32)],
        [coinbase.txid, 1, bytes(32)],
    ]
    outcomes = run(operation, [item_of(operation, output) for output in (good[0], *bad, good[1])]).outcomes
    assert [outcome.code for outcome in outcomes] == [
        "OK",
        "TX_NOT_FOUND",
        "TX_NOT_FOUND",
        "UTXO_NOT_FOUND",
        "UTXO_NOT_FOUND",
        "UTXO_HASH_MISMATCH",
        "OK",
    ]
    assert {outcome.executed for outcome in outcomes[1:-1]} == {"no"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_child_record_that_is_missing_is_a_fault_and_not_the_absence_of_its_output(
    run: Run, store: Store, coinbase: Transaction, operation: str
) -> None:
    item = item_of(operation, output_of(coinbase, 2))
    store.batch_operate([Remove(child_key(coinbase.txid, 1))], 30.0)
    (outcome,) = run(operation, [item]).outcomes
    assert (outcome.code, outcome.executed) == ("STORE_ERROR", "no")
    store.batch_operate([Write(coinbase.txid, {"creating": True}, Mode.UPDATE)], 30.0)
    assert run(operation, [item]).codes == ["CREATING"]


def test_a_script_that_a_record_has_no_room_for_is_refused(run: Run, store: Store, coinbase: Transaction) -> None:
    output = output_of(coinbase, 3)
    run("freeze", [output]).results  # noqa: B018
    before = bins_of(store, child_key(coinbase.txid, 1))
    outcome = run("reassign", [[*output, 1, bytes(128 * 1024), HEIGHT, 1]]).outcomes[0]
    assert (outcome.code, outcome.executed) == ("INVALID_PARAMETER", "no")
    assert bins_of(store, child_key(coinbase.txid, 1)) == before
    assert run("spend", [spend_of(output)]).codes == ["FROZEN"]
