"""Rivals: the same transactions, and others that want the same outputs, through two daemons on one set; then all
answers are held against the set.

A transaction is asked for twice or thrice at the same moment, at two heights, with an input that is spendable only at
the higher one, or is there a moment later, or is locked and unlocked meanwhile; rivals ask for all of its inputs, or
for one; single spends of them are asked beside. Workers of both daemons are killed now and then, so that answers are
`unknown`; what an answer said may be held is given back at times, and asked for anew.

Held must be: what was acknowledged stands; rivals never both have an output; what a spender holds that was refused is
named in its refusal; counters and locks of child records agree with them.
"""

import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.report import Figure, Report
from store import Store, open_store
from tests.chaos.checker import Findings, Violation
from tests.chaos.history import read_scenarios
from tests.chaos.processes import start_process
from tests.rivals.checker import COUNTER, LOCKS, TORN, TWICE, UNDONE, UNNAMED, UNRESOLVED, WRONG, Checker
from tests.rivals.clients import ClientSettings
from tests.rivals.daemons import kill_one, set_url, two_daemons, wait_until_quiet
from tests.rivals.recount import recount
from tests.rivals.scenarios import UTXO_BATCH_SIZE, Scenarios
from tests.support.fresh_set import refuse_used
from utxod.own_daemon import DaemonError, OwnDaemon, last_lines

PROCESSES: Final = 2
AT_ONCE: Final = 12  # scenarios of a process
_LAST_SCENARIOS_SECONDS: Final = 120.0
_SHOWN: Final = 20

PROCESS: Final = "process"
PROMISES: Final = {
    UNDONE: "no acknowledged spend was undone",
    TWICE: "no output was acknowledged to two spenders",
    UNNAMED: "nothing stayed held that no answer names",
    WRONG: "every answer was right",
    UNRESOLVED: "each `unknown` was resolved by asking again",
    COUNTER: "counters of child records are right once asked again",
    LOCKS: "locks of child records agree with their master's",
    TORN: "all that is there is there whole",
    PROCESS: "daemons and callers did as they should",
}
_RATES: Final = ("attempts", "acknowledged")
_COUNTS: Final = (
    "scenarios", "plain spends", "plain spends acknowledged", "unknown", "held named",
    "refusals that name what is held", "taken back", "became unspent again", "spent outputs",
    "held at the end, as named", "counters", "counters off before they were asked again", "locks",
)  # fmt: skip


def rivals(minutes: float, seed: int | None = None, store: str | None = None, kills: float = 10.0) -> Report:
    """store: URL of an empty set in Aerospike; None for an embedded one. kills: SIGKILLs of workers a minute."""
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    directory = Path(tempfile.mkdtemp(prefix="utxod-rivals-"))
    try:
        report = _Run(directory, seed, minutes * 60, store, kills).report()
    except DaemonError as error:
        print(error, file=sys.stderr)
        report = Report("rivals", promises={PROMISES[PROCESS]: False}, details={"seed": seed})
    if report.ok:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"everything of this run is in {directory}", file=sys.stderr)
    return report


