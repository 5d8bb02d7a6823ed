"""Holds the history of a rivals run against its set, game by game."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from protocol import codes
from store import Read, Status, Store
from store.layout import record_key
from tests.chaos.checker import Findings
from tests.chaos.claims import FOREVER, SPENDS, Claims, Place, claims_of, held_twice, named, shown, spending_data
from tests.chaos.history import YES, Answer, Invocation, Item, events
from tests.chaos.recount import Bins, is_complete, is_counted
from tests.rivals.model import FROZEN, LATE, LOCKED, UTXO_BATCH_SIZE, Game, Games, Parent
from tests.rivals.questions import is_settled

UNDONE: Final = "acknowledged spend undone"
TWICE: Final = "acknowledged to rivals"
UNNAMED: Final = "held, and no answer names it"
WRONG: Final = "wrong answer"
LOCKS: Final = "locks that do not agree"
TORN: Final = "torn"
COUNTER: Final = "counter wrong"
UNRESOLVED: Final = "unresolved"

_FIRST: Final = 1  # of an item's fields, behind the game's number
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

    game: int
    parent: int
    records: Sequence[Bins]


class RivalsChecker:
    def __init__(self, games: Games, store: Store) -> None:
        self.findings = Findings()
        self.miscounted: list[Miscounted] = []
        self._games = games
        self._store = store

    def check(self, number: int, calls: Sequence[Invocation]) -> None:
        game = self._games.game(number)
        self.findings.counts["games"] += 1
        claims = claims_of(calls, _FIRST)
        self._count(calls)
        self._check_answers(game, calls, claims)
        self._check_promises(game, claims)
        for place, parent in enumerate(game.parents):
            records = read_records(self._store, parent)
            if any(bins is None for bins in records):
                self._complain(TORN, game, f"parent {place}: records are missing", calls)
            else:
                self._check_parent(game, place, [bins for bins in records if bins is not None], claims, calls)

    def _complain(self, kind: str, game: Game, what: str, calls: Sequence[Invocation]) -> None:
        self.findings.complain(kind, f"game {game.number}, height {game.height}: {what}", calls)

    def _count(self, calls: Sequence[Invocation]) -> None:
        counts = self.findings.counts
        for call in calls:
            counts["calls"] += 1
            answer = call.answers[0]
            if call.operation == "transaction":
                counts["attempts"] += 1
                counts["acknowledged"] += answer.executed == YES
                counts[f"attempt {answer.code} {answer.executed}"] += 1
                if answer.executed == "no":
                    counts["held named"] += len(answer.held)
                    counts["refusals that name what is held"] += bool(answer.held)
            elif call.operation == "spend":
                counts["plain spends"] += len(call.items)
                counts["plain spends acknowledged"] += sum(one.executed == YES for one in call.answers)
            elif call.operation == "abandon":
                counts["abandoned"] += sum(one.value is True for one in call.answers)
            counts["unknown"] += any(one.executed == "unknown" for one in call.answers)

    # ---- answers

    def _check_answers(self, game: Game, calls: Sequence[Invocation], claims: Claims) -> None:
        created = _created(calls)
        for item, answer, call in events(calls, (*SPENDS, "abandon", "create", "set_locked")):
            if call.operation == "transaction" and item is not call.items[0]:
                continue  # one answer stands for all
            problem = self._problem(game, item, answer, call, claims, created)
            if problem:
                self._complain(WRONG, game, f"{list(item)}: {problem}", [call])
        for item, answer, call in _last_of_each(calls):
            if not is_settled(answer):
                self._complain(UNRESOLVED, game, f"{call.operation} {list(item)}", [call])

    def _problem(
        self, game: Game, item: Item, answer: Answer, call: Invocation, claims: Claims, created: Mapping[int, float]
    ) -> str:
        code = answer.code
        if not call.answered:
            return "never answered"
        if code in _FAULTS:
            return ""
        if call.operation not in SPENDS:
            allowed = {"create": (codes.TX_EXISTS, codes.CREATING), "abandon": (codes.TX_NOT_FOUND,)}
            return "" if code in ("OK", *allowed.get(call.operation, ())) else f"{code} is no answer to this"
        wanted = {(one[1], one[2]) for one in call.items}
        if answer.executed == YES:
            early = [place for place in wanted if game.is_early(place, item[5])]
            is_whole = call.operation == "transaction" or (item[1], item[2]) in early
            return f"spent before its height: {early}" if early and is_whole else ""
        if code not in codes.REJECTIONS:
            return f"{code} is no answer to this"
        if not named(answer) <= wanted:
            return "it names what was not asked for"
        place = item[1], item[2]
        if call.operation == "transaction":
            because, outpoint = answer.value.get("because"), answer.value.get("outpoint")
            if because is None or outpoint is None:
                return "it does not say which input was refused"
            place = outpoint[0], outpoint[1]
            if not 0 <= because < len(call.items) or call.items[because][1:3] != place:
                return "the place of the refused input is not its outpoint's"
        return self._reason(game, place, item[5], answer, call, claims, created)

    def _reason(
        self,
        game: Game,
        place: Place,
        height: int,
        answer: Answer,
        call: Invocation,
        claims: Claims,
        created: Mapping[int, float],
    ) -> str:
        """What is wrong with the reason that a refusal gives for this output."""
        code, trouble = answer.code, game.parents[place[0]].trouble
        if code in (codes.COINBASE_IMMATURE, codes.FROZEN_UNTIL):
            return "" if game.is_early(place, height) else f"{code}, at a height at which it may be spent"
        if code == codes.LOCKED:
            return "" if trouble == LOCKED else "said to be locked, which nobody asked for"
        if code in (codes.TX_NOT_FOUND, codes.CREATING):
            is_there = trouble != LATE or created.get(place[0], FOREVER) < call.asked
            return f"{code}, though it had been created" if is_there else ""
        if code != codes.SPENT:
            return f"{code} is no answer to this"
        named_one = spending_data(answer.value["spender"], answer.value["vin"])
        claim = claims[place].get(named_one)
        if claim is None or claim.asked > call.answered:
            return "said to be spent by one that never asked for it"
        promised = [data for data, other in claims[place].items() if other.is_promised(call.asked, call.answered)]
        return "" if promised in ([], [named_one]) else "said to be spent by another than it was promised to"

    # ---- what was promised, one answer against the other

    def _check_promises(self, game: Game, claims: Claims) -> None:
        for place, spenders in claims.items():
            twice = held_twice(spenders)
            if twice:
                self._complain(TWICE, game, f"output {place}", twice)
            for claim in spenders.values():
                for problem in claim.problems():
                    kind = UNDONE if claim.is_held else WRONG
                    self._complain(kind, game, f"output {place}: {problem}", claim.calls)

    # ---- and against the set

    def _check_parent(
        self, game: Game, number: int, records: Sequence[Bins], claims: Claims, calls: Sequence[Invocation]
    ) -> None:
        parent = game.parents[number]
        for index, bins in enumerate(records):
            spent = sum(utxo is not None and len(utxo) > _HASH_BYTES for utxo in bins["utxos"])
            if bins["spentUtxos"] != spent or bins.get("creating"):
                self._complain(TORN, game, f"parent {number}, record {index}: {spent} are spent: {dict(bins)}", [])
            for offset, utxo in enumerate(bins["utxos"]):
                vout = index * UTXO_BATCH_SIZE + offset
                self._check_output(game, (number, vout), utxo[_HASH_BYTES:], claims)
            lives = bins.get("joined") or {}
            self.findings.counts["became unspent again"] += sum(life for life, _ in lives.values())
        self._check_locks(game, number, records, calls)
        if parent.children:
            self.findings.counts["counters"] += 1
        if not is_counted(records):
            self.miscounted.append(Miscounted(game.number, number, records))
        elif problem := wrong_height(parent, records):
            self._complain(TORN, game, f"parent {number}: {problem}", [])

    def _check_output(self, game: Game, place: Place, stored: bytes, claims: Claims) -> None:
        """stored: the spending data that the record has; empty where the output is unspent."""
        spenders = claims.get(place, {})
        self.findings.counts["spent outputs"] += bool(stored)
        for data, claim in spenders.items():
            if data == stored:
                # Who was refused last of all has heard of it, whether it was acknowledged before or not.
                last_is_good = claim.word is not None and claim.word[0].executed == YES
                if not last_is_good and not claim.is_named:
                    self._complain(UNNAMED, game, f"output {place}", claim.calls)
                self.findings.counts["held at the end, as named"] += not claim.is_held
            elif claim.is_held:
                found = f"spent by {stored.hex()}" if stored else "unspent"
                self._complain(UNDONE, game, f"output {place} is {found}", shown(claim, spenders.get(stored)))
            elif claim.is_named:
                self._complain(WRONG, game, f"output {place} is said to be held, and is not", claim.calls)
        if stored and stored not in spenders:
            self._complain(WRONG, game, f"output {place} is spent by one that never asked for it", [])

    def _check_locks(self, game: Game, number: int, records: Sequence[Bins], calls: Sequence[Invocation]) -> None:
        found = [bool(bins["locked"]) for bins in records]
        told = [(item, call) for item, _, call in events(calls, ("set_locked",)) if item[1] == number]
        shown = [call for _, call in told]
        if len(set(found)) > 1:
            self._complain(LOCKS, game, f"parent {number}: {found}", shown)
        elif not told or all(call is told[-1][1] or _is_before(call, told[-1][1]) for _, call in told):
            wanted = bool(told[-1][0][2]) if told else False
            if found[0] is not wanted:
                self._complain(LOCKS, game, f"parent {number}: {found}, not {wanted}", shown)
            self.findings.counts["locks"] += 1


def read_records(store: Store, parent: Parent) -> list[Bins | None]:
    keys = [record_key(parent.txid, index) for index in range(parent.children + 1)]
    results = store.batch_operate([Read(key) for key in keys], _READ_SECONDS)
    return [result.value if result.status is Status.OK else None for result in results]


def wrong_height(parent: Parent, records: Sequence[Bins]) -> str:
    """Of one in a block, and never locked: it is to be deleted when, and only when, all of it is spent."""
    complete = is_complete(records)
    height = records[0].get("deleteAtHeight")
    if not parent.creation.mined or parent.trouble in (LOCKED, FROZEN) or complete == (height is not None):
        return ""
    return f"complete {complete}, deleted at height {height}"


def _created(calls: Sequence[Invocation]) -> Mapping[int, float]:
    """By parent, when it was known to be there."""
    known: dict[int, float] = {}
    for item, answer, call in events(calls, ("create",)):
        if answer.code in ("OK", codes.TX_EXISTS):
            known[item[1]] = min(call.answered, known.get(item[1], call.answered))
    return known


def _last_of_each(calls: Sequence[Invocation]) -> Iterable[tuple[Item, Answer, Invocation]]:
    """The last word on each thing that was asked."""
    last: dict[Any, tuple[Item, Answer, Invocation]] = {}
    for item, answer, call in events(calls, (*SPENDS, "abandon", "create", "set_locked")):
        key = (call.operation, item[:-1] if call.operation in (*SPENDS, "abandon", "set_locked") else item)
        if key not in last or call.answered >= last[key][2].answered:
            last[key] = item, answer, call
    return last.values()


def _is_before(call: Invocation, other: Invocation) -> bool:
    return 0 < call.answered < other.asked
