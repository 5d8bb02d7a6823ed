"""The incident: thousands of concurrent calls on a store that wedges, and what is left of them when it is back.

Twice in one run, the second time in full: memory is compared with that after the first, when whatever is allocated
once has been.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from protocol import AsyncClient, UtxodError
from protocol.codes import NO_ANSWER, OK, UNAVAILABLE
from utxod.own_daemon import OwnDaemon

from .faults import Faults, faulty_daemon
from .footprint import Footprint, footprint
from .load import batched, expect_ok
from .report import Figure, Report
from .waiters import (
    ASK,
    PATIENT,
    START_SECONDS,
    TIMEOUTS,
    Answer,
    by_code,
    is_settled,
    may_be_done,
    prepared,
    processes,
    start_all,
    txid_of,
    was_done_before,
)

OVER_GOAL_MS: Final = 250.0
MEMORY_GOAL: Final = 1.10

_WORKERS: Final = 2  # of each pool
_BUDGET, _GRACE, _PROBE = 2.0, 0.5, 0.5
_LIMIT: Final = _BUDGET + _GRACE
_SETTINGS: Final = {
    "workers.read": _WORKERS,
    "workers.write": _WORKERS,
    "workers.children": _WORKERS,
    "broker.budget_seconds": _BUDGET,
    "broker.grace_seconds": _GRACE,
    "broker.probe_seconds": _PROBE,
}
_SMALLER: Final = 3  # the first incident has so many times fewer waiters: its batches are as large
_ASKING_SECONDS: Final = 0.1  # between two questions of those who ask on
_MANY: Final = 500  # what a worker creates well within the budget
_WEDGED_SECONDS: Final = 12.0  # at least, so that probes are lost too
_TRIES: Final = 5
_RECOVERY_SECONDS: Final = 30.0
_PROBED_BY: Final = {"read": "outpoint", "write": "create", "children": "set_dah"}

ANSWERED: Final = "every call was answered"
NEVER_WRONG: Final = "`executed: no` was never wrong: asked again, none had been done before"
SETTLED: Final = "asked again, everything was done in the end"
DUMPED: Final = "every wedged worker left its stack in the log, was killed and was replaced"
NO_STORM: Final = "while the store was wedged workers were started no faster than one probe after the other"
ONE_PROBE: Final = "while a breaker was open one probe at a time was under way"
REFUSED: Final = "every pool's breaker opened, refused the rest at once, and closed by itself"
AS_BEFORE: Final = "afterwards nothing pending, and the processes, threads and descriptors of before"
MEMORY: Final = "afterwards memory within 10% of that after the smaller incident"


def incident(waiters: int) -> Report:
    """waiters: concurrent calls."""
    report = Report("incident")
    with faulty_daemon(_SETTINGS, "&utxo_batch_size=1") as (daemon, faults):
        asyncio.run(_run(report, daemon, faults, waiters))
    return report


@dataclass(slots=True)
class _Watch:
    """What is seen, from beside, while an incident lasts. refusals: seconds that an UNAVAILABLE took. opened: when a
    pool's breaker was first seen open. probes_at_once: busy workers of a pool whose breaker was open."""

    peak: Footprint | None = None
    codes: dict[str, Counter[str]] = field(default_factory=lambda: {pool: Counter() for pool in _PROBED_BY})
    refusals: list[float] = field(default_factory=list)
    opened: dict[str, float] = field(default_factory=dict)
    probes_at_once: int = 0


