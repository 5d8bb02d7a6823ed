"""A record or a blob that is missing is a fault, never "there is no such coin"; and what is given is what was created
(P15)."""

import gc
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from protocol.hashing import utxo_hash
from protocol.item_flags import CREATE_LOCKED
from store import Mode, RecordOperation, Remove, Result, RuleCall, Store, Write
from store.faulty import FaultyStore
from store.layout import FROZEN, Partial, child_key
from store.transaction import Output, Transaction, parse_transaction
from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.dispatching import HEIGHT, Run, bins_of, create, dispatch, matured
from tests.support.wrapped import Wrapped
from utxod.generate import Generator


def blobs_of(tmp_path: Path) -> Path:
    (found,) = (path for path in (tmp_path / "store" / "blobs", tmp_path / "blobs") if path.is_dir())
    return found


@contextmanager
def away(directory: Path) -> Iterator[None]:
    """As when its disk is not mounted."""
    elsewhere = directory.with_name("elsewhere")
    shutil.move(directory, elsewhere)
    try:
        yield
    finally:
        shutil.move(elsewhere, directory)


def test_without_its_blobs_a_set_gives_faults_and_with_them_the_right_answers_again(
    run: Run, tmp_path: Path, generate: Generator
) -> None:
    small, large = matured(run, generate, [7]), matured(run, generate, [1, 2, 3])
    asked = [[large.txid, 2], [small.txid, 0]]
    with away(blobs_of(tmp_path)):
        outcomes = run("outpoint", asked).outcomes + run("get", [[large.txid, ["tx"]], [small.txid, ["tx"]]]).outcomes
        assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("STORE_ERROR", "no"), ("OK", None)] * 2
        assert run("get", [[large.txid, ["totalUtxos"]]]).results == [{"totalUtxos": 3}]
    assert run("outpoint", asked).results == [[*large.outputs[2]], [*small.outputs[0]]]
    assert run("get", [[large.txid, ["tx"]]]).results == [{"tx": large.raw}]


def test_without_its_blobs_a_set_takes_no_large_transaction_and_says_that_nothing_was_done(
    run: Run, tmp_path: Path, generate: Generator
) -> None:
    large = generate.coinbase([1, 2, 3])
    item = [large.raw, 1, [], 0, None]
    with away(blobs_of(tmp_path)):
        (outcome,) = run("create", [item]).outcomes
        assert (outcome.code, outcome.executed) == ("STORE_ERROR", "no")
        assert run("get", [[large.txid, None]]).codes == ["TX_NOT_FOUND"]
    assert run("create", [item]).codes == ["OK"]


@pytest.mark.parametrize("kind", ["whole", "partial"])
def test_one_flipped_byte_in_a_blob_is_an_error_and_never_another_amount(
    run: Run, tmp_path: Path, generate: Generator, kind: str
) -> None:
    large = generate.coinbase([1, 2, 3])
    partial = [large.txid, {vout: [*output] for vout, output in enumerate(large.outputs)}]
    item = [large.raw, 1, [], 0, None] if kind == "whole" else [None, 1, [], 0, partial]
    run("create", [item]).results  # noqa: B018
    (path,) = blobs_of(tmp_path).glob("??/*.blob")
    sound = path.read_bytes()
    right = [[*output] for output in large.outputs]
    asked = [[large.txid, vout] for vout in range(3)]
    damaged = 0
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        for outcome, expected in zip(run("outpoint", asked).outcomes, right, strict=True):
            assert outcome.result == expected or (outcome.code, outcome.executed) == ("STORE_ERROR", "no")
            damaged += outcome.code == "STORE_ERROR"
        (outcome,) = run("get", [[large.txid, ["tx"]]]).outcomes
        whole = {"tx": large.raw} if kind == "whole" else {}
        assert outcome.result in (whole, {}) or outcome.code == "STORE_ERROR"
    assert damaged > 3 * len(large.outputs[0].serialise())
    path.write_bytes(sound)
    assert run("outpoint", asked).results == right


