"""Chaos: a real daemon, its clients in several processes, and a nemesis that breaks things; then the checker holds the
history of all answers against the store.

Each `unknown` is explained by its receipts, too, as `utxod explain` does it; and so that a wrong verdict is found, all
answers are held against the store a second time, with the verdicts in place of what was unknown.

The nemesis kills and stops workers, also inside a write transaction, wedges the store and lets it come back, injects
other faults of it, fills it up, kills and drains the daemon, kills clients. It makes the daemon's surroundings hard:
descriptors, processes, its log, its files, signals, crowds of peers, a second daemon (surroundings.py). Where
the store is a cluster of Aerospike servers that it was given, it stops and kills those too. Everything that it does
follows from the seed, but not the order in which processes run: a run can't be repeated exactly.
"""

import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from bench.report import Figure, Report
from protocol import Client, SetDah, SetLocked
from protocol.client.timeouts import DEFAULT_GRACE
from store import open_store
from tests.chaos.checker import Checker, Findings
from tests.chaos.counters import DAEMON_KILLED, IN_DOUBT, Counters
from tests.chaos.daemon import WORKERS, Daemon
from tests.chaos.explaining import Explanations
from tests.chaos.history import Invocation, read_history
from tests.chaos.nemesis import EMBEDDED_RATES, RATES, SERVER_RATES, Nemesis, plan
from tests.chaos.parents import Parents
from tests.chaos.processes import Clients
from tests.chaos.resolver import Resolver
from tests.chaos.servers import Nodes
from tests.support.fresh_set import refuse_used
from utxod.own_daemon import DaemonError

SLOTS: Final = 4
CALLERS: Final = 4
# What a caller's own process may take to notice an answer, on a machine that has more to run than it has processors.
TOLERANCE_SECONDS: Final = 0.25
_CLIENTS_END_SECONDS: Final = 60.0
_QUIET_SECONDS: Final = 60.0
_KNOCK_SECONDS: Final = 1.0
_NOBODY: Final = b"nobody has this transaction id.."
_DESCRIPTORS_MORE: Final = 8
_SHOWN: Final = 40
_TIMES_ASKED_AGAIN: Final = 2

ANSWERED: Final = "every call was answered"
IN_TIME: Final = "every call was answered by its deadline, the client's grace and 250 ms"
# What a violation is called, and the promise that it breaks.
_PROMISES: Final = {
    "late": IN_TIME,
    "unanswered": ANSWERED,
    "wrong answer": "every answer was right",
    "executed after a no": "nothing answered `executed: no` was executed",
    "double spend": "nothing was spent twice",
    "lost acknowledged write": "everything acknowledged is there",
    "torn": "all that is there is there whole",
    "unresolved": "each `unknown` was resolved by asking again",
    "contradicted": "no verdict of `utxod explain` on an `unknown` was contradicted by the store",
    "counter wrong": "counters of child records are right once asked again, and off before only where a note was lost",
    "left": "nothing was left of the faults",
    "process": "daemon and clients did as they should",
}
# What is told of the unknowns, as they are explained.
_VERDICTS: Final = {
    "yes": "unknowns explained: executed",
    "no": "unknowns explained: not executed",
    "unknown": "unknowns explained: not known",
}
_FIGURES: Final = ("unanswered", "wrong answer", "double spend", "lost acknowledged write", "counter wrong")
_GOALS: Final = {"kill": ("SIGKILLs of workers", 10.0), "stop": ("SIGSTOPs of workers", 2.0), "wedge": ("wedges", 0.5)}


def chaos(
    minutes: float,
    seed: int | None = None,
    one_by_one: bool = False,
    store: str | None = None,
    server: Sequence[str] = (),
) -> Report:
    """minutes: how long things are broken. seed: None takes a new one, which the report names. one_by_one: the store
    passes for one that writes record by record, so that what has several is created under a lock. store: URL of an
    empty set in Aerospike. server: the commands that start the store's servers."""
    if server and not store:
        raise click.UsageError("--server goes with --store, the URL of the set that they keep.")
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    directory = Path(tempfile.mkdtemp(prefix="utxod-chaos-"))
    run = _Run(directory, seed, minutes, Daemon(directory, store=store, atomic=not one_by_one and not store), server)
    try:
        report = run.report()
    except DaemonError as error:
        print(error, file=sys.stderr)
        report = Report("chaos", promises={_PROMISES["process"]: False}, details={"seed": seed})
    finally:
        run.destroy()
    if report.ok:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"everything of this run is in {directory}", file=sys.stderr)
    return report


