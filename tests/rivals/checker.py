"""Holds the history of a rivals run against its set, scenario by scenario."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from protocol import codes
from store import Read, Status, Store
from store.layout import record_key
from tests.chaos.checker import Findings
from tests.chaos.claims import FOREVER, SPENDS, Claims, Coin, claims_of, evidence_of, held_twice, named, spending_data
from tests.chaos.history import YES, Answer, Invocation, Item, events
from tests.chaos.recount import Bins, is_counted, wrong_height
from tests.rivals.questions import is_settled
from tests.rivals.scenarios import LATE, LOCKED, UTXO_BATCH_SIZE, Parent, Scenario, Scenarios

UNDONE: Final = "acknowledged spend undone"
TWICE: Final = "acknowledged to rivals"
UNNAMED: Final = "held, and no answer names it"
WRONG: Final = "wrong answer"
LOCKS: Final = "locks that do not agree"
TORN: Final = "torn"
COUNTER: Final = "counter wrong"
UNRESOLVED: Final = "unresolved"

_FIRST: Final = 1  # of an item's fields, behind the scenario's number
_HASH_BYTES: Final = 32
_READ_SECONDS: Final = 30.0
# Not of the rules, and `executed: no` or unknown: of workers that die, and of deadlines.
_FAULTS: Final = frozenset(
    {
        codes.OVERLOADED, codes.UNAVAILABLE, codes.DEADLINE_EXCEEDED, codes.WORKER_CRASHED, codes.STORE_ERROR,
        codes.NO_ANSWER, codes.STALE,
    }
)  # fmt: skip


class Miscounted(NamedTuple):
    """A parent whose counter is off, with its records."""

    scenario: int
    parent: int
    records: Sequence[Bins]


class Checker:
    def __init__(self, scenarios: Scenarios, store: Store) -> None:
        self.findings = Findings()
        self.miscounted: list[Miscounted] = []
        self._scenarios = scenarios
        self._store = store

    def check(self, scenario_number: int, invocations: Sequence[Invocation]) -> None:
        scenario = self._scenarios.scenario(scenario_number)
        self.findings.counts["scenarios"] += 1
        claims = claims_of(invocations, _FIRST)
        self._count(invocations)
        self._check_answers(scenario, invocations, claims)
        self._check_promises(scenario, claims)
        for number, parent in enumerate(scenario.parents):
            records = read_records(self._store, parent)
            if any(bins is None for bins in records):
                self._complain(TORN, scenario, f"parent {number}: records are missing", invocations)
            else:
                self._check_parent(
                    scenario, number, [bins for bins in records if bins is not None], claims, invocations
                )

    def _complain(self, kind: str, scenario: Scenario, what: str, invocations: Sequence[Invocation]) -> None:
        self.findings.complain(kind, f"scenario {scenario.number}, height {scenario.height}: {what}", invocations)

    def _count(self, invocations: Sequence[Invocation]) -> None:
        counts = self.findings.counts
        for invocation in invocations:
            counts["calls"] += 1
            answer = invocation.answers[0]
            if invocation.operation == "transaction":
                counts["attempts"] += 1
                counts["acknowledged"] += answer.executed == YES
                counts[f"attempt {answer.code} {answer.executed}"] += 1
                if answer.executed == "no":
                    counts["held named"] += len(answer.held)
                    counts["refusals that name what is held"] += bool(answer.held)
            elif invocation.operation == "spend":
                counts["plain spends"] += len(invocation.items)
                counts["plain spends acknowledged"] += sum(answer.executed == YES for answer in invocation.answers)
            elif invocation.operation == "unspend":
                counts["taken back"] += sum(answer.value is True for answer in invocation.answers)
            counts["unknown"] += any(answer.executed == "unknown" for answer in invocation.answers)

    # ---- answers

    def _check_answers(self, scenario: Scenario, invocations: Sequence[Invocation], claims: Claims) -> None:
        created = _created(invocations)
        for item, answer, invocation in events(invocations, (*SPENDS, "unspend", "create", "set_locked")):
            if invocation.operation == "transaction" and item is not invocation.items[0]:
                continue  # one answer stands for all
            problem = self._problem(scenario, item, answer, invocation, claims, created)
            if problem:
                self._complain(WRONG, scenario, f"{list(item)}: {problem}", [invocation])
        for item, answer, invocation in _last_of_each(invocations):
            if not is_settled(answer):
                self._complain(UNRESOLVED, scenario, f"{invocation.operation} {list(item)}", [invocation])

    def _problem(
        self,
        scenario: Scenario,
        item: Item,
        answer: Answer,
        invocation: Invocation,
        claims: Claims,
        created: Mapping[int, float],
    ) -> str:
        code = answer.code
        if not invocation.answered:
            return "never answered"
        if code in _FAULTS:
            return ""
        if invocation.operation not in SPENDS:
            allowed = {"create": (codes.TX_EXISTS, codes.CREATING), "unspend": (codes.TX_NOT_FOUND, codes.SPENT)}
            return "" if code in ("OK", *allowed.get(invocation.operation, ())) else f"{code} is no answer to this"
        wanted = {(asked[1], asked[2]) for asked in invocation.items}
        if answer.executed == YES:
            early = [coin for coin in wanted if scenario.is_early(coin, item[5])]
            is_whole = invocation.operation == "transaction" or (item[1], item[2]) in early
            return f"spent before its height: {early}" if early and is_whole else ""
        if code not in codes.REJECTIONS:
            return f"{code} is no answer to this"
        if not named(answer) <= wanted:
            return "it names what was not asked for"
        coin = item[1], item[2]
        if invocation.operation == "transaction":
            because, outpoint = answer.value.get("because"), answer.value.get("outpoint")
            if because is None or outpoint is None:
                return "it does not say which input was refused"
            coin = outpoint[0], outpoint[1]
            if not 0 <= because < len(invocation.items) or invocation.items[because][1:3] != coin:
                return "the place of the refused input is not its outpoint's"
        return self._reason(scenario, coin, item[5], answer, invocation, claims, created)

    def _reason(
        self,
        scenario: Scenario,
        coin: Coin,
        height: int,
        answer: Answer,
        invocation: Invocation,
        claims: Claims,
        created: Mapping[int, float],
    ) -> str:
        """What is wrong with the reason that a refusal gives for this output."""
        code, trouble = answer.code, scenario.parents[coin[0]].trouble
        if code in (codes.COINBASE_IMMATURE, codes.FROZEN_UNTIL):
            return "" if scenario.is_early(coin, height) else f"{code}, at a height at which it may be spent"
        if code == codes.LOCKED:
            return "" if trouble == LOCKED else "said to be locked, which nobody asked for"
        if code in (codes.TX_NOT_FOUND, codes.CREATING):
            is_there = trouble != LATE or created.get(coin[0], FOREVER) < invocation.asked
            return f"{code}, though it had been created" if is_there else ""
        if code != codes.SPENT:
            return f"{code} is no answer to this"
        holder = spending_data(answer.value["spender"], answer.value["vin"])
        claim = claims[coin].get(holder)
        if claim is None or claim.asked > invocation.answered:
            return "said to be spent by one that never asked for it"
        promised = [
            data for data, other in claims[coin].items() if other.is_promised(invocation.asked, invocation.answered)
        ]
        return "" if promised in ([], [holder]) else "said to be spent by another than it was promised to"

    # ---- what was promised, one answer against the other

    def _check_promises(self, scenario: Scenario, claims: Claims) -> None:
        for coin, spenders in claims.items():
            twice = held_twice(spenders)
            if twice:
                self._complain(TWICE, scenario, f"output {coin}", twice)
            for claim in spenders.values():
                for problem in claim.problems():
                    kind = UNDONE if claim.is_held else WRONG
                    self._complain(kind, scenario, f"output {coin}: {problem}", claim.invocations)

    # ---- and against the set

    def _check_parent(
        self,
        scenario: Scenario,
        number: int,
        records: Sequence[Bins],
        claims: Claims,
        invocations: Sequence[Invocation],
    ) -> None:
        parent = scenario.parents[number]
        for index, bins in enumerate(records):
            spent = sum(utxo is not None and len(utxo) > _HASH_BYTES for utxo in bins["utxos"])
            if bins["spentUtxos"] != spent or bins.get("creating"):
                self._complain(TORN, scenario, f"parent {number}, record {index}: {spent} are spent: {dict(bins)}", [])
            for offset, utxo in enumerate(bins["utxos"]):
                vout = index * UTXO_BATCH_SIZE + offset
                self._check_output(scenario, (number, vout), utxo[_HASH_BYTES:], claims)
            lives = bins.get("joined") or {}
            self.findings.counts["became unspent again"] += sum(life for life, _ in lives.values())
        self._check_locks(scenario, number, records, invocations)
        if parent.children:
            self.findings.counts["counters"] += 1
        if not is_counted(records):
            self.miscounted.append(Miscounted(scenario.number, number, records))
        elif parent.is_deletable and (problem := wrong_height(records)):
            self._complain(TORN, scenario, f"parent {number}: {problem}", [])

    def _check_output(self, scenario: Scenario, coin: Coin, stored: bytes, claims: Claims) -> None:
        """stored: the spending data that the record has; empty where the output is unspent."""
        spenders = claims.get(coin, {})
        self.findings.counts["spent outputs"] += bool(stored)
        for data, claim in spenders.items():
            if data == stored:
                # Who was refused last of all has heard of it, whether it was acknowledged before or not.
                last_is_good = claim.last_spend is not None and claim.last_spend[0].executed == YES
                if not last_is_good and not claim.is_named:
                    self._complain(UNNAMED, scenario, f"output {coin}", claim.invocations)
                self.findings.counts["held at the end, as named"] += not claim.is_held
            elif claim.is_held:
                found = f"spent by {stored.hex()}" if stored else "unspent"
                self._complain(UNDONE, scenario, f"output {coin} is {found}", evidence_of(claim, spenders.get(stored)))
            elif claim.is_named:
                self._complain(WRONG, scenario, f"output {coin} is said to be held, and is not", claim.invocations)
        if stored and stored not in spenders:
            self._complain(WRONG, scenario, f"output {coin} is spent by one that never asked for it", [])

    def _check_locks(
        self, scenario: Scenario, number: int, records: Sequence[Bins], invocations: Sequence[Invocation]
    ) -> None:
        found = [bool(bins["locked"]) for bins in records]
        told = [(item, invocation) for item, _, invocation in events(invocations, ("set_locked",)) if item[1] == number]
        evidence = [invocation for _, invocation in told]
        if len(set(found)) > 1:
            self._complain(LOCKS, scenario, f"parent {number}: {found}", evidence)
        elif not told or all(
            invocation is told[-1][1] or _is_before(invocation, told[-1][1]) for _, invocation in told
        ):
            wanted = bool(told[-1][0][2]) if told else False
            if found[0] is not wanted:
                self._complain(LOCKS, scenario, f"parent {number}: {found}, not {wanted}", evidence)
            self.findings.counts["locks"] += 1


def read_records(store: Store, parent: Parent) -> list[Bins | None]:
    keys = [record_key(parent.txid, index) for index in range(parent.children + 1)]
    results = store.batch_operate([Read(key) for key in keys], _READ_SECONDS)
    return [result.value if result.status is Status.OK else None for result in results]


def _created(invocations: Sequence[Invocation]) -> Mapping[int, float]:
    """By parent, when it was known to be there."""
    known: dict[int, float] = {}
    for item, answer, invocation in events(invocations, ("create",)):
        if answer.code in ("OK", codes.TX_EXISTS):
            known[item[1]] = min(invocation.answered, known.get(item[1], invocation.answered))
    return known


def _last_of_each(invocations: Sequence[Invocation]) -> Iterable[tuple[Item, Answer, Invocation]]:
    """The last word on each thing that was asked."""
    last: dict[Any, tuple[Item, Answer, Invocation]] = {}
    for item, answer, invocation in events(invocations, (*SPENDS, "unspend", "create", "set_locked")):
        key = (invocation.operation, item[:-1] if invocation.operation in (*SPENDS, "unspend", "set_locked") else item)
        if key not in last or invocation.answered >= last[key][2].answered:
            last[key] = item, answer, invocation
    return last.values()


def _is_before(invocation: Invocation, other: Invocation) -> bool:
    return 0 < invocation.answered < other.asked