def test_outputs_asked_across_whole_transactions_keep_one_of_them_at_a_time_and_read_each_once(
    run: Run, store: Store
) -> None:
    """However they are mixed: a whole transaction may be of any size, and what is kept of it is in no budget."""

    class Blobs:
        read: ClassVar[list[bytes]] = []
        kept: ClassVar[set[bytes]] = set()

        def __getattr__(self, name: str) -> Any:
            return getattr(store.blobs, name)

        def get(self, txid: bytes) -> bytes | None:
            self.read.append(txid)
            self.kept |= {each.txid for each in gc.get_objects() if type(each) is Transaction} & set(txids)
            return store.blobs.get(txid)

    class Counting(Wrapped):
        blobs = Blobs()

    packed = Output(1, b"\x51").serialise() + 3 * Output(0, b"\x00\x6adata").serialise()
    txids: list[bytes] = []
    for number in range(4):
        spent = bytes([number + 1]) * 32 + bytes(4) + b"\1\x51" + b"\xff" * 4
        raw = b"\1\0\0\0\1" + spent + b"\x04" + packed + bytes(4)
        txids.append(parse_transaction(raw).txid)
        run("create", [[raw, 700_000, [], 0, None]]).results  # noqa: B018
    asked = [[txid, vout] for vout in (1, 2, 3) for txid in txids]
    assert dispatch(Counting(store), "outpoint", asked).results == [[0, b"\x00\x6adata"]] * len(asked)
    assert sorted(Blobs.read) == sorted(txids)
    assert not Blobs.kept  # when the next one is read


def test_a_data_output_is_held_against_its_transaction(run: Run, store: Store, tmp_path: Path) -> None:
    """It has no utxo hash of its own."""
    from protocol.hashing import varint

    outputs = [Output(1, b"\x51"), Output(0, b"\x00\x6adata"), Output(1, b"\x51")]
    packed = b"".join(output.serialise() for output in outputs)
    raw = b"\1\0\0\0\1" + bytes(32) + b"\xff" * 4 + b"\1\x51" + b"\xff" * 4 + varint(3) + packed + bytes(4)
    txid = parse_transaction(raw).txid
    run("create", [[raw, 700_000, [], 0, None]]).results  # noqa: B018
    assert run("outpoint", [[txid, 1]]).results == [[0, b"\x00\x6adata"]]
    (path,) = blobs_of(tmp_path).glob("??/*.blob")
    path.write_bytes(path.read_bytes().replace(b"data", b"dare"))
    assert run("outpoint", [[txid, 1]]).codes == ["STORE_ERROR"]
    assert run("outpoint", [[txid, 0]]).results == [[1, b"\x51"]]


def test_a_whole_transaction_whose_blob_holds_some_outputs_only_is_damaged(
    run: Run, store: Store, generate: Generator
) -> None:
    """As a creator leaves it that died between the master and its blob."""
    large = generate.coinbase([1, 2, 3])
    run("create", [[large.raw, 1, [], 0, None]]).results  # noqa: B018
    store.blobs.delete(large.txid)
    store.blobs.put_new(Partial(large.txid, {0: large.outputs[0]}))
    asked = run("outpoint", [[large.txid, vout] for vout in range(3)])
    assert asked.codes == ["OK", "STORE_ERROR", "STORE_ERROR"]
    assert run("get", [[large.txid, ["tx", "fee"]]]).codes == ["STORE_ERROR"]
    assert run("create", [[large.raw, 1, [], 0, None]]).codes == ["TX_EXISTS"]
    assert run("get", [[large.txid, ["tx"]]]).results == [{"tx": large.raw}]


def test_the_delete_at_height_of_a_child_is_no_rejection_where_its_master_cannot_be_asked(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4, 5])
    store.batch_operate([Remove(child_key(coinbase.txid, 1))], 30.0)
    failing = FaultyStore(store, [{"kind": "fail", "times": None, "index": 0}])
    (outcome,) = dispatch(SecondBatch(failing, store), "set_dah", [[coinbase.txid, 1, 77]]).outcomes
    assert (outcome.code, outcome.executed) == ("STORE_ERROR", "no")


class SecondBatch(Wrapped):
    """Two stores: the first batch goes to `first`, what follows to the other."""

    def __init__(self, inner: Store, first: Store) -> None:
        super().__init__(inner)
        self._first: Store | None = first

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        store, self._first = self._first or self._inner, None
        return store.batch_operate(record_operations, budget)


def test_a_missing_child_record_is_a_fault_and_not_the_absence_of_the_coin(
    run: Run, store: Store, generate: Generator
) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4, 5])
    store.batch_operate([Remove(child_key(coinbase.txid, 1))], 30.0)
    missing = [*generate.spend((coinbase, 2), height=HEIGHT)]
    for operation in ("spend", "unspend"):
        (outcome,) = run(operation, [missing]).outcomes
        assert (outcome.code, outcome.executed) == ("STORE_ERROR", "no")
    (outcome,) = run("outpoint", [[coinbase.txid, 2]]).outcomes
    assert (outcome.code, outcome.executed) == ("STORE_ERROR", "no")
    assert run("outpoint", [[coinbase.txid, 4]]).codes == ["OK"]


