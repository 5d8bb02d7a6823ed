"""Holds the history of a chaos run against its store."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from store import Read, Status, Store
from store.layout import FROZEN, record_key
from tests.chaos.answers import AnswerCheck
from tests.chaos.claims import FREE, HELD, OPEN, Place, claims_of, held_twice, shown
from tests.chaos.counters import has_heights
from tests.chaos.history import Answer, Invocation, events
from tests.chaos.model import UTXO_BATCH_SIZE, Lot, Lots
from tests.chaos.recount import Bins, count_spent, is_complete, is_counted

_HASH_BYTES: Final = 32
_READ_SECONDS: Final = 10.0
_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Violation:
    """kind: what promise broke. calls: the lines of the history that show it."""

    kind: str
    what: str
    calls: Sequence[Invocation] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.kind}: {self.what}", *(f"    {call}" for call in self.calls)])


@dataclass(slots=True)
class Findings:
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    slowest_over_due: float = 0.0
    slowest: Invocation | None = None

    def complain(self, kind: str, what: str, calls: Sequence[Invocation] = ()) -> None:
        self.violations.append(Violation(kind, what, calls))
        self.counts[kind] += 1


class Checker:
    """calls: all of the run, in the order in which they were asked, the resolver's among them. bound: seconds after its
    deadline by which a call is answered."""

    def __init__(self, lots: Lots, calls: Sequence[Invocation], *, bound: float) -> None:
        self.findings = Findings()
        self._lots = lots
        self._calls = calls
        self._bound = bound
        self._claims = claims_of(calls)

    def check(self, store: Store) -> Findings:
        self._check_times()
        AnswerCheck(self._lots, self._calls, self.findings.complain).run()
        numbers = sorted({item[0] for call in self._calls for item in call.items})
        for first in range(0, len(numbers), _AT_ONCE):
            self._check_lots([self._lots.lot(number) for number in numbers[first : first + _AT_ONCE]], store)
        return self.findings

    # ---- what needs no store

    def _check_times(self) -> None:
        findings = self.findings
        for call in self._calls:
            findings.counts["calls"] += 1
            findings.counts.update(f"answer {answer.code}" for answer in call.answers)
            if not call.answered:
                continue
            over = call.answered - call.due
            if over > findings.slowest_over_due:
                findings.slowest_over_due, findings.slowest = over, call
            if over > self._bound:
                findings.complain("late", f"answered {over:.3f} s after its deadline", [call])

    # ---- and what does

    def _check_lots(self, lots: Sequence[Lot], store: Store) -> None:
        keys = [(lot, index, record_key(lot.txid, index)) for lot in lots for index in range(lot.children + 1)]
        results = store.batch_operate([Read(key) for _, _, key in keys], _READ_SECONDS)
        records: dict[int, list[Bins | None]] = defaultdict(list)
        for (lot, _, _), result in zip(keys, results, strict=True):
            records[lot.number].append(result.value if result.status is Status.OK else None)
        by_lot = self._calls_by_lot
        for lot in lots:
            self._check_lot(lot, records[lot.number], by_lot.get(lot.number, []), store)

    @property
    def _calls_by_lot(self) -> Mapping[int, list[tuple[Answer, Invocation]]]:
        if not hasattr(self, "_by_lot"):
            self._by_lot: dict[int, list[tuple[Answer, Invocation]]] = defaultdict(list)
            for item, answer, call in events(self._calls, ("create", "set_locked")):
                self._by_lot[item[0]].append((answer, call))
        return self._by_lot

    def _check_lot(
        self, lot: Lot, records: Sequence[Bins | None], told: Sequence[tuple[Answer, Invocation]], store: Store
    ) -> None:
        creations = [(answer, call) for answer, call in told if call.operation == "create"]
        shown = [call for _, call in creations]
        if records[0] is None:
            if any(record is not None for record in records):
                self.findings.complain("torn", f"lot {lot.number}: child records without a master", shown)
            if any(answer.code in ("OK", "TX_EXISTS") for answer, _ in creations):
                self.findings.complain("lost acknowledged write", f"lot {lot.number} is not there", shown)
            if any(
                claim.state == HELD
                for vout in lot.outputs
                for claim in self._claims.get((lot.number, vout), {}).values()
            ):
                self.findings.complain(
                    "lost acknowledged write", f"lot {lot.number} is not there, and was spent", shown
                )
            return
        self.findings.counts["lots"] += 1
        if all(answer.executed == "no" for answer, _ in creations):
            self.findings.complain("executed after a no", f"lot {lot.number} is there", shown)
        whole = [record for record in records if record is not None]
        if len(whole) < len(records):
            self.findings.complain("torn", f"lot {lot.number}: {len(whole)} records of {len(records)}", shown)
            return
        self._check_whole(lot, whole, shown, store)
        self._check_locked(lot, whole, [(a, call) for a, call in told if call.operation == "set_locked"])
        self._check_counter(lot, whole)

    def _check_whole(self, lot: Lot, records: Sequence[Bins], shown: Sequence[Invocation], store: Store) -> None:
        creation = lot.creation()
        for index, (bins, (_, expected)) in enumerate(zip(records, creation.records, strict=True)):
            where = f"lot {lot.number}, record {index}"
            utxos = bins["utxos"]
            if [utxo and utxo[:_HASH_BYTES] for utxo in utxos] != expected["utxos"]:
                self.findings.complain("torn", f"{where}: other outputs than were created", shown)
                continue
            spent = sum(utxo is not None and len(utxo) > _HASH_BYTES for utxo in utxos)
            if (bins["recordUtxos"], bins["spentUtxos"]) != (expected["recordUtxos"], spent):
                counted = f"recordUtxos {bins['recordUtxos']}, spentUtxos {bins['spentUtxos']}"
                self.findings.complain("torn", f"{where}: {counted}, where {spent} are spent of {len(utxos)}", shown)
            if bins.get("creating"):
                self.findings.complain("torn", f"{where}: is still being created", shown)
            for offset, utxo in enumerate(utxos):
                if utxo is not None:
                    self._check_output((lot.number, index * UTXO_BATCH_SIZE + offset), utxo[_HASH_BYTES:])
        if creation.external and not _has_blob(store, lot):
            self.findings.complain("torn", f"lot {lot.number}: its blob is not there", shown)

    def _check_output(self, place: Place, spending_data: bytes) -> None:
        """spending_data: as it is stored, empty where the output is unspent."""
        spenders = self._claims.get(place, {})
        where = f"{place[0]}:{place[1]}"
        states = {data: claim.state for data, claim in spenders.items()}
        held = [claim for data, claim in spenders.items() if states[data] == HELD]
        twice = held_twice(spenders)
        if len(held) > 1 or twice:
            self.findings.complain("double spend", where, twice or shown(*held))
        for data, claim in spenders.items():
            for problem in claim.problems():
                self.findings.complain("wrong answer", f"{where}: {problem}", claim.calls)
            if states[data] == OPEN:
                self.findings.complain("unresolved", where, claim.calls)
            elif states[data] == HELD and data != spending_data:
                spender = spending_data[:32].hex() or "nobody"
                self.findings.complain(
                    "lost acknowledged write",
                    f"{where} is spent by {spender}",
                    shown(claim, spenders.get(spending_data)),
                )
            elif states[data] == FREE and data == spending_data:
                self.findings.complain("executed after a no", f"{where} is spent", claim.calls)
        if spending_data and spending_data != FROZEN:
            self.findings.counts["spent outputs"] += 1
            if spending_data not in spenders:
                self.findings.complain("wrong answer", f"{where} is spent by one that never asked for it")

    def _check_locked(self, lot: Lot, records: Sequence[Bins], told: Sequence[tuple[Answer, Invocation]]) -> None:
        done = [(answer, call) for answer, call in told if answer.executed != "no"]
        wanted = False
        if done:
            answer, call = done[-1]
            value = next(item[1] for item in call.items if item[0] == lot.number)
            wanted = bool(value)
            if answer.executed != "yes":
                self.findings.complain("unresolved", f"lot {lot.number}: whether it is locked", [call])
                return
        found = [bool(bins["locked"]) for bins in records]
        if any(one != wanted for one in found):
            calls = [call for _, call in told]
            self.findings.complain(
                "lost acknowledged write", f"lot {lot.number}: locked is {found}, not {wanted}", calls
            )

    def _check_counter(self, lot: Lot, records: Sequence[Bins]) -> None:
        """Whatever was lost: asking again has put it right."""
        master, children = records[0], records[1:]
        self.findings.counts["counters"] += bool(children)
        if not is_counted(records):
            counted = f"{master['spentExtraRecs']} of {master['totalExtraRecs']} children"
            what = f"lot {lot.number}: {counted}, where {count_spent(children)} are spent"
            self.findings.complain("counter wrong", what, self._calls_on(lot))
        elif lot.mined and not lot.lockable:
            self._check_height(lot, records)

    def _check_height(self, lot: Lot, records: Sequence[Bins]) -> None:
        """Of one in a block, and never locked: it is to be deleted when, and only when, all of it is spent."""
        complete, height = is_complete(records), records[0].get("deleteAtHeight")
        self.findings.counts["complete"] += complete
        if complete != (height is not None):
            what = f"lot {lot.number}: complete {complete}, deleted at height {height}"
            self.findings.complain("torn", what, self._calls_on(lot))
        if not has_heights(lot, records):
            what = f"lot {lot.number}: deleted at height {height}, its children at another"
            self.findings.complain("counter wrong", what, self._calls_on(lot))

    def _calls_on(self, lot: Lot) -> list[Invocation]:
        return shown(*(claim for vout in lot.outputs for claim in self._claims.get((lot.number, vout), {}).values()))


def _has_blob(store: Store, lot: Lot) -> bool:
    try:
        return all(store.blobs.output(lot.txid, vout) == output for vout, output in lot.outputs.items())
    except (OSError, ValueError):
        return False
