"""utxo: each state of an output, in the master and in a child record; and that a wrong answer is worse than none."""

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from protocol.hashing import utxo_hash
from protocol.item_flags import CREATE_COINBASE, CREATE_CONFLICTING, CREATE_LOCKED
from store import Mode, Remove, RuleCall, Store, Write
from store.layout import child_key, locate
from store.transaction import Output, Transaction, parse_transaction
from tests.support.dispatching import (
    HEIGHT,
    Run,
    bins_of,
    call_rule,
    create,
    dispatch,
    execute_follow_ups,
    hash_of,
    matured,
)
from tests.support.wrapped import Wrapped
from utxod.generate import Generator

IN_RECORD = pytest.mark.parametrize("vout", [0, 3], ids=["in the master", "in a child"])
VALUES = [1, 2, 3, 4]  # two outputs a record
OTHER = 2  # an output of a child record that another test's output is not
SPENDER = b"s" * 32
MATURES = 101  # what a coinbase of height 1 does


@pytest.fixture
def payment(run: Run, generate: Generator) -> Transaction:
    """A transaction that may be spent at any height."""
    made = generate.payment([(generate.coinbase([10]), 0)], len(VALUES))
    create(run, made)
    return made


def of(transaction: Transaction, vout: int, **state: Any) -> dict[str, Any]:
    """What is to be answered of an output."""
    satoshis, script = transaction.outputs[vout]
    hashed = utxo_hash(transaction.txid, vout, script, satoshis)
    return {"satoshis": satoshis, "lockingScript": script, "utxoHash": hashed, **state}


def ask(run: Run, transaction: Transaction, vout: int, height: int | None = None) -> dict[str, Any]:
    """The answer, without a fault; it must be of this output, as it was created."""
    (found,) = run("utxo", [[transaction.txid, vout, height]]).results
    assert {name: found[name] for name in of(transaction, vout)} == of(transaction, vout)
    return {name: found[name] for name in found if name not in of(transaction, vout)}


def spend(run: Run, transaction: Transaction, vout: int, height: int = HEIGHT) -> None:
    assert run("spend", [[transaction.txid, vout, hash_of(transaction, vout), SPENDER, 7, height, 0]]).results == [True]


# ---- the states


@IN_RECORD
@pytest.mark.parametrize("height", [None, 0, HEIGHT])
def test_an_output_that_anybody_may_spend_is_unspent(
    run: Run, payment: Transaction, vout: int, height: int | None
) -> None:
    assert ask(run, payment, vout, height) == {"state": "UNSPENT"}


@IN_RECORD
def test_a_spent_output_names_its_spender_and_the_others_are_unspent(run: Run, payment: Transaction, vout: int) -> None:
    spend(run, payment, vout)
    for height in (None, HEIGHT):
        assert ask(run, payment, vout, height) == {"state": "SPENT", "spendingTxid": SPENDER, "spendingVin": 7}
        assert ask(run, payment, OTHER, height) == {"state": "UNSPENT"}


@IN_RECORD
def test_a_frozen_output_is_frozen_and_no_other_is(run: Run, store: Store, payment: Transaction, vout: int) -> None:
    call_rule(store, payment, vout, "freeze")
    assert ask(run, payment, vout) == {"state": "FROZEN"}
    assert ask(run, payment, OTHER) == {"state": "UNSPENT"}
    call_rule(store, payment, vout, "unfreeze")
    assert ask(run, payment, vout) == {"state": "UNSPENT"}


@IN_RECORD
@pytest.mark.parametrize(("flag", "state"), [(CREATE_LOCKED, "LOCKED"), (CREATE_CONFLICTING, "CONFLICTING")])
def test_what_was_created_so_says_so(run: Run, generate: Generator, vout: int, flag: int, state: str) -> None:
    payment = generate.payment([(generate.coinbase([10]), 0)], len(VALUES))
    create(run, payment, flags=flag)
    assert ask(run, payment, vout, HEIGHT) == {"state": state}


@IN_RECORD
def test_a_lock_is_seen_at_once_and_until_its_end(run: Run, payment: Transaction, vout: int) -> None:
    locked = run("set_locked", [[payment.txid, True]])
    assert ask(run, payment, vout) == {"state": "LOCKED"}
    execute_follow_ups(run, locked)
    assert ask(run, payment, vout) == {"state": "LOCKED"}
    execute_follow_ups(run, run("set_locked", [[payment.txid, False]]))
    assert ask(run, payment, vout) == {"state": "UNSPENT"}