def test_the_delete_at_height_of_a_missing_child_record_is_a_fault(run: Run, store: Store, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4, 5])
    store.batch_operate([Remove(child_key(coinbase.txid, 1))], 30.0)
    outcomes = run("set_dah", [[coinbase.txid, child, 77] for child in (0, 1, 2, 3)]).outcomes
    assert [outcome.code for outcome in outcomes] == ["OK", "STORE_ERROR", "OK", "TX_NOT_FOUND"]
    assert outcomes[1].executed == "no"


def test_an_output_beyond_the_last_is_no_missing_transaction(run: Run, generate: Generator) -> None:
    coinbase = matured(run, generate, [1, 2])
    beyond = [*generate.spend((coinbase, 1), height=HEIGHT)]
    beyond[1] = 900
    absent = [bytes(32), *beyond[1:]]
    assert run("spend", [beyond, absent]).codes == ["UTXO_NOT_FOUND", "TX_NOT_FOUND"]
    assert run("unspend", [beyond, absent]).codes == ["UTXO_NOT_FOUND", "TX_NOT_FOUND"]


def test_a_child_of_a_transaction_that_is_being_created_is_not_there_yet(run: Run, store: Store) -> None:
    txid = b"c" * 32
    store.batch_operate([Write(txid, {"creating": True, "totalUtxos": 5}, Mode.CREATE)], 30.0)
    spend = [txid, 3, bytes(32), b"s" * 32, 0, HEIGHT, 0]
    assert run("spend", [spend]).codes == ["CREATING"]
    assert run("outpoint", [[txid, 3]]).codes == ["CREATING"]


def test_what_a_creation_of_more_outputs_left_is_no_output(run: Run, store: Store) -> None:
    """Its child is marked for ever; the transaction that came to be has fewer."""
    txid = b"c" * 32
    run("create", [[None, 1, [], 0, [txid, {0: [1, b"\x51"], 1: [1, b"\x51"]}]]]).results  # noqa: B018
    left = {"creating": True, "utxos": [bytes(32), bytes(32)], "recordUtxos": 2, "spentUtxos": 0}
    store.batch_operate([Write(child_key(txid, 1), left, Mode.CREATE)], 30.0)
    assert run("spend", [[txid, 2, bytes(32), b"s" * 32, 0, HEIGHT, 0]]).codes == ["UTXO_NOT_FOUND"]


@pytest.mark.parametrize("outputs", [2, 5], ids=["one record", "several"])
def test_get_gives_of_a_partial_transaction_the_fields_that_it_has(run: Run, outputs: int) -> None:
    txid = b"p" * 32
    run("create", [[None, 1, [], 0, [txid, {vout: [5, b"\x51"] for vout in range(outputs)}]]]).results  # noqa: B018
    assert run("get", [[txid, ["tx", "totalUtxos"]]]).results == [{"totalUtxos": outputs}]


def test_get_of_a_damaged_record_is_a_fault(run: Run, store: Store, generate: Generator) -> None:
    coinbase = matured(run, generate, [1])
    store.batch_operate([Write(coinbase.txid, {"outputs": None}, Mode.UPDATE)], 30.0)
    assert run("get", [[coinbase.txid, ["tx"]]]).codes == ["STORE_ERROR"]
    assert run("outpoint", [[coinbase.txid, 0]]).codes == ["STORE_ERROR"]


@pytest.mark.parametrize("moved", [[-1, b"\x51"], [1], [b"\x51", 1], 5], ids=str)
def test_an_output_whose_reassignment_can_not_be_read_harms_no_other(
    run: Run, store: Store, generate: Generator, moved: Any
) -> None:
    coinbase = matured(run, generate, [1, 2])
    store.batch_operate([Write(coinbase.txid, {"reassigned": {0: moved}}, Mode.UPDATE)], 30.0)
    outcomes = run("outpoint", [[coinbase.txid, 0], [coinbase.txid, 1]]).outcomes
    assert [(outcome.code, outcome.executed) for outcome in outcomes] == [("STORE_ERROR", "no"), ("OK", None)]


