"""The checker of a chaos run finds what it is there to find: histories and stores that do not agree, one fault each."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import Mode, Remove, RuleCall, Store, Write, open_store
from store.layout import locate, pack_spending_data, record_key
from store.transaction import parse_transaction
from tests.chaos.checker import Checker, Findings
from tests.chaos.counters import DAEMON_KILLED, IN_DOUBT, Counters
from tests.chaos.history import YES, Answer, HistoryFile, Invocation, read_history
from tests.chaos.parents import UTXO_BATCH_SIZE, Parent, Parents

PARENTS = Parents(1)
OK = Answer("OK", YES, True)
SPENT = Answer("SPENT", "no", "22" * 32)
CRASHED = Answer("WORKER_CRASHED", "unknown")
OVERLOADED = Answer("OVERLOADED", "no")
A, B = "11" * 32, "22" * 32


def first_parent(*, children: int) -> Parent:
    parents = map(PARENTS.parent, range(1000))
    return next(parent for parent in parents if parent.children == children and parent.raw and not parent.lockable)


SMALL, LARGE = first_parent(children=0), first_parent(children=2)
LOCKABLE = next(
    parent for parent in map(PARENTS.parent, range(1000)) if parent.children == 1 and parent.raw and parent.lockable
)


MINED = next(
    parent
    for parent in map(PARENTS.parent, range(1000))
    if parent.children == 1 and parent.raw and parent.mined and not parent.lockable
)


class Scene:
    """A store and a history, to be made to disagree."""

    def __init__(self, directory: Path) -> None:
        url = f"lmdb://{directory / 'store'}?sync=false&utxo_batch_size={UTXO_BATCH_SIZE}"
        self.store: Store = open_store(url)
        self.invocations: list[Invocation] = []
        self._now = 100.0
        for parent in (SMALL, LARGE, LOCKABLE):
            self.put(parent)
            self.told("create", [(parent.number,)], Answer("OK", YES, parent.children + 1))

    def put(self, parent: Parent) -> None:
        creation = parent.creation()
        if creation.external and parent.raw is not None:
            self.store.blobs.put_new(parse_transaction(parent.raw))
        self.store.batch_operate([Write(key, bins, Mode.CREATE) for key, bins in creation.records], 30)

    def told(self, operation: str, items: list[Any], *answers: Answer, quiet: bool = False, took: float = 0.1) -> None:
        """One answer stands for all items."""
        listed = answers if len(answers) == len(items) else answers * len(items)
        number = len(self.invocations)
        self.invocations.append(
            Invocation("client", number, operation, items, self._now, self._now + 1, self._now + took, listed, quiet)
        )
        self._now += took + 0.1

    def spend(self, parent: Parent, vout: int, spender: str, vin: int = 0) -> None:
        """In the store."""
        spend = parent.spend(vout, bytes.fromhex(spender), vin)
        key, offset = locate(parent.txid, vout, UTXO_BATCH_SIZE)
        data = pack_spending_data(spend.spending_txid, vin)
        self.store.batch_operate(
            [RuleCall(key, "spend", (offset, spend.utxo_hash, data, False, False, parent.height, 288))], 30
        )

    def change(self, key: bytes, **bins: Any) -> None:
        self.store.batch_operate([Write(key, bins, Mode.UPDATE)], 30)

    def check(self) -> Findings:
        return Checker(PARENTS, self.invocations, bound=0.5).check(self.store)

    def found(self) -> list[str]:
        return [violation.kind for violation in self.check().violations]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.store.close()


COIN = (SMALL.number, 0)


def test_where_answers_and_store_agree_nothing_is_found(scene: Scene) -> None:
    scene.spend(SMALL, 0, A)
    scene.told("spend", [(*COIN, A, 0, False)], OK)
    scene.told("spend", [(*COIN, B, 0, False)], Answer("SPENT", "no", A))
    scene.told("spend", [(*COIN, A, 0, False)], Answer("OK", YES, False))
    scene.told("get", [(SMALL.number,)], Answer("OK", YES, SMALL.txid.hex()))
    findings = scene.check()
    assert not findings.violations
    assert findings.counts["spent outputs"] == 1
    assert findings.counts["answer OK"] == 6


def test_an_acknowledged_spend_that_is_not_there(scene: Scene) -> None:
    scene.told("spend", [(*COIN, A, 0, False)], OK)
    (violation,) = scene.check().violations
    assert violation.kind == "lost acknowledged write"
    assert A in str(violation)


def test_an_acknowledged_spend_that_another_has(scene: Scene) -> None:
    scene.spend(SMALL, 0, B)
    scene.told("spend", [(*COIN, B, 0, False)], CRASHED)
    scene.told("spend", [(*COIN, B, 0, False)], OK, quiet=True)
    scene.told("spend", [(*COIN, A, 0, False)], OK)
    assert {"lost acknowledged write", "double spend"} <= set(scene.found())


def test_a_double_spend_that_was_undone_later_is_one_all_the_same(scene: Scene) -> None:
    scene.spend(SMALL, 0, B)
    scene.told("spend", [(*COIN, A, 0, False)], OK)
    scene.told("spend", [(*COIN, B, 0, False)], OK)
    scene.told("unspend", [(*COIN, A, 0, False)], OK)
    assert scene.found() == ["double spend"]


def test_an_output_that_was_given_back_may_be_spent_by_another(scene: Scene) -> None:
    scene.spend(SMALL, 0, B)
    scene.told("spend", [(*COIN, A, 0, False)], OK)
    scene.told("unspend", [(*COIN, A, 0, False)], OK)
    scene.told("spend", [(*COIN, B, 0, False)], OK)
    assert scene.found() == []


@pytest.mark.parametrize("refusal", [SPENT, OVERLOADED])
def test_a_spend_that_was_answered_no_and_is_there(scene: Scene, refusal: Answer) -> None:
    scene.spend(SMALL, 0, A)
    scene.told("spend", [(*COIN, B, 0, False)], OVERLOADED)
    scene.told("spend", [(*COIN, A, 0, False)], refusal)
    assert scene.found() == ["executed after a no"]


def test_a_spend_that_nobody_asked_for(scene: Scene) -> None:
    scene.spend(SMALL, 0, A)
    assert scene.found() == ["wrong answer"]


def test_a_transaction_that_was_refused_and_is_there_in_part(scene: Scene) -> None:
    items = [(LARGE.number, 0, A, 0, False), (LARGE.number, 1, A, 1, False)]
    scene.spend(LARGE, 1, A, 1)
    scene.told("transaction", items, SPENT)
    assert scene.found() == ["executed after a no"]


def test_what_a_refusal_names_may_be_held_until_it_is_asked_again(scene: Scene) -> None:
    items = [(LARGE.number, 0, A, 0, True), (LARGE.number, 1, A, 1, True)]
    refusal = SPENT._replace(held=[(LARGE.number, 1)])
    scene.spend(LARGE, 1, A, 1)
    scene.told("spend", [(LARGE.number, 0, B, 0, False)], CRASHED)
    scene.told("transaction", items, refusal)
    assert scene.found() == ["unresolved", "unresolved"]
    scene.told("spend", [(LARGE.number, 0, B, 0, False)], SPENT._replace(value=A), quiet=True)
    scene.told("transaction", items, refusal, quiet=True)
    assert scene.found() == []
    scene.told("transaction", items, SPENT, quiet=True)
    assert scene.found() == ["executed after a no"]


def test_what_is_named_as_held_and_is_not(scene: Scene) -> None:
    scene.told("spend", [(*COIN, B, 0, False)], OVERLOADED)
    scene.told("transaction", [(*COIN, A, 0, False)], SPENT._replace(held=[COIN]), quiet=True)
    assert scene.found() == ["lost acknowledged write"]


def test_attempts_of_one_transaction_that_overlap(scene: Scene) -> None:
    """One is refused, and has applied it; the other has joined it, and is acknowledged."""
    scene.spend(SMALL, 0, A)
    scene.told("spend", [(*COIN, B, 0, False)], OVERLOADED)
    scene.told("transaction", [(*COIN, A, 0, False)], SPENT, took=0.5)
    scene.invocations[-1].answered += 0.5
    scene.told("transaction", [(*COIN, A, 0, False)], Answer("OK", YES, False))
    assert scene.found() == []
    scene.told("transaction", [(*COIN, A, 0, False)], OK)
    scene.told("transaction", [(*COIN, A, 0, False)], OK)
    assert scene.found() == ["wrong answer"]  # applied twice


def test_what_stays_unknown_after_asking_again(scene: Scene) -> None:
    scene.told("spend", [(*COIN, A, 0, False)], CRASHED)
    assert scene.found() == ["unresolved"]
    scene.told("spend", [(*COIN, A, 0, False)], SPENT, quiet=True)
    assert scene.found() == ["wrong answer"]  # resolved, but the spender that it names never asked


@pytest.mark.parametrize("value", [True, False])
def test_a_spend_that_is_said_to_be_what_it_was_not(scene: Scene, value: bool) -> None:
    scene.spend(SMALL, 0, A)
    if value:
        scene.told("spend", [(*COIN, A, 0, False)], OK)
    scene.told("spend", [(*COIN, A, 0, False)], Answer("OK", YES, value))
    assert scene.found() == ["wrong answer"]


def test_a_transaction_that_is_lost(scene: Scene) -> None:
    scene.store.batch_operate([Remove(SMALL.txid)], 30)
    assert scene.found() == ["lost acknowledged write"]


def test_a_transaction_that_is_there_in_part(scene: Scene) -> None:
    key, _ = locate(LARGE.txid, UTXO_BATCH_SIZE, UTXO_BATCH_SIZE)
    scene.store.batch_operate([Remove(key)], 30)
    assert scene.found() == ["torn"]
    scene.store.batch_operate([Remove(LARGE.txid)], 30)
    assert set(scene.found()) == {"torn", "lost acknowledged write"}


def test_a_transaction_without_its_blob(scene: Scene) -> None:
    scene.store.blobs.delete(LARGE.txid)
    assert scene.found() == ["torn"]


def test_a_transaction_that_was_answered_no_and_is_there(scene: Scene) -> None:
    parent = next(parent for parent in map(PARENTS.parent, range(1000)) if parent not in (SMALL, LARGE, LOCKABLE))
    scene.put(parent)
    scene.told("create", [(parent.number,)], OVERLOADED)
    assert scene.found() == ["executed after a no"]


def test_a_record_whose_counts_are_not_those_of_its_outputs(scene: Scene) -> None:
    scene.change(SMALL.txid, spentUtxos=1)
    assert scene.found() == ["torn"]


def test_a_lock_that_does_not_reach_all_records(scene: Scene) -> None:
    scene.change(LOCKABLE.txid, locked=True)
    scene.told("set_locked", [(LOCKABLE.number, True)], Answer("OK", YES, 1))
    assert scene.found() == ["lost acknowledged write"]


def spend_child(scene: Scene) -> None:
    """Fully, and the master's counter is not told."""
    for vout in range(UTXO_BATCH_SIZE, 2 * UTXO_BATCH_SIZE):
        scene.spend(LARGE, vout, A, vout)
        scene.told("spend", [(LARGE.number, vout, A, vout, False)], OK)