@pytest.mark.parametrize("flag", ["creating", "conflicting", "locked"])
@pytest.mark.parametrize("record", [0, 1], ids=["of the master", "of the child"])
def test_the_flags_of_master_and_child_count_alike(
    run: Run, store: Store, payment: Transaction, flag: str, record: int
) -> None:
    """While they are set or cleared one of them is late; a spend goes by the child's, the transaction is what the
    master says."""
    key = child_key(payment.txid, 1) if record else payment.txid
    store.batch_operate([Write(key, {flag: True}, Mode.UPDATE)], 30.0)
    assert ask(run, payment, 3) == {"state": flag.upper()}
    assert ask(run, payment, 0) == {"state": "UNSPENT" if record else flag.upper()}


@IN_RECORD
def test_a_coinbase_is_immature_below_its_height_and_not_from_it_on(run: Run, generate: Generator, vout: int) -> None:
    coinbase = matured(run, generate, VALUES)
    immature = {"state": "IMMATURE", "spendableFrom": MATURES}
    assert ask(run, coinbase, vout, MATURES - 1) == immature
    assert ask(run, coinbase, vout, MATURES) == {"state": "UNSPENT"}
    assert ask(run, coinbase, vout, MATURES + 1) == {"state": "UNSPENT"}
    assert ask(run, coinbase, vout, None) == immature


@IN_RECORD
def test_a_state_by_height_is_what_a_spend_at_that_height_meets(run: Run, generate: Generator, vout: int) -> None:
    coinbase = matured(run, generate, VALUES)
    item = [coinbase.txid, vout, hash_of(coinbase, vout), SPENDER, 0, MATURES - 1, 0]
    assert run("spend", [item]).codes == ["COINBASE_IMMATURE"]
    spend(run, coinbase, vout, MATURES)


def test_a_partial_coinbase_is_immature_too(run: Run) -> None:
    txid = bytes(range(32))
    outputs = {vout: [5, b"\x51"] for vout in range(4)}
    run("create", [[None, 500, [], CREATE_COINBASE, [txid, outputs]]]).results  # noqa: B018
    for found in run("utxo", [[txid, vout, 599] for vout in (0, 3)]).results:
        assert (found["state"], found["spendableFrom"]) == ("IMMATURE", 600)


def reassign(run: Run, store: Store, transaction: Transaction, vout: int, until: int) -> dict[str, Any]:
    """What is to be answered of the output that it becomes, but for its state."""
    moved = Output(transaction.outputs[vout].satoshis, b"\x52\x53")
    hashed = utxo_hash(transaction.txid, vout, moved.locking_script, moved.satoshis)
    call_rule(store, transaction, vout, "freeze")
    call_rule(store, transaction, vout, "reassign", hashed, *moved, until - 10, 10)
    return {"satoshis": moved.satoshis, "lockingScript": moved.locking_script, "utxoHash": hashed}


@IN_RECORD
def test_a_reassigned_output_is_given_as_it_is_now_and_frozen_below_its_height(
    run: Run, store: Store, payment: Transaction, vout: int
) -> None:
    moved = reassign(run, store, payment, vout, HEIGHT)
    frozen = {**moved, "state": "FROZEN_UNTIL", "spendableFrom": HEIGHT}
    unspent = {**moved, "state": "UNSPENT"}
    asked = [[payment.txid, vout, height] for height in (HEIGHT - 1, HEIGHT, HEIGHT + 1, None)]
    assert run("utxo", asked).results == [frozen, unspent, unspent, frozen]
    item = [payment.txid, vout, moved["utxoHash"], SPENDER, 0, HEIGHT - 1, 0]
    assert run("spend", [item]).codes == ["FROZEN_UNTIL"]
    assert run("spend", [[*item[:5], HEIGHT, 0]]).results == [True]


@IN_RECORD
def test_an_output_that_matures_and_thaws_may_be_spent_from_the_later_height_on(
    run: Run, store: Store, generate: Generator, vout: int
) -> None:
    coinbase = matured(run, generate, VALUES)
    reassign(run, store, coinbase, vout, HEIGHT)
    asked = [[coinbase.txid, vout, height] for height in (MATURES - 1, MATURES, HEIGHT - 1, HEIGHT)]
    found = [(told["state"], told.get("spendableFrom")) for told in run("utxo", asked).results]
    assert found == [("IMMATURE", HEIGHT), *[("FROZEN_UNTIL", HEIGHT)] * 2, ("UNSPENT", None)]


