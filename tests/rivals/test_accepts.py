"""The checker of a run of accepts finds what it is there to find, one fault each; and short runs on every kind of
store."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from protocol import Accepted, Outcome, codes
from protocol.client.errors import to_exception
from protocol.wire import Error
from store import Mode, Remove, RuleCall, Store, Write, open_store
from store.layout import locate, pack_spending_data, record_key
from store.transaction import Transaction
from tests.rivals.__main__ import COMMAND
from tests.rivals.accepts_checker import GHOST, TORN, TWO, UNSETTLED, WRONG, Asked, check
from tests.rivals.knots import HEIGHT, UTXO_BATCH_SIZE, Ask, Knots
from tests.support.aerospike_server import EMBEDDED_ONLY, own_set
from tests.support.dispatching import dispatch, output_of

KNOTS = Knots(1)
MAIN, RIVAL = 0, 1
KNOT = next(knot for knot in map(KNOTS.knot, range(100)) if len(knot.transactions[RIVAL].inputs) > 1)


@dataclass
class Scene:
    """A set and the answers of a knot, which agree at first: the main transaction is in, its first rival is not."""

    store: Store
    told: list[Asked] = field(default_factory=list)
    now: float = 10.0

    def accept(self, place: int, quiet: bool = True) -> None:
        (outcome,) = dispatch(self.store, "accept", [[KNOT.transactions[place].raw, HEIGHT, [], 0]]).outcomes
        self.tell(place, Outcome(Accepted.read(outcome.result)) if outcome.error is None else outcome.error, quiet)

    def tell(self, place: int, told: "Outcome[Any] | Error", quiet: bool = True) -> None:
        outcome = Outcome(None, to_exception(told)) if isinstance(told, Error) else told
        self.told.append(Asked(Ask(KNOT.number, place), self.now, self.now + 1, outcome, quiet))
        self.now += 2

    def change(self, transaction: Transaction, vout: int, **bins: Any) -> None:
        key, _ = locate(transaction.txid, vout, UTXO_BATCH_SIZE)
        self.store.batch_operate([Write(key, bins, Mode.UPDATE)], 30)

    def spend(self, vout: int, spender: bytes, vin: int) -> None:
        key, offset = locate(KNOT.funding.txid, vout, UTXO_BATCH_SIZE)
        hashed = output_of(KNOT.funding, vout)[2]
        args = offset, hashed, pack_spending_data(spender, vin), False, False, HEIGHT, 288
        self.store.batch_operate([RuleCall(key, "spend", args)], 30)

    def found(self) -> set[str]:
        return {violation.kind for violation in check(KNOTS, self.told, self.store).violations}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    store = open_store(f"lmdb://{tmp_path / 'store'}?sync=false&utxo_batch_size={UTXO_BATCH_SIZE}")
    assert dispatch(store, "create", [[KNOT.funding.raw, HEIGHT - 1, [], 0, None]]).codes == ["OK"]
    scene = Scene(store)
    scene.accept(MAIN)
    scene.accept(RIVAL)
    assert [asked.outcome.code for asked in scene.told] == ["OK", codes.SPENT]
    yield scene
    store.close()


def test_where_answers_and_set_agree_nothing_is_found(scene: Scene) -> None:
    assert scene.found() == set()
    scene.accept(MAIN)
    assert scene.found() == set()


def test_a_spend_without_its_transaction(scene: Scene) -> None:
    rival = KNOT.transactions[RIVAL]
    vin = next(vin for vin, spent in enumerate(rival.inputs) if spent.previous_vout not in (0, 1))
    scene.spend(rival.inputs[vin].previous_vout, rival.txid, vin)
    assert scene.found() == {GHOST}


def test_a_spend_of_nobody(scene: Scene) -> None:
    scene.spend(3, b"\x07" * 32, 0)
    assert scene.found() == {GHOST}


def test_a_transaction_without_its_spends_and_two_with_one_coin(scene: Scene) -> None:
    rival = KNOT.transactions[RIVAL]
    assert dispatch(scene.store, "create", [[rival.raw, HEIGHT, [], 0, None]]).codes == ["OK"]
    scene.accept(RIVAL)
    assert scene.found() >= {GHOST, TWO}


def test_what_was_accepted_and_is_gone(scene: Scene) -> None:
    count = -(-len(KNOT.transactions[MAIN].outputs) // UTXO_BATCH_SIZE)
    scene.store.batch_operate([Remove(record_key(KNOT.transactions[MAIN].txid, index)) for index in range(count)], 30)
    assert scene.found() == {GHOST, WRONG}


def test_records_that_are_not_whole(scene: Scene) -> None:
    scene.change(KNOT.funding, 0, spentUtxos=1)
    assert scene.found() == {TORN}


def test_what_nobody_knows_in_the_end(scene: Scene) -> None:
    scene.tell(RIVAL, Error(codes.WORKER_CRASHED, codes.UNKNOWN))
    assert scene.found() == {UNSETTLED}


def test_two_that_are_told_that_they_created_it(scene: Scene) -> None:
    scene.told.insert(0, scene.told[0])
    assert scene.found() == {WRONG}


def refusal(code: str, vout: int, **details: Any) -> Error:
    """Of the rival, for its input that spends that output."""
    outpoints = [(spent.previous_txid, spent.previous_vout) for spent in KNOT.transactions[RIVAL].inputs]
    outpoint = (KNOT.funding.txid, vout)
    vin = outpoints.index(outpoint) if outpoint in outpoints else 0
    return Error(code, codes.NO, "", 0, {"vin": vin, "outpoint": list(outpoint)} | details)


@pytest.mark.parametrize(
    "error",
    [
        refusal(codes.TX_NOT_FOUND, KNOT.transactions[RIVAL].inputs[0].previous_vout),
        refusal(codes.LOCKED, KNOT.transactions[RIVAL].inputs[0].previous_vout),
        refusal(codes.SPENT, KNOT.transactions[RIVAL].inputs[0].previous_vout, spending_txid=bytes(32), spending_vin=0),
        refusal(codes.SPENT, 77, spending_txid=KNOT.transactions[MAIN].txid, spending_vin=0),
        Error(codes.INTERNAL, codes.NO),
    ],
    ids=lambda error: error.code,
)
def test_a_refusal_that_can_not_be_right(scene: Scene, error: Error) -> None:
    scene.tell(RIVAL, error)
    assert WRONG in scene.found()


def run_briefly(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(COMMAND, ["--json", *arguments], catch_exceptions=False)
    print(result.output)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert result.exit_code == 0
    assert all(found["promises"].values())
    return {figure["name"]: figure["value"] for figure in found["figures"]}


@EMBEDDED_ONLY
def test_every_answer_to_an_accept_is_true_while_workers_are_killed(store_kind: str) -> None:
    figures = run_briefly("--accepts", "500", "--seed", "7", "--kills", "240")
    assert figures["SIGKILLs of workers"] >= 1
    assert figures["transactions in the set"] > 50
    assert figures["answered SPENT"] > 50


def test_every_answer_to_an_accept_is_true_in_every_store(store_kind: str, tmp_path: Path) -> None:
    with own_set(store_kind, tmp_path, "accepts") as url:
        given = [] if store_kind == "lmdb" else ["--store", url]
        figures = run_briefly("--accepts", "300", "--seed", "8", "--kills", "0", *given)
    assert figures["transactions in the set"] > 30