def test_a_counter_that_is_wrong(scene: Scene) -> None:
    spend_child(scene)
    assert scene.found() == ["counter wrong"]
    scene.change(LARGE.txid, spentExtraRecs=1)
    assert scene.found() == []


def counters(scene: Scene, in_doubt_log: Path, killed_daemon: tuple[float, ...] = ()) -> Counters:
    found = Counters(PARENTS, scene.invocations, killed_daemon, in_doubt_log)
    found.judge(found.find(scene.store))
    return found


def test_a_counter_that_is_off_though_no_note_was_lost(scene: Scene, tmp_path: Path) -> None:
    spend_child(scene)
    assert len(counters(scene, tmp_path / "none").problems) == 1
    assert len(counters(scene, tmp_path / "none", killed_daemon=(99.0,)).problems) == 1
    scene.change(LARGE.txid, spentExtraRecs=1)
    assert counters(scene, tmp_path / "none").problems == []


@pytest.mark.parametrize("directly", [True, False])
def test_a_counter_that_is_known_to_be_in_doubt(scene: Scene, tmp_path: Path, directly: bool) -> None:
    spend_child(scene)
    request = b"\x91\x91\xc4\x20" + LARGE.txid
    what = {"txid": LARGE.txid[::-1].hex()} if directly else {"operation": "spend", "request": request.hex()}
    in_doubt_log = tmp_path / "in-doubt.jsonl"
    in_doubt_log.write_text(json.dumps(what) + "\n")
    found = counters(scene, in_doubt_log)
    assert not found.problems
    assert found.counts == {IN_DOUBT: 1}