@IN_RECORD
def test_of_several_states_the_first_is_told(run: Run, store: Store, generate: Generator, vout: int) -> None:
    """The order: SPENT, FROZEN, CREATING, CONFLICTING, LOCKED, IMMATURE, FROZEN_UNTIL, UNSPENT."""
    coinbase = matured(run, generate, VALUES)
    record, _ = locate(coinbase.txid, vout, store.utxo_batch_size)
    moved = reassign(run, store, coinbase, vout, HEIGHT)

    def state(height: int = MATURES - 1) -> str:
        (found,) = run("utxo", [[coinbase.txid, vout, height]]).results
        return str(found["state"])

    def put(**bins: Any) -> None:
        store.batch_operate([Write(record, bins, Mode.UPDATE)], 30.0)

    assert [state(HEIGHT), state(MATURES), state()] == ["UNSPENT", "FROZEN_UNTIL", "IMMATURE"]
    put(locked=True)
    assert state() == "LOCKED"
    put(conflicting=True)
    assert state() == "CONFLICTING"
    put(creating=True)
    assert state() == "CREATING"
    _, offset = locate(coinbase.txid, vout, store.utxo_batch_size)
    store.batch_operate([RuleCall(record, "freeze", (offset, moved["utxoHash"]))], 30.0)
    assert state() == "FROZEN"
    store.batch_operate([RuleCall(record, "unfreeze", (offset, moved["utxoHash"]))], 30.0)
    put(creating=None, conflicting=None, locked=None)
    assert run("spend", [[coinbase.txid, vout, moved["utxoHash"], SPENDER, 0, HEIGHT, 0]]).results == [True]
    put(creating=True, conflicting=True, locked=True)
    assert state() == "SPENT"


@IN_RECORD
@pytest.mark.parametrize("owner", ["nobody", "a spender", "the alert system"])
@pytest.mark.parametrize("thaws", [None, HEIGHT, HEIGHT + 1])
@pytest.mark.parametrize("matures", [None, HEIGHT, HEIGHT + 1])
def test_an_output_is_unspent_exactly_where_a_spend_is_taken(
    run: Run, store: Store, generate: Generator, vout: int, owner: str, thaws: int | None, matures: int | None
) -> None:
    """Whatever else holds of it: all of that is told apart, and nothing of it is forgotten."""
    for flags in itertools.product([None, True], repeat=3):
        payment = generate.payment([(generate.coinbase([10]), 0)], len(VALUES))
        create(run, payment)
        record, offset = locate(payment.txid, vout, store.utxo_batch_size)
        hashed = hash_of(payment, vout)
        if thaws is not None:
            hashed = reassign(run, store, payment, vout, thaws)["utxoHash"]
        marks = dict(zip(("creating", "conflicting", "locked"), flags, strict=True))
        if owner == "the alert system":
            store.batch_operate([RuleCall(record, "freeze", (offset, hashed))], 30.0)
        elif owner == "a spender":
            run("spend", [[payment.txid, vout, hashed, SPENDER, 0, HEIGHT + 1, 0]]).results  # noqa: B018
        store.batch_operate([Write(record, {**marks, "spendingHeight": matures}, Mode.UPDATE)], 30.0)
        (found,) = run("utxo", [[payment.txid, vout, HEIGHT]]).results
        (code,) = run("spend", [[payment.txid, vout, hashed, bytes(32), 0, HEIGHT, 0]]).codes
        assert (found["state"] == "UNSPENT") == (code == "OK"), (found, code)


# ---- what is not there


def test_neither_transaction_nor_output_nor_utxo_is_told_apart(run: Run) -> None:
    packed = b"".join(Output(*pair).serialise() for pair in [(1, b"\x51"), (0, b"\x00\x6adata"), (2, b"\x51")])
    raw = b"\1\0\0\0\1" + bytes(32) + b"\xff" * 4 + b"\1\x51" + b"\xff" * 4 + b"\x03" + packed + bytes(4)
    txid = parse_transaction(raw).txid
    run("create", [[raw, 700_000, [], 0, None]]).results  # noqa: B018
    asked = [[bytes(32), 0, None], [txid, 3, None], [txid, 1, None], [txid, 2, HEIGHT]]
    outcomes = run("utxo", asked).outcomes
    assert [outcome.code for outcome in outcomes] == ["TX_NOT_FOUND", "UTXO_NOT_FOUND", "UTXO_NOT_FOUND", "OK"]
    assert {outcome.executed for outcome in outcomes[:3]} == {"no"}


def test_which_outputs_are_no_utxos_goes_by_height(run: Run) -> None:
    scripts = [b"\x6a", b"\x00\x6a", b"\x51", b"\x51" * 10_001]
    expected = {620_537: [False, False, True, False], 620_538: [True, False, True, True]}
    for height, are in expected.items():
        txid = height.to_bytes(32, "little")
        run("create", [[None, height, [], 0, [txid, {n: [0, script] for n, script in enumerate(scripts)}]]]).results  # noqa: B018
        codes = run("utxo", [[txid, vout, None] for vout in range(4)]).codes
        assert codes == ["OK" if is_one else "UTXO_NOT_FOUND" for is_one in are]


