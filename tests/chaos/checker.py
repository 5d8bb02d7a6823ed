"""Holds the history of a chaos run against its store."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from store import Read, Status, Store
from store.layout import FROZEN, record_key
from tests.chaos.answers import AnswerChecker
from tests.chaos.claims import FREE, HELD, OPEN, Coin, claims_of, evidence_of, held_twice
from tests.chaos.counters import has_heights
from tests.chaos.history import Answer, Invocation, events
from tests.chaos.parents import UTXO_BATCH_SIZE, Parent, Parents
from tests.chaos.recount import Bins, count_spent, is_complete, is_counted, wrong_height

_HASH_BYTES: Final = 32
_READ_SECONDS: Final = 10.0
_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Violation:
    """kind: what promise broke. invocations: the lines of the history that show it."""

    kind: str
    what: str
    invocations: Sequence[Invocation] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.kind}: {self.what}", *(f"    {invocation}" for invocation in self.invocations)])


@dataclass(slots=True)
class Findings:
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    slowest_over_due: float = 0.0

    def complain(self, kind: str, what: str, invocations: Sequence[Invocation] = ()) -> None:
        self.violations.append(Violation(kind, what, invocations))
        self.counts[kind] += 1


class Checker:
    """invocations: all of the run, in the order in which they were asked, the resolver's among them. bound: seconds
    after its deadline by which an invocation is answered."""

    def __init__(self, parents: Parents, invocations: Sequence[Invocation], *, bound: float) -> None:
        self.findings = Findings()
        self._parents = parents
        self._invocations = invocations
        self._bound = bound
        self._claims = claims_of(invocations)

    def check(self, store: Store) -> Findings:
        self._check_times()
        AnswerChecker(self._parents, self._invocations, self.findings.complain).check()
        numbers = sorted({item[0] for invocation in self._invocations for item in invocation.items})
        for first in range(0, len(numbers), _AT_ONCE):
            self._check_parents([self._parents.parent(number) for number in numbers[first : first + _AT_ONCE]], store)
        return self.findings

    # ---- what needs no store

    def _check_times(self) -> None:
        findings = self.findings
        for invocation in self._invocations:
            findings.counts["calls"] += 1
            findings.counts.update(f"answer {answer.code}" for answer in invocation.answers)
            if not invocation.answered:
                continue
            over = invocation.answered - invocation.due
            findings.slowest_over_due = max(over, findings.slowest_over_due)
            if over > self._bound:
                findings.complain("late", f"answered {over:.3f} s after its deadline", [invocation])

    # ---- and what does

    def _check_parents(self, parents: Sequence[Parent], store: Store) -> None:
        keys = [
            (parent, index, record_key(parent.txid, index))
            for parent in parents
            for index in range(parent.children + 1)
        ]
        results = store.batch_operate([Read(key) for _, _, key in keys], _READ_SECONDS)
        records: dict[int, list[Bins | None]] = defaultdict(list)
        for (parent, _, _), result in zip(keys, results, strict=True):
            records[parent.number].append(result.value if result.status is Status.OK else None)
        by_parent = self._invocations_by_parent
        for parent in parents:
            self._check_parent(parent, records[parent.number], by_parent.get(parent.number, []), store)

    @property
    def _invocations_by_parent(self) -> Mapping[int, list[tuple[Answer, Invocation]]]:
        if not hasattr(self, "_by_parent"):
            self._by_parent: dict[int, list[tuple[Answer, Invocation]]] = defaultdict(list)
            for item, answer, invocation in events(self._invocations, ("create", "set_locked")):
                self._by_parent[item[0]].append((answer, invocation))
        return self._by_parent

    def _check_parent(
        self, parent: Parent, records: Sequence[Bins | None], told: Sequence[tuple[Answer, Invocation]], store: Store
    ) -> None:
        creations = [(answer, invocation) for answer, invocation in told if invocation.operation == "create"]
        evidence = [invocation for _, invocation in creations]
        if records[0] is None:
            if any(record is not None for record in records):
                self.findings.complain("torn", f"parent {parent.number}: child records without a master", evidence)
            if any(answer.code in ("OK", "TX_EXISTS") for answer, _ in creations):
                self.findings.complain("lost acknowledged write", f"parent {parent.number} is not there", evidence)
            if any(
                claim.state == HELD
                for vout in parent.outputs
                for claim in self._claims.get((parent.number, vout), {}).values()
            ):
                self.findings.complain(
                    "lost acknowledged write", f"parent {parent.number} is not there, and was spent", evidence
                )
            return
        self.findings.counts["parents"] += 1
        if all(answer.executed == "no" for answer, _ in creations):
            self.findings.complain("executed after a no", f"parent {parent.number} is there", evidence)
        whole = [record for record in records if record is not None]
        if len(whole) < len(records):
            self.findings.complain("torn", f"parent {parent.number}: {len(whole)} records of {len(records)}", evidence)
            return
        self._check_whole(parent, whole, evidence, store)
        self._check_locked(
            parent, whole, [(answer, invocation) for answer, invocation in told if invocation.operation == "set_locked"]
        )
        self._check_counter(parent, whole)

    def _check_whole(
        self, parent: Parent, records: Sequence[Bins], evidence: Sequence[Invocation], store: Store
    ) -> None:
        creation = parent.creation()
        for index, (bins, (_, expected)) in enumerate(zip(records, creation.records, strict=True)):
            where = f"parent {parent.number}, record {index}"
            utxos = bins["utxos"]
            if [utxo and utxo[:_HASH_BYTES] for utxo in utxos] != expected["utxos"]:
                self.findings.complain("torn", f"{where}: other outputs than were created", evidence)
                continue
            spent = sum(utxo is not None and len(utxo) > _HASH_BYTES for utxo in utxos)
            if (bins["recordUtxos"], bins["spentUtxos"]) != (expected["recordUtxos"], spent):
                counted = f"recordUtxos {bins['recordUtxos']}, spentUtxos {bins['spentUtxos']}"
                self.findings.complain("torn", f"{where}: {counted}, where {spent} are spent of {len(utxos)}", evidence)
            if bins.get("creating"):
                self.findings.complain("torn", f"{where}: is still being created", evidence)
            for offset, utxo in enumerate(utxos):
                if utxo is not None:
                    self._check_output((parent.number, index * UTXO_BATCH_SIZE + offset), utxo[_HASH_BYTES:])
        if creation.external and not _has_blob(store, parent):
            self.findings.complain("torn", f"parent {parent.number}: its blob is not there", evidence)

    def _check_output(self, coin: Coin, spending_data: bytes) -> None:
        """spending_data: as it is stored, empty where the output is unspent."""
        spenders = self._claims.get(coin, {})
        where = f"{coin[0]}:{coin[1]}"
        states = {data: claim.state for data, claim in spenders.items()}
        held = [claim for data, claim in spenders.items() if states[data] == HELD]
        twice = held_twice(spenders)
        if len(held) > 1 or twice:
            self.findings.complain("double spend", where, twice or evidence_of(*held))
        for data, claim in spenders.items():
            for problem in claim.problems():
                self.findings.complain("wrong answer", f"{where}: {problem}", claim.invocations)
            if states[data] == OPEN:
                self.findings.complain("unresolved", where, claim.invocations)
            elif states[data] == HELD and data != spending_data:
                spender = spending_data[:32].hex() or "nobody"
                self.findings.complain(
                    "lost acknowledged write",
                    f"{where} is spent by {spender}",
                    evidence_of(claim, spenders.get(spending_data)),
                )
            elif states[data] == FREE and data == spending_data:
                self.findings.complain("executed after a no", f"{where} is spent", claim.invocations)
        if spending_data and spending_data != FROZEN:
            self.findings.counts["spent outputs"] += 1
            if spending_data not in spenders:
                self.findings.complain("wrong answer", f"{where} is spent by one that never asked for it")

    def _check_locked(self, parent: Parent, records: Sequence[Bins], told: Sequence[tuple[Answer, Invocation]]) -> None:
        done = [(answer, invocation) for answer, invocation in told if answer.executed != "no"]
        wanted = False
        if done:
            answer, invocation = done[-1]
            value = next(item[1] for item in invocation.items if item[0] == parent.number)
            wanted = bool(value)
            if answer.executed != "yes":
                self.findings.complain("unresolved", f"parent {parent.number}: whether it is locked", [invocation])
                return
        found = [bool(bins["locked"]) for bins in records]
        if any(locked != wanted for locked in found):
            invocations = [invocation for _, invocation in told]
            self.findings.complain(
                "lost acknowledged write", f"parent {parent.number}: locked is {found}, not {wanted}", invocations
            )

    def _check_counter(self, parent: Parent, records: Sequence[Bins]) -> None:
        """Whatever was lost: asking again has put it right."""
        master, children = records[0], records[1:]
        self.findings.counts["counters"] += bool(children)
        if not is_counted(records):
            counted = f"{master['spentExtraRecs']} of {master['totalExtraRecs']} children"
            what = f"parent {parent.number}: {counted}, where {count_spent(children)} are spent"
            self.findings.complain("counter wrong", what, self._evidence_on(parent))
        elif parent.is_deletable:
            self._check_height(parent, records)

    def _check_height(self, parent: Parent, records: Sequence[Bins]) -> None:
        self.findings.counts["complete"] += is_complete(records)
        if problem := wrong_height(records):
            self.findings.complain("torn", f"parent {parent.number}: {problem}", self._evidence_on(parent))
        if not has_heights(parent, records):
            height = records[0].get("deleteAtHeight")
            what = f"parent {parent.number}: deleted at height {height}, its children at another"
            self.findings.complain("counter wrong", what, self._evidence_on(parent))

    def _evidence_on(self, parent: Parent) -> list[Invocation]:
        return evidence_of(
            *(claim for vout in parent.outputs for claim in self._claims.get((parent.number, vout), {}).values())
        )


def _has_blob(store: Store, parent: Parent) -> bool:
    try:
        return all(store.blobs.output(parent.txid, vout) == output for vout, output in parent.outputs.items())
    except (OSError, ValueError):
        return False