def test_a_counter_that_a_killed_daemon_took_with_it(scene: Scene, tmp_path: Path) -> None:
    spend_child(scene)
    found = counters(scene, tmp_path / "none", killed_daemon=(scene.invocations[-1].answered,))
    assert not found.problems
    assert found.counts == {DAEMON_KILLED: 1}


def spend_all(scene: Scene, **master: Any) -> None:
    """Its counter is told, and its bins are changed."""
    scene.put(MINED)
    scene.told("create", [(MINED.number,)], Answer("OK", YES, 2))
    for vout in MINED.outputs:
        scene.spend(MINED, vout, A, vout)
        scene.told("spend", [(MINED.number, vout, A, vout, False)], OK)
    scene.change(MINED.txid, spentExtraRecs=1, **master)


def test_what_is_spent_as_a_whole_and_would_stay_for_ever(scene: Scene) -> None:
    spend_all(scene)
    assert scene.found() == ["torn"]


def test_child_records_that_would_be_deleted_at_another_height(scene: Scene) -> None:
    spend_all(scene, deleteAtHeight=1500)
    assert scene.found() == ["counter wrong"]
    scene.change(record_key(MINED.txid, 1), deleteAtHeight=1500)
    assert scene.found() == []


def test_an_answer_that_comes_too_late(scene: Scene) -> None:
    scene.told("get", [(SMALL.number,)], Answer("OK", YES, SMALL.txid.hex()), took=1.6)
    findings = scene.check()
    assert [violation.kind for violation in findings.violations] == ["late"]
    assert findings.slowest_over_due == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("operation", "item", "answer"),
    [
        ("get", (SMALL.number,), Answer("OK", YES, LARGE.txid.hex())),
        ("get", (SMALL.number,), Answer("TX_NOT_FOUND", "no", "record")),
        ("outpoint", COIN, Answer("OK", YES, [1, "51"])),
        ("create", (SMALL.number,), Answer("OK", YES, 1)),  # a second time
        ("set_locked", (SMALL.number, False), Answer("OK", YES, 3)),
        ("spend", (*COIN, A, 0, False), Answer("UTXO_HASH_MISMATCH", "no", "")),
        ("spend", (*COIN, A, 0, False), Answer("LOCKED", "no", "")),
        ("spend", (*COIN, A, 0, False), Answer("COINBASE_IMMATURE", "no", "")),
        ("transaction", (*COIN, A, 0, True), Answer("COINBASE_IMMATURE", "no", "")),
        ("transaction", (*COIN, A, 0, True), Answer("SPENT", "no", B, [(LARGE.number, 0)])),
        ("increment", (LARGE.number, 1), Answer("OK", YES, 3)),
        ("spend", (*COIN, A, 0, False), Answer("BAD_REQUEST", "no", "")),
        ("unspend", (*COIN, A, 0, False), OK),
        ("get", (SMALL.number,), Answer("EXCEPTION", "unknown", "KeyError()")),
    ],
)
def test_an_answer_that_can_not_be_right(scene: Scene, operation: str, item: Any, answer: Answer) -> None:
    scene.told(operation, [item], answer)
    assert scene.found() == ["wrong answer"]


def test_a_history_survives_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "client-1.jsonl"
    history = HistoryFile(path)
    history.asked(0, "get", [(7,)], 1.0, 2.0)
    history.answered(0, [Answer("OK", YES, "00")], 1.5)
    history.asked(1, "spend", [(7, 0, A, 0)], 1.0, 2.0)
    history.close()
    with path.open("ab") as file:
        file.write(b'["answered",1,[["OK"')
    answered, cut_off = read_history(path)
    assert (answered.answered, list(answered.answers)) == (1.5, [Answer("OK", YES, "00")])
    assert (cut_off.answered, list(cut_off.answers)) == (0.0, [Answer("CUT_OFF", "unknown")])