class _Run:
    def __init__(self, directory: Path, seed: int, minutes: float, daemon: Daemon, servers: Sequence[str]) -> None:
        self._directory = directory
        self._seed = seed
        self._minutes = minutes
        self._parents = Parents(seed)
        self._daemon = daemon
        self._nodes = Nodes(directory, servers, daemon.store_url)
        self._clients: Clients | None = None

    def report(self) -> Report:
        daemon = self._daemon
        if len(self._nodes):
            self._nodes.start()
        if not daemon.is_embedded:
            refuse_used(daemon.store_url)
        daemon.start()
        seconds = self._minutes * 60
        self._clients = clients = Clients(self._directory, daemon.endpoint, self._seed, SLOTS, CALLERS, seconds)
        nemesis = Nemesis(self._seed, daemon, clients, self._nodes)
        rates = RATES | (EMBEDDED_RATES if daemon.is_embedded else {}) | (SERVER_RATES if len(self._nodes) else {})
        with _progress(clients, nemesis) as progress:
            nemesis.run(plan(self._seed, seconds, rates), progress)
        complaints = [("process", text) for text in clients.wait(_CLIENTS_END_SECONDS)]
        invocations = self._history()
        complaints += [("unanswered", str(invocation)) for invocation in _unanswered(invocations, clients)]
        resolved = self._resolve(invocations)
        counters = Counters(self._parents, [*invocations, *resolved], nemesis.killed_daemon, daemon.in_doubt_log)
        self._put_counters_right(counters)
        complaints += [("counter wrong", text) for text in counters.problems]
        complaints += self._leave()
        complaints += [("process", text) for text in daemon.complaints]
        checker = Checker(self._parents, [*invocations, *resolved], bound=DEFAULT_GRACE + TOLERANCE_SECONDS)
        checker.findings.counts.update(counters.counts)
        for kind, text in complaints:
            checker.findings.complain(kind, text)
        explanations = Explanations(daemon.directory / "state", self._parents, [*invocations, *resolved])
        explained = explanations.explained([*invocations, *resolved])
        with contextlib.closing(open_store(daemon.store_url)) as store:
            findings = checker.check(store)
            found = {(violation.kind, violation.what) for violation in findings.violations}
            told = Checker(self._parents, explained, bound=float("inf")).check(store)
            for violation in told.violations:
                if (violation.kind, violation.what) not in found:
                    findings.complain("contradicted", f"{violation.kind}: {violation.what}", violation.invocations)
        return self._written(findings, nemesis, clients, explanations)

    def destroy(self) -> None:
        if self._clients is not None:
            self._clients.destroy()
        if self._daemon.starts:
            self._daemon.destroy()
        self._nodes.destroy()

    def _history(self) -> list[Invocation]:
        invocations = [
            invocation for path in sorted(self._directory.glob("client-*.jsonl")) for invocation in read_history(path)
        ]
        return sorted(invocations, key=lambda invocation: invocation.asked)

    def _resolve(self, invocations: list[Invocation]) -> list[Invocation]:
        self._wait_until_quiet()
        resolver = Resolver(self._daemon.endpoint, self._parents, self._directory / "resolver.jsonl")
        return resolver.resolve(invocations)

    def _wait_until_quiet(self) -> None:
        """Raises DaemonError. A breaker closes when somebody asks, and not before."""
        until = time.monotonic() + _QUIET_SECONDS
        while True:
            with Client(self._daemon.endpoint, timeout=1.0) as client:
                client.get_many([_NOBODY])
                client.set_locked_many([SetLocked(_NOBODY, False)])
                client.set_dah_many([SetDah(_NOBODY, 0, 0)])
            try:
                self._daemon.wait_for(_is_quiet, _KNOCK_SECONDS)
                return
            except DaemonError:
                if time.monotonic() > until:
                    raise

    def _put_counters_right(self, counters: Counters) -> None:
        """By asking again: first the spends; then, where children's heights are still off, for a count."""
        self._wait_until_quiet()
        with contextlib.closing(open_store(self._daemon.store_url)) as store:
            off = counters.find(store)
            counters.judge(off)
            for _ in range(_TIMES_ASKED_AGAIN):
                counters.ask_again(self._daemon.endpoint, off)
                self._wait_until_quiet()
                off = counters.find(store)

    def _leave(self) -> list[tuple[str, str]]:
        """Ends the daemon; what was left that must not be."""
        left = []
        daemon = self._daemon
        # Workers may still be replaced, one after the other.
        daemon.wait_for(lambda report: _is_quiet(report) and self._is_known(report), _QUIET_SECONDS)
        if daemon.descriptors_gained > _DESCRIPTORS_MORE:
            left.append(f"the daemon has {daemon.descriptors_gained} descriptors more than at its start")
        daemon.drain()
        left += [f"process {pid} is left" for pid in daemon.processes_left()]
        left += [f"{path} is left" for path in daemon.files()]
        return [("left", text) for text in left]

    def _is_known(self, report: dict[str, Any]) -> bool:
        """Whether the daemon has the workers that its broker knows, and no others."""
        return all(len(self._daemon.workers(pool)) == report["pools"][pool]["workers"] for pool in WORKERS)

    def _written(self, findings: Findings, nemesis: Nemesis, clients: Clients, explanations: Explanations) -> Report:
        report = Report("chaos")
        counts, done = findings.counts, nemesis.done
        for name, (text, per_minute) in _GOALS.items():
            report.figures.append(Figure(text, [done[name]], "", int(per_minute * self._minutes)))
        for kind in _FIGURES:
            report.figures.append(Figure(kind, [counts[kind]], "", 0, higher_is_better=False))
        over = findings.slowest_over_due * 1000
        bound = (DEFAULT_GRACE + TOLERANCE_SECONDS) * 1000
        report.figures.append(Figure("slowest answer, over its deadline", [over], "ms", bound, higher_is_better=False))
        for name in ("calls", "parents", "spent outputs", "complete", "counters", IN_DOUBT, DAEMON_KILLED):
            report.figures.append(Figure(name, [counts[name]], ""))
        report.figures.append(Figure("starts of the daemon", [self._daemon.starts], ""))
        for executed, text in _VERDICTS.items():
            report.figures.append(Figure(text, [explanations.counts[executed]], ""))
        for kind, promise in _PROMISES.items():
            report.promise(promise, counts[kind] == 0)
        report.details = {
            "seed": self._seed,
            "answers": {name.removeprefix("answer "): n for name, n in sorted(counts.items()) if name[:6] == "answer"},
            "broken": dict(sorted(done.items())),
        }
        for violation in findings.violations[:_SHOWN]:
            print(violation, file=sys.stderr)
        if len(findings.violations) > _SHOWN:
            print(f"... and {len(findings.violations) - _SHOWN} more", file=sys.stderr)
        diary = self._directory / "diary.txt"
        diary.write_text("".join(f"{when:.3f} {what}\n" for when, what in nemesis.diary))
        return report


