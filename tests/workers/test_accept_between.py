"""What comes between two steps of an accept: another attempt, a rival, an abandon, one that dies. At every step, of
both kinds of store: no coin is lost, none is taken by what is not there, and every answer is true."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest

from store import RecordOperation, Remove, Result, Store
from store.layout import lock_key
from store.transaction import Transaction
from tests.support.accepting import has_record, is_there, item, payment, spender_of
from tests.support.dispatching import HEIGHT, Outcome, Run, create, dispatch, matured
from tests.support.wrapped import Wrapped
from utxod.generate import Generator


class Died(BaseException):
    """The worker's process is gone."""


class Steps(Wrapped):
    """A store that tells of its steps: `between` is called before each, with its number. A step is a record, or a whole
    batch where that is one whole."""

    def __init__(self, inner: Any, between: Callable[[int], object], *, is_atomic: bool) -> None:
        super().__init__(inner)
        self.is_atomic = is_atomic
        self.steps = 0
        self._between = between

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        parts = [record_operations] if self.is_atomic else [[operation] for operation in record_operations]
        results = []
        for part in parts:
            step, self.steps = self.steps, self.steps + 1
            self._between(step)
            results += self._inner.batch_operate(part, budget)
        return results


@pytest.fixture(params=["as one whole", "record by record"])
def is_atomic(store: Store, request: pytest.FixtureRequest) -> bool:
    if request.param == "as one whole" and not store.is_atomic:
        pytest.skip("this store takes record by record")
    return bool(request.param == "as one whole")


class OneRecordBackwards(Wrapped):
    """A store that takes record by record, and the calls of one of them in the opposite order."""

    is_atomic = False

    def __init__(self, inner: Any, key: bytes) -> None:
        super().__init__(inner)
        self._key = key

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        places = [place for place, operation in enumerate(record_operations) if operation.key == self._key]
        order = list(range(len(record_operations)))
        for place, other in zip(places, places[::-1], strict=True):
            order[place] = other
        results = self._inner.batch_operate([record_operations[place] for place in order], budget)
        return [results[place] for place in order]


class Scene(NamedTuple):
    """A transaction of two coins, the second of which is young: it can be spent from height 200 on. A rival wants the
    first one."""

    coins: list[tuple[Transaction, int]]
    mine: Transaction
    rival: Transaction


def scene_of(run: Run, generate: Generator, outputs: int) -> Scene:
    old, young = matured(run, generate, [1, 2, 3]), generate.coinbase([4])
    create(run, young, height=100)
    coins = [(old, 2), (young, 0)]
    return Scene(coins, payment(generate, *coins, outputs=outputs), payment(generate, coins[0]))


def ask(store: Any, transaction: Transaction, height: int = 200) -> Outcome:
    return dispatch(store, "accept", [item(transaction, height=height)]).outcomes[0]


def abandon(store: Any, scene: Scene) -> Outcome:
    outpoints = [[source.txid, vout] for source, vout in scene.coins]
    return dispatch(store, "abandon", [[scene.mine.txid, outpoints, 200]]).outcomes[0]


# What comes between, by name.
BETWEEN: dict[str, Callable[[Any, Scene], object]] = {
    "another attempt": lambda store, scene: ask(store, scene.mine),
    "a refused attempt": lambda store, scene: ask(store, scene.mine, height=199),
    "two refused attempts": lambda store, scene: [ask(store, scene.mine, height=199) for _ in range(2)],
    "a rival": lambda store, scene: ask(store, scene.rival),
    "an abandon": abandon,
    "an abandon, and a rival": lambda store, scene: (abandon(store, scene), ask(store, scene.rival)),
    "a refused attempt, an abandon and a rival": lambda store, scene: (
        ask(store, scene.mine, height=199),
        abandon(store, scene),
        ask(store, scene.rival),
    ),
}


def check(store: Store, scene: Scene, outcome: Outcome, height: int) -> None:
    """At the end of everything: what is there holds all of its inputs; and the answer is true."""
    mine, rival = is_there(store, scene.mine.txid), is_there(store, scene.rival.txid)
    holders = [spender_of(store, coin) for coin in scene.coins]
    if has_record(store, scene.mine.txid):
        assert holders == [scene.mine.txid] * 2
    if rival:
        assert holders[0] == scene.rival.txid
    if outcome.code == "OK":
        assert mine
    if height < 200 and outcome.code == "OK":
        assert not outcome.result["created"]