class _Run:
    def __init__(self, directory: Path, seed: int, seconds: float, store: str | None, kills: float) -> None:
        self._directory = directory
        self._seed = seed
        self._seconds = seconds
        self._kills = kills
        self._random = random.Random(f"{seed}:kills")
        self._scenarios = Scenarios(seed)
        self._done: Counter[str] = Counter()
        self._complaints: list[str] = []
        self._is_embedded = store is None
        self._store_url = set_url(directory, store, UTXO_BATCH_SIZE)

    def report(self) -> Report:
        if not self._is_embedded:
            refuse_used(self._store_url)
        with contextlib.ExitStack() as stack:
            daemons = stack.enter_context(two_daemons(self._store_url))
            started = time.monotonic()
            with self._callers(daemons, started + self._seconds) as callers:
                self._break(daemons, started + self._seconds)
                self._wait(callers, started + self._seconds + _LAST_SCENARIOS_SECONDS)
            took = time.monotonic() - started
            store = stack.enter_context(contextlib.closing(open_store(self._store_url)))
            wait_until_quiet(daemons)
            findings = self._checked(store, daemons)
        for complaint in self._complaints:
            findings.complain(PROCESS, complaint)
        return self._written(findings, started, took)

    @contextlib.contextmanager
    def _callers(self, daemons: Sequence[OwnDaemon], until: float) -> Iterator[list[subprocess.Popen[bytes]]]:
        endpoints = [daemon.endpoint for daemon in daemons]
        processes = []
        try:
            for slot in range(PROCESSES):
                settings = ClientSettings(
                    endpoints, self._store_url, str(self._history(slot)), slot, PROCESSES, AT_ONCE, self._seed, until
                )
                processes.append(
                    start_process("tests.rivals.clients", settings.__dict__, self._directory, "callers.log")
                )
            yield processes
        finally:
            for process in processes:
                process.kill()
                process.wait()

    def _history(self, slot: int) -> Path:
        return self._directory / f"callers-{slot}.jsonl"

    # ---- what is broken meanwhile

    def _break(self, daemons: Sequence[OwnDaemon], until: float) -> None:
        """Kills a worker of one daemon or the other, at random times; one at least."""
        while self._kills:
            wait = self._random.expovariate(self._kills / 60)
            if self._done["kills"] and time.monotonic() + wait > until:
                break
            time.sleep(wait)
            self._done["kills"] += kill_one(daemons, self._random)

    def _wait(self, callers: Sequence["subprocess.Popen[bytes]"], until: float) -> None:
        for process in callers:
            try:
                status = process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._complaints.append("callers did not end with their last scenarios")
                continue
            if status != 0:
                self._complaints.append(f"callers failed: {last_lines(self._directory / 'callers.log')}")

    # ---- afterwards

    def _checked(self, store: Store, daemons: Sequence[OwnDaemon]) -> Findings:
        checker = Checker(self._scenarios, store)
        for slot in range(PROCESSES):
            for number, invocations in read_scenarios(self._history(slot)):
                checker.check(number, invocations)
        findings = checker.findings
        findings.counts["counters off before they were asked again"] = len(checker.miscounted)
        nothing_was_lost = not self._done["kills"] and not findings.counts["unknown"]
        if nothing_was_lost:
            for off in checker.miscounted:
                findings.complain(COUNTER, f"scenario {off.scenario}, parent {off.parent}, where nothing was lost")
        for problem in recount(daemons[0].endpoint, self._scenarios, store, checker.miscounted):
            findings.complain(COUNTER, problem)
        return findings

    def _written(self, findings: Findings, started: float, took: float) -> Report:
        report, counts = Report("rivals"), findings.counts
        for name in _RATES:
            report.figures.append(Figure(f"{name} of whole transactions", [counts[name]], ""))
            report.figures.append(Figure(f"{name}, a second", [counts[name] / took], "/s"))
        for name in _COUNTS:
            report.figures.append(Figure(name, [counts[name]], ""))
        report.figures.append(Figure("SIGKILLs of workers", [self._done["kills"]], ""))
        violations = sum(counts[kind] for kind in PROMISES)
        report.figures.append(Figure("violations", [violations], "", 0, higher_is_better=False))
        for kind, promise in PROMISES.items():
            report.promise(promise, counts[kind] == 0)
        answers = {
            name.removeprefix("attempt "): n for name, n in sorted(counts.items()) if name.startswith("attempt ")
        }
        report.details = {"seed": self._seed, "attempts by answer": answers}
        if found := [_seen_after(violation, started) for violation in findings.violations]:
            report.details["first violation after, seconds"] = round(min(found), 2)
        for violation in findings.violations[:_SHOWN]:
            print(violation, file=sys.stderr)
        return report


def _seen_after(violation: Violation, started: float) -> float:
    """Seconds after which all was answered that shows it."""
    return (
        max((invocation.answered or invocation.asked for invocation in violation.invocations), default=started)
        - started
    )