def _is_quiet(report: dict[str, Any]) -> bool:
    pools = report["pools"]
    return (
        report["pending"] == report["owed"] == 0
        and all(pool["breaker"] == "closed" and pool["in_flight"] == 0 for pool in pools.values())
        and all(pools[name]["workers"] >= 1 for name in WORKERS)
    )


def _unanswered(invocations: list[Invocation], clients: Clients) -> list[Invocation]:
    """Those of clients that were not killed."""
    return [
        invocation for invocation in invocations if not invocation.answered and invocation.client not in clients.killed
    ]


@contextlib.contextmanager
def _progress(clients: Clients, nemesis: Nemesis) -> Iterator[Callable[[], None]]:
    """A line on a terminal, renewed once a second."""
    rendered = 0.0

    def render() -> None:
        nonlocal rendered
        now = time.monotonic()
        if now - rendered >= 1.0:
            rendered = now
            last = nemesis.diary[-1][1] if nemesis.diary else ""
            kills, left = nemesis.done["kill"], clients.until - now
            print(
                f"\r{left:5.0f} s left, {kills} workers killed; {last:.60}\x1b[K", end="", file=sys.stderr, flush=True
            )

    if not sys.stderr.isatty():
        yield lambda: None
        return
    try:
        yield render
    finally:
        print("\r\x1b[K", end="", file=sys.stderr)
