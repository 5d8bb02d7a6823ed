"""The checker of a rivals run finds what it is there to find, one fault each; and short runs on every kind of store."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from store import Mode, RuleCall, Store, Write, open_store
from store.layout import CreationOptions, create_records, locate, pack_spending_data, record_key
from tests.chaos.history import YES, Answer, HistoryFile, Invocation, read_scenarios
from tests.rivals.__main__ import COMMAND
from tests.rivals.checker import LOCKS, TORN, TWICE, UNDONE, UNNAMED, UNRESOLVED, WRONG, Checker
from tests.rivals.scenarios import FINE, IMMATURE, LATE, LOCKED, UTXO_BATCH_SIZE, Scenario, Scenarios
from tests.support.aerospike_server import EMBEDDED_ONLY, own_set

SCENARIOS = Scenarios(1)


def scenario_with(*troubles: str) -> Scenario:
    """A scenario with these parents, the last of several records."""
    found = (SCENARIOS.scenario(number) for number in range(10_000))
    return next(
        scenario
        for scenario in found
        if [parent.trouble for parent in scenario.parents] == list(troubles) and scenario.parents[-1].children
    )


SCENARIO = scenario_with(FINE, IMMATURE)
APPLIED, JOINED = Answer("OK", YES, True), Answer("OK", YES, False)
CRASHED = Answer("WORKER_CRASHED", "unknown", {})
A, B = "11" * 32, "22" * 32


def refused(code: str, because: int = 1, outpoint: tuple[int, int] = (1, 0), held: Any = (), **value: Any) -> Answer:
    return Answer(code, "no", {"because": because, "outpoint": outpoint, **value}, held)


class Scene:
    """A set and the history of one scenario, to be made to disagree."""

    def __init__(self, directory: Path, scenario: Scenario) -> None:
        self.scenario = scenario
        self.store: Store = open_store(f"lmdb://{directory / 'store'}?sync=false&utxo_batch_size={UTXO_BATCH_SIZE}")
        self.invocations: list[Invocation] = []
        self._now = 100.0
        for number, parent in enumerate(scenario.parents):
            creation = create_records(
                parent.transaction, CreationOptions(parent.creation.block_height, 0, UTXO_BATCH_SIZE)
            )
            self.store.batch_operate([Write(key, bins, Mode.CREATE) for key, bins in creation.records], 30)
            self.told("create", [(scenario.number, number)], Answer("OK", YES, parent.children + 1))

    def told(self, operation: str, items: list[Any], *answers: Answer) -> None:
        """One answer stands for all items."""
        listed = answers if len(answers) == len(items) else answers * len(items)
        self.invocations.append(
            Invocation(
                "callers", len(self.invocations), operation, items, self._now, self._now + 5, self._now + 0.1, listed
            )
        )
        self._now += 0.2

    def item(self, parent: int = 0, vout: int = 0, spender: str = A, vin: int = 0, early: bool = False) -> Any:
        return self.scenario.number, parent, vout, spender, vin, self.scenario.height - early

    def whole(self, spender: str = A, early: bool = False) -> list[Any]:
        return [self.item(0, 0, spender, 0, early), self.item(1, 0, spender, 1, early)]

    def spend(self, parent: int, vout: int, spender: str = A, vin: int = 0) -> None:
        """In the set."""
        spend = self.scenario.spend((parent, vout), bytes.fromhex(spender), vin, self.scenario.height)
        key, offset = locate(spend.txid, vout, UTXO_BATCH_SIZE)
        data = pack_spending_data(spend.spending_txid, vin)
        args = offset, spend.utxo_hash, data, False, False, self.scenario.height, 288
        self.store.batch_operate([RuleCall(key, "spend", args)], 30)

    def change(self, parent: int, index: int, **bins: Any) -> None:
        key = record_key(self.scenario.parents[parent].txid, index)
        self.store.batch_operate([Write(key, bins, Mode.UPDATE)], 30)

    def found(self) -> list[str]:
        checker = self.check()
        return [violation.kind for violation in checker.findings.violations]

    def check(self) -> Checker:
        checker = Checker(SCENARIOS, self.store)
        checker.check(self.scenario.number, self.invocations)
        return checker


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path, SCENARIO)
    yield scene
    scene.store.close()


def test_where_answers_and_set_agree_nothing_is_found(scene: Scene) -> None:
    scene.spend(0, 0)
    scene.spend(1, 0, vin=1)
    scene.told("transaction", scene.whole(early=True), refused("COINBASE_IMMATURE"))
    scene.told("transaction", scene.whole(), APPLIED)
    scene.told("spend", [scene.item(spender=B)], Answer("SPENT", "no", {"spender": A, "vin": 0}))
    scene.told("transaction", scene.whole(early=True), refused("COINBASE_IMMATURE", held=[(0, 0), (1, 0)]))
    checker = scene.check()
    assert checker.findings.violations == []
    assert checker.findings.counts["acknowledged"] == 1
    assert checker.findings.counts["spent outputs"] == 2


def test_the_fault_that_it_was_made_for(scene: Scene) -> None:
    """Refused early, the transaction has undone what another attempt of it was promised."""
    scene.spend(1, 0, vin=1)
    scene.told("transaction", scene.whole(), JOINED, APPLIED)
    beside = [refused("COINBASE_IMMATURE")] * 2
    scene.invocations.append(replace(scene.invocations[-1], items=scene.whole(early=True), answers=beside))
    assert UNDONE in scene.found()


def test_an_acknowledged_spend_that_a_rival_has(scene: Scene) -> None:
    scene.spend(0, 0, B)
    scene.spend(1, 0, vin=1)
    scene.told("transaction", scene.whole(), APPLIED)
    scene.told("spend", [scene.item(spender=B)], APPLIED)
    assert sorted(scene.found()) == sorted([TWICE, UNDONE])


def test_a_rival_that_is_told_the_wrong_spender(scene: Scene) -> None:
    scene.spend(0, 0)
    scene.told("spend", [scene.item(spender=B)], Answer("OVERLOADED", "no", {}))
    scene.told("spend", [scene.item()], APPLIED)
    scene.told("spend", [scene.item(spender=B)], Answer("SPENT", "no", {"spender": A, "vin": 0}))
    assert scene.found() == []
    scene.told("spend", [scene.item(spender="33" * 32)], Answer("SPENT", "no", {"spender": B, "vin": 0}))
    assert scene.found() == [WRONG]


def test_what_was_given_back_may_be_another_s(scene: Scene) -> None:
    scene.spend(0, 0, B)
    scene.told("spend", [scene.item()], APPLIED)
    scene.told("unspend", [scene.item()], APPLIED)
    scene.told("spend", [scene.item(spender=B)], APPLIED)
    assert scene.found() == []


def test_what_is_held_and_not_named(scene: Scene) -> None:
    scene.spend(0, 0)
    scene.told("transaction", scene.whole(early=True), refused("COINBASE_IMMATURE"))
    assert scene.found() == [UNNAMED]
    scene.told("transaction", scene.whole(early=True), refused("COINBASE_IMMATURE", held=[(0, 0)]))
    assert scene.found() == []
    assert scene.check().findings.counts["held at the end, as named"] == 1


def test_what_is_named_and_not_held(scene: Scene) -> None:
    scene.told("transaction", scene.whole(early=True), refused("COINBASE_IMMATURE", held=[(0, 0)]))
    assert scene.found() == [WRONG]
    scene.told("unspend", [scene.item()], APPLIED)
    assert scene.found() == []


def test_what_nobody_knows_in_the_end(scene: Scene) -> None:
    scene.told("spend", [scene.item()], CRASHED)
    assert scene.found() == [UNRESOLVED]


@pytest.mark.parametrize(
    "answer",
    [
        refused("COINBASE_IMMATURE"),  # at its height
        refused("COINBASE_IMMATURE", 0, (0, 0)),
        refused("TX_NOT_FOUND"),
        refused("LOCKED"),
        refused("SPENT", 0, (0, 0), spender=B, vin=0),  # by one that never asked
        refused("CREATING"),
        refused("INVALID_PARAMETER"),
        Answer("INTERNAL", "no", {}),
        Answer("COINBASE_IMMATURE", "no", {}),
    ],
)
def test_a_refusal_that_can_not_be_right(scene: Scene, answer: Answer) -> None:
    scene.told("transaction", scene.whole(), answer)
    assert WRONG in scene.found()


@pytest.mark.parametrize(
    "answer",
    [
        refused("COINBASE_IMMATURE", 0),  # the place of another input
        refused("COINBASE_IMMATURE", held=[(0, 1)]),  # not asked for
    ],
)
def test_a_refusal_that_names_what_it_must_not(scene: Scene, answer: Answer) -> None:
    scene.told("transaction", scene.whole(early=True), answer)
    assert WRONG in scene.found()


def test_what_was_spent_too_early(scene: Scene) -> None:
    scene.spend(0, 0)
    scene.spend(1, 0, vin=1)
    scene.told("transaction", scene.whole(early=True), APPLIED)
    assert scene.found() == [WRONG]


def test_records_that_are_not_whole(scene: Scene) -> None:
    scene.change(1, 1, spentUtxos=1)
    assert scene.found() == [TORN]


def test_locks_that_end_half_and_half(tmp_path: Path) -> None:
    scene = Scene(tmp_path, scenario_with(FINE, LOCKED))
    number = scene.scenario.number
    scene.told("set_locked", [(number, 1, True)], Answer("OK", YES, scene.scenario.parents[1].children))
    assert scene.found() == [LOCKS]
    for index in range(scene.scenario.parents[1].children + 1):
        assert scene.found() == [LOCKS]
        scene.change(1, index, locked=True)
    assert scene.found() == []
    scene.store.close()


def test_a_counter_that_is_off_is_to_be_asked_about(scene: Scene) -> None:
    scene.change(1, 0, spentExtraRecs=1)
    checker = scene.check()
    assert checker.findings.violations == []
    assert [off.parent for off in checker.miscounted] == [1]


def test_a_parent_that_comes_late_is_not_found_before(tmp_path: Path) -> None:
    scene = Scene(tmp_path, scenario_with(FINE, LATE))
    created = scene.invocations.pop()
    scene.told("transaction", scene.whole(), refused("TX_NOT_FOUND"))
    scene.invocations.append(created)
    created.asked, created.answered = 110.0, 110.1
    assert scene.found() == []
    created.asked, created.answered = 90.0, 90.1
    assert scene.found() == [WRONG]
    scene.store.close()


def test_the_scenarios_of_a_history_come_as_they_end(tmp_path: Path) -> None:
    history = HistoryFile(tmp_path / "callers.jsonl")
    history.asked(0, "create", [(7, 0)], 1.0, 2.0)
    history.asked(1, "create", [(8, 0)], 1.0, 2.0)
    history.answered(1, [Answer("OK", YES, 1)], 1.5)
    history.over(8)
    history.close()
    (first, (answered,)), (second, (cut_off,)) = read_scenarios(tmp_path / "callers.jsonl")
    assert (first, answered.answered, list(answered.answers)) == (8, 1.5, [Answer("OK", YES, 1)])
    assert (second, cut_off.answered) == (7, 0.0)


def run_briefly(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(COMMAND, ["--json", *arguments], catch_exceptions=False)
    print(result.output)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert result.exit_code == 0
    assert all(found["promises"].values())
    return {figure["name"]: figure["value"] for figure in found["figures"]}


@EMBEDDED_ONLY
def test_what_is_acknowledged_stands_while_workers_are_killed(store_kind: str) -> None:
    figures = run_briefly("--minutes", "0.05", "--seed", "7", "--kills", "120")
    assert figures["attempts of whole transactions"] > 200
    assert figures["acknowledged of whole transactions"] > 50
    assert figures["SIGKILLs of workers"] >= 1
    assert figures["refusals that name what is held"] > 10


def test_what_is_acknowledged_stands_in_every_store(store_kind: str, tmp_path: Path) -> None:
    with own_set(store_kind, tmp_path, "rivals") as url:
        given = [] if store_kind == "lmdb" else ["--store", url]
        figures = run_briefly("--minutes", "0.01", "--seed", "8", "--kills", "0", *given)
    assert figures["acknowledged of whole transactions"] > 30
    assert figures["counters"] > 10