async def _run(report: Report, daemon: OwnDaemon, faults: Faults, waiters: int) -> None:
    rows: dict[str, Any] = {}
    async with AsyncClient(daemon.endpoint, timeout=_RECOVERY_SECONDS) as client:
        with processes() as pool:
            smaller = max(len(ASK) * 3, waiters // _SMALLER)
            for number, (name, count) in enumerate((("smaller", smaller), ("full", waiters))):
                for creations in batched(prepared(number, count), _MANY):
                    expect_ok(await client.create_many(creations))
                if not number:
                    rows["before"] = await _settled(client, daemon.pid, None)
                incident = _Incident(report, daemon, faults, client, pool, number, count)
                answers = await incident.run()
                rows[f"{name}, during"] = incident.watch.peak
                rows[f"{name}, after"] = await _settled(client, daemon.pid, rows["before"])
                await incident.check_again(answers)
                rows[f"{name}, asked again"] = await _settled(client, daemon.pid, rows["before"])
        before, first, last = rows["before"], rows["smaller, after"], rows["full, after"]
        report.promise(AS_BEFORE, last.counts == rows["full, asked again"].counts == before.counts)
        report.promise(MEMORY, last.memory_bytes <= first.memory_bytes * MEMORY_GOAL)
    memory = last.memory_bytes / first.memory_bytes
    over = [max(0.0, answer.over) * 1000 for answer in answers]
    report.figures += [
        Figure("slowest answer, beyond its deadline", [max(over)], "ms", OVER_GOAL_MS, higher_is_better=False),
        Figure("UNAVAILABLE of an open breaker", [seconds * 1000 for seconds in incident.watch.refusals], "ms"),
        Figure("from the store's recovery to serving again", [incident.recovery_seconds], "s"),
        Figure("workers started while it was wedged", [incident.starts], ""),
        Figure("memory afterwards, against the smaller incident's", [memory], "times", MEMORY_GOAL, False),
    ]
    report.details["answers"] = by_code(answers)
    report.details["askers"] = {pool: dict(codes) for pool, codes in incident.watch.codes.items()}
    report.details["daemon"] = {name: asdict(row) for name, row in rows.items()}


class _Incident:
    """starts: workers started while the store was wedged. recovery_seconds: from then until every pool served."""

    def __init__(
        self,
        report: Report,
        daemon: OwnDaemon,
        faults: Faults,
        client: AsyncClient,
        pool: ProcessPoolExecutor,
        number: int,
        waiters: int,
    ) -> None:
        self._report = report
        self._daemon = daemon
        self._faults = faults
        self._client = client
        self._pool = pool
        self._number = number
        self._waiters = waiters
        self._asked = 0
        self.watch = _Watch()
        self.starts = 0
        self.recovery_seconds = 0.0

    async def run(self) -> list[Answer]:
        log = self._daemon.directory / "daemon.log"
        before = _log_counts(log)
        wedged = time.monotonic()
        with self._faults.hang():
            waiting = self._start_all(range(self._waiters), TIMEOUTS)
            # Until all wait, so that it is they who find the store wedged.
            await asyncio.sleep(START_SECONDS + _BUDGET / 2)
            tasks = [self._watch(), *(self._ask_on(pool) for pool in _PROBED_BY)]
            watching = [asyncio.create_task(task) for task in tasks]
            answers = [answer for part in await waiting for answer in part]
            await asyncio.sleep(wedged + _WEDGED_SECONDS - time.monotonic())
            during = _log_counts(log) - before
            wedged_seconds = time.monotonic() - wedged
        cleared = time.monotonic()
        await self._recovered()
        self.recovery_seconds = time.monotonic() - cleared
        for task in watching:
            task.cancel()
        self.starts = during["started"]
        self._check_answers(answers)
        self._check_workers(during, _log_counts(log) - before, wedged_seconds)
        return answers

    def _start_all(self, numbers: Sequence[int], timeouts: tuple[float, ...]) -> asyncio.Future[list[list[Answer]]]:
        return start_all(self._pool, self._daemon.endpoint, self._number, numbers, timeouts)

    def _check_answers(self, answers: list[Answer]) -> None:
        answered = len(answers) == self._waiters and all(answer.code != NO_ANSWER for answer in answers)
        self._report.promise(ANSWERED, answered)

    def _check_workers(self, during: Counter[str], until_now: Counter[str], seconds: float) -> None:
        watch, report = self.watch, self._report
        # Per pool: those that were wedged first, and one for each probe that was lost.
        bound = len(_PROBED_BY) * (_WORKERS + 1 + seconds / (_LIMIT + _PROBE))
        report.promise(NO_STORM, during["started"] <= bound)
        stacks, gone = until_now["stacks"], until_now["gone"]
        report.promise(DUMPED, until_now["terminated"] == gone == until_now["started"] and stacks >= gone > 0)
        report.promise(ONE_PROBE, watch.probes_at_once == 1)
        refused = all(codes[UNAVAILABLE] for codes in watch.codes.values())
        report.promise(REFUSED, refused and watch.opened.keys() == _PROBED_BY.keys())

    async def check_again(self, answers: list[Answer]) -> None:
        """The same questions, now that the store is back: what was `no` is done now, and not before."""
        maybe = {answer.number: may_be_done(answer) for answer in answers}
        unsettled: Sequence[int] = range(self._waiters)
        for _ in range(_TRIES):  # a busy machine may be slow enough for faults of its own
            again = [answer for part in await self._start_all(unsettled, PATIENT) for answer in part]
            right = all(maybe[answer.number] or not was_done_before(answer) for answer in again)
            self._report.promise(NEVER_WRONG, right)
            self._report.promise(ANSWERED, all(answer.code != NO_ANSWER for answer in again))
            unsettled = [answer.number for answer in again if not is_settled(answer)]
            if not unsettled:
                break
            maybe |= {answer.number: maybe[answer.number] or may_be_done(answer) for answer in again}
        self._report.promise(SETTLED, not unsettled)

    # ---- those who look on, and who ask on

    async def _watch(self) -> None:
        watch = self.watch
        while True:
            status = await self._client.status()
            held = footprint(self._daemon.pid, status["pending"])
            if watch.peak is None or held.pending > watch.peak.pending:
                watch.peak = held
            now = time.monotonic()
            for name, pool in status["pools"].items():
                # Until then there may be others that were handed out before the breaker opened.
                if pool["breaker"] == "open" and now > watch.opened.setdefault(name, now) + _LIMIT + _PROBE:
                    watch.probes_at_once = max(watch.probes_at_once, pool["workers"] - pool["idle"])
            await asyncio.sleep(_ASKING_SECONDS)

    async def _ask_on(self, pool: str) -> None:
        while True:
            asked = time.monotonic()
            code = await self._probe(pool)
            self.watch.codes[pool][code] += 1
            if code == UNAVAILABLE:
                self.watch.refusals.append(time.monotonic() - asked)
            await asyncio.sleep(_ASKING_SECONDS)

    async def _probe(self, pool: str) -> str:
        """Asks the pool one thing; the code of the answer."""
        self._asked += 1
        txid = txid_of(90 + self._number, self._asked) if pool == "write" else txid_of(self._number, 0)
        try:
            await ASK[_PROBED_BY[pool]](self._client, txid, 1.0)
        except UtxodError as error:
            return error.code
        return OK

    async def _recovered(self) -> None:
        """Every pool serves."""
        async with asyncio.timeout(_RECOVERY_SECONDS):
            for pool in _PROBED_BY:
                while await self._probe(pool) != OK:
                    await asyncio.sleep(_ASKING_SECONDS / 10)


async def _settled(client: AsyncClient, pid: int, wanted: Footprint | None) -> Footprint:
    """The footprint once it is the wanted one again, but for the memory; or what it is after a while."""
    found = footprint(pid, -1)
    with suppress(TimeoutError):
        async with asyncio.timeout(_RECOVERY_SECONDS):
            while True:
                status = await client.status()
                found = footprint(pid, status["pending"])
                if _is_well(status) and (found.pending == 0 if wanted is None else found.counts == wanted.counts):
                    break
                await asyncio.sleep(_ASKING_SECONDS)
    return found


def _is_well(status: dict[str, Any]) -> bool:
    return all(
        pool["workers"] == pool["idle"] == _WORKERS and pool["breaker"] == "closed" for pool in status["pools"].values()
    )


def _log_counts(log: Path) -> Counter[str]:
    text = log.read_text(errors="replace")
    return Counter(
        started=text.count("INFO started "),
        terminated=text.count("it dumps its stacks and is ended"),
        gone=text.count(" is gone: it "),
        stacks=text.count("batch_operate"),  # several may write at once: lines are not whole
    )