def ghosts(store: Store, scene: Scene) -> set[tuple[bytes, int]]:
    return {
        (source.txid, vout)
        for source, vout in scene.coins
        for spender in [spender_of(store, (source, vout))]
        if spender is not None and not has_record(store, spender)
    }


def told(outcome: Outcome) -> set[tuple[bytes, int]]:
    details = outcome.error.details if outcome.error is not None else {}
    return {(txid, vout) for name in ("outpoints", "held", "unseen") for txid, vout in details.get(name, [])}


@pytest.mark.parametrize("height", [200, 199], ids=["mature", "too early"])
@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_whatever_comes_between_two_steps_no_coin_is_lost_and_none_is_taken_by_what_is_not_there(
    run: Run, store: Store, generate: Generator, is_atomic: bool, outputs: int, between: str, height: int
) -> None:
    for number in itertools.count():
        scene = scene_of(run, generate, outputs)
        plain = Steps(store, lambda _: None, is_atomic=is_atomic)

        def interrupt(step: int, scene: Scene = scene, number: int = number, plain: Any = plain) -> None:
            if step == number:
                BETWEEN[between](plain, scene)

        stepping = Steps(store, interrupt, is_atomic=is_atomic)
        outcome = ask(stepping, scene.mine, height)
        check(store, scene, outcome, height)
        assert not ghosts(store, scene), (number, outcome)
        if between in ("another attempt", "a refused attempt", "two refused attempts") and height == 200:
            assert outcome.code == "OK"
        if stepping.steps <= number:
            break
    assert number >= 2


@pytest.mark.parametrize("between", ["another attempt", "a refused attempt", "a rival", "an abandon, and a rival"])
@pytest.mark.parametrize("outputs", [2, 5], ids=["of one record", "of several"])
def test_whatever_comes_after_a_death_at_any_step_no_coin_is_lost(
    run: Run, store: Store, generate: Generator, is_atomic: bool, outputs: int, between: str
) -> None:
    """What then comes may die as well; in the end somebody asks who is left alone."""

    def dying_at(number: int) -> Any:
        def die(step: int) -> None:
            if step == number:
                raise Died

        return Steps(store, die, is_atomic=is_atomic)

    plain = Steps(store, lambda _: None, is_atomic=is_atomic)
    for first in itertools.count():
        is_through = False
        for second in itertools.count():
            scene = scene_of(run, generate, outputs)
            try:
                ask(dying_at(first), scene.mine)
                is_through = True
            except Died:
                store.batch_operate([Remove(lock_key(scene.mine.txid))], 30.0)
            try:
                BETWEEN[between](dying_at(second), scene)
                is_last = True
            except Died:
                store.batch_operate([Remove(lock_key(scene.mine.txid))], 30.0)
                is_last = False
            outcome = ask(plain, scene.mine)
            if outcome.code == "ABANDONED":
                store.batch_operate([Remove(scene.mine.txid)], 30.0)
                outcome = ask(plain, scene.mine)
            check(store, scene, outcome, 200)
            assert outcome.code in ("OK", "SPENT")
            if outcome.code == "SPENT":
                ask(plain, scene.rival)
                assert is_there(store, scene.rival.txid)
                assert ghosts(store, scene) <= told(outcome)
            if is_last:
                break
        if is_through:
            break
    assert first >= 2


def test_of_rivals_in_one_batch_that_keep_each_other_out_one_wins(run: Run, store: Store, generate: Generator) -> None:
    """Spends at different heights are calls of their own, and a server may take those of one record in any order."""
    coins = [(matured(run, generate, [1]), 0) for _ in range(2)]
    rivals = [payment(generate, *coins) for _ in range(2)]
    items = [item(rival, height=HEIGHT + number) for number, rival in enumerate(rivals)]
    outcomes = dispatch(OneRecordBackwards(store, coins[1][0].txid), "accept", items).outcomes
    assert [outcome.code for outcome in outcomes] == ["OK", "SPENT"]
    assert [spender_of(store, coin) for coin in coins] == [rivals[0].txid] * 2
    assert [is_there(store, rival.txid) for rival in rivals] == [True, False]