def test_the_coinbase_of_the_first_block_is_no_utxo_and_no_fault(run: Run, generate: Generator) -> None:
    coinbase = generate.coinbase(VALUES)
    create(run, coinbase, height=0)
    assert run("utxo", [[coinbase.txid, vout, None] for vout in range(4)]).codes == ["UTXO_NOT_FOUND"] * 4


def test_an_output_that_a_partial_creation_left_out_is_not_found(run: Run) -> None:
    txid = bytes(range(32))
    run("create", [[None, 1, [], 0, [txid, {1: [5, b"\x51"], 5: [6, b"\x52"]}]]]).results  # noqa: B018
    outcomes = run("utxo", [[txid, vout, None] for vout in (1, 5, 0, 4, 6)]).outcomes
    assert [outcome.code for outcome in outcomes] == ["OK", "OK", *["UTXO_NOT_FOUND"] * 3]


def test_a_child_that_is_still_to_be_written_is_no_missing_coin(run: Run, store: Store) -> None:
    txid = b"c" * 32
    store.batch_operate([Write(txid, {"creating": True, "totalUtxos": 5}, Mode.CREATE)], 30.0)
    assert run("utxo", [[txid, 3, None]]).codes == ["CREATING"]


# ---- a wrong answer is worse than none (P15)


def is_fault(run: Run, items: Sequence[Any]) -> bool:
    return all((told.code, told.executed) == ("STORE_ERROR", "no") for told in run("utxo", items).outcomes)


def test_a_missing_child_record_is_a_fault(run: Run, store: Store, payment: Transaction) -> None:
    store.batch_operate([Remove(child_key(payment.txid, 1))], 30.0)
    assert is_fault(run, [[payment.txid, 2, None], [payment.txid, 3, HEIGHT]])
    assert ask(run, payment, 0) == {"state": "UNSPENT"}
    assert run("utxo", [[payment.txid, 4, None]]).codes == ["UTXO_NOT_FOUND"]


def test_a_missing_blob_is_a_fault(run: Run, store: Store, tmp_path: Path, payment: Transaction) -> None:
    (blobs,) = (path for path in (tmp_path / "store" / "blobs", tmp_path / "blobs") if path.is_dir())
    shutil.move(blobs, tmp_path / "elsewhere")
    assert is_fault(run, [[payment.txid, vout, None] for vout in range(4)])
    shutil.move(tmp_path / "elsewhere", blobs)
    store.blobs.delete(payment.txid)
    assert is_fault(run, [[payment.txid, vout, None] for vout in range(4)])


def one_bit(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


DAMAGE: dict[str, Callable[[list[Any]], Any]] = {
    "another hash": lambda utxos: [one_bit(utxos[0]), *utxos[1:]],
    "cut off": lambda utxos: [utxos[0][:31], *utxos[1:]],
    "a spender cut off": lambda utxos: [utxos[0] + SPENDER, *utxos[1:]],
    "no UTXO": lambda utxos: [None, *utxos[1:]],
    "a list that is too short": lambda utxos: [],
    "no list": lambda utxos: None,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("record", [0, 1], ids=["in the master", "in a child"])
def test_a_damaged_record_is_a_fault_and_harms_no_other(
    run: Run, store: Store, generate: Generator, payment: Transaction, record: int, damage: str
) -> None:
    key, vout = (child_key(payment.txid, 1), 2) if record else (payment.txid, 0)
    sound = matured(run, generate, VALUES)
    utxos = DAMAGE[damage](bins_of(store, key)["utxos"])
    store.batch_operate([Write(key, {"utxos": utxos}, Mode.UPDATE)], 30.0)
    outcomes = run("utxo", [[sound.txid, vout, None], [payment.txid, vout, None], [sound.txid, 1, None]]).outcomes
    assert [(told.code, told.executed) for told in outcomes] == [("OK", None), ("STORE_ERROR", "no"), ("OK", None)]


class Told(Wrapped):
    """A store whose reads tell something else in these bins."""

    def __init__(self, inner: Store, **bins: Any) -> None:
        super().__init__(inner)
        self._bins = bins

    def batch_operate(self, operations: Sequence[Any], budget: float) -> list[Any]:
        results = self._inner.batch_operate(operations, budget)
        for result in results:
            result.value |= self._bins
        return results


@pytest.mark.parametrize(
    "told", [{"spendingHeight": "soon"}, {"utxoSpendableIn": [5]}, {"utxoSpendableIn": {0: "soon"}}]
)
def test_a_height_that_is_none_is_a_fault(store: Store, payment: Transaction, told: dict[str, Any]) -> None:
    (outcome,) = dispatch(Told(store, **told), "utxo", [[payment.txid, 0, HEIGHT]]).outcomes
    assert (outcome.code, outcome.executed) == ("STORE_ERROR", "no")