@pytest.mark.parametrize("vout", [0, 3], ids=["in the master", "in a child"])
def test_a_reassigned_output_is_given_as_it_is_now(run: Run, store: Store, generate: Generator, vout: int) -> None:
    coinbase = matured(run, generate, [1, 2, 3, 4])
    record, offset = (coinbase.txid, vout) if vout < 2 else (child_key(coinbase.txid, 1), vout - 2)
    old = utxo_hash(coinbase.txid, vout, *coinbase.outputs[vout][::-1])
    moved = Output(coinbase.outputs[vout].satoshis, b"\x52")
    new = utxo_hash(coinbase.txid, vout, *moved[::-1])
    calls = [
        RuleCall(record, "freeze", (offset, old)),
        RuleCall(record, "reassign", (offset, old, new, *moved, HEIGHT, 10)),
    ]
    for call in calls:
        (result,) = store.batch_operate([call], 30.0)
        assert result.value["status"] == "OK"
    assert run("outpoint", [[coinbase.txid, vout]]).results == [[*moved]]
    spend: list[Any] = [coinbase.txid, vout, new, b"s" * 32, 0, HEIGHT + 9, 0]
    assert run("spend", [spend]).codes == ["FROZEN_UNTIL"]
    spend[5] = HEIGHT + 10
    assert run("spend", [spend]).results == [True]
    assert FROZEN not in bins_of(store, record)["utxos"][offset]


# ---- which outputs, and what they may be worth


def test_which_outputs_are_utxos_goes_by_height_and_never_by_value(run: Run, store: Store) -> None:
    scripts = [b"\x6a", b"\x00\x6a", b"\x51", b"\x51" * 10_001]
    of_height = {620_537: [False, False, True, False], 620_538: [True, False, True, True]}
    for height, expected in of_height.items():
        for satoshis in (0, 5):
            txid = bytes([height % 256, satoshis]) * 16
            partial = [txid, {vout: [satoshis, script] for vout, script in enumerate(scripts)}]
            run("create", [[None, height, [], 0, partial]]).results  # noqa: B018
            found = bins_of(store, txid)["utxos"] + bins_of(store, child_key(txid, 1))["utxos"]
            assert [utxo is not None for utxo in found] == expected


def test_a_coinbase_matures_by_the_block_that_it_is_mined_in(run: Run, generate: Generator) -> None:
    coinbase = generate.coinbase([1])
    assert run("create", [[coinbase.raw, 300, [[9, 250, 0]], 0, None]]).codes == ["BAD_REQUEST"]
    assert run("create", [[coinbase.raw, 300, [[9, 300, 0]], CREATE_LOCKED, None]]).codes == ["OK"]
    assert run("get", [[coinbase.txid, ["spendingHeight"]]]).results == [{"spendingHeight": 400}]


@pytest.mark.parametrize("values", [[21 * 10**14 + 1], [21 * 10**14, 1], [2**63 - 1], [2**64 - 1] * 3])
def test_amounts_beyond_what_there_is_are_refused_on_every_store(
    run: Run, generate: Generator, values: list[int]
) -> None:
    coinbase = generate.coinbase(values)
    partial = [bytes(32), {vout: [value, b"\x51"] for vout, value in enumerate(values)}]
    assert run("create", [[coinbase.raw, 1, [], 0, None], [None, 1, [], 0, partial]]).codes == ["BAD_REQUEST"] * 2


def test_inputs_that_claim_more_than_there_is_are_refused(run: Run, generate: Generator) -> None:
    rich = [generate.coinbase([21 * 10**14]) for _ in range(2)]
    payment = generate.payment([(coinbase, 0) for coinbase in rich], 1)
    assert run("create", [[payment.raw, 1, [], 0, None]]).codes == ["BAD_REQUEST"]


def test_all_the_satoshis_there_are_can_be_kept(run: Run, generate: Generator) -> None:
    create(run, generate.coinbase([21 * 10**14]))


@EMBEDDED_ONLY
def test_a_parent_of_many_conflicting_children_stays_spendable(run: Run, store: Store, generate: Generator) -> None:
    parent = matured(run, generate, [1])
    for first in range(0, 1200, 400):
        calls = [
            RuleCall(parent.txid, "noteConflicting", (number.to_bytes(32),)) for number in range(first, first + 400)
        ]
        assert all(result.value["status"] == "OK" for result in store.batch_operate(calls, 30.0))
    master = bins_of(store, parent.txid)
    assert (len(master["conflictingCs"]), master["conflictingMore"]) == (1000, 200)
    assert run("spend", [[*generate.spend((parent, 0))]]).results == [True]
