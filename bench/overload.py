"""Three times the load that the daemon can carry: how much is done, how soon the rest is refused, and whether one that
floods takes the place of one that asks now and then.

Once with a store that is slow, so that the capacity is the store's; once with the embedded store as it is, where the
submitters that ask for too much take the processors' time as well.
"""

import asyncio
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import accumulate
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

from protocol import AsyncClient, CreateItem, Outcome
from protocol.codes import NO, NO_ANSWER, OK, OVERLOADED, TX_NOT_FOUND
from utxod.own_daemon import OwnDaemon

from .faults import Faults, faulty_daemon
from .load import batched
from .report import Figure, Report
from .submitters import START_SECONDS, Load, Sent, start, txids_of

GOODPUT_GOAL: Final = 0.9
REFUSAL_GOAL_MS: Final = 50.0
RETRY_GOAL: Final = 2.0
OFFERED: Final = 3.0

ANSWERED: Final = "every item that left its submitter was answered"
NEVER_EXECUTED: Final = "nothing that was refused or that expired was executed, and all that was acknowledged was"
ROOM: Final = "there was always room for the one that asks now and then"


class Case(NamedTuple):
    """batch_seconds: what the store takes longer for each batch. items: of a request, and of a batch at most.
    queue: items that may wait."""

    name: str
    batch_seconds: float
    items: int
    queue: int

    @property
    def settings(self) -> dict[str, int]:
        # Whole requests are whole batches: calls that a client puts together would make larger ones of them.
        return {
            "broker.max_items": self.items,
            "broker.batch_limit": self.items,
            "broker.queue_items": self.queue,
        }


CASES: Final = (Case("slow store", 0.005, 20, 1000), Case("embedded store", 0.0, 200, 10_000))

_SUBMITTERS: Final = 4
_PATIENT, _SHORT = 10.0, 0.2
# A fifth expires before its turn.
_TIMEOUTS: Final = (_PATIENT,) * 4 + (_SHORT,)
_ASK_SECONDS: Final = 0.05  # between two questions of the one that asks now and then
_FILLING_SECONDS: Final = 1.0  # in which the queue fills; goodput is counted from then
_CHECK: Final = 200  # items that the pool that reads has room for


def overload(rounds: int, seconds: float) -> Report:
    """rounds: of each measurement. seconds: of each round; the queue fills in the first of them."""
    report = Report("overload")
    for case in CASES:
        with faulty_daemon(case.settings) as (daemon, faults):
            asyncio.run(_run(report, case, daemon, faults, rounds, _FILLING_SECONDS + seconds))
    return report


async def _run(report: Report, case: Case, daemon: OwnDaemon, faults: Faults, rounds: int, seconds: float) -> None:
    measured: list[_Round] = []
    with ProcessPoolExecutor(_SUBMITTERS, get_context("spawn")) as pool:
        async with AsyncClient(daemon.endpoint, timeout=_PATIENT) as client:
            for number in range(rounds):
                round_ = _Round(report, case, daemon, faults, client, pool, number * 100, seconds)
                await round_.run()
                measured.append(round_)
    hints = [[hint for hint, _ in round_.hints] for round_ in measured]
    drained = [[real for _, real in round_.hints] for round_ in measured]
    figures = [
        Figure("capacity", [round_.capacity for round_ in measured], "items/s"),
        Figure("goodput at three times that", [round_.goodput for round_ in measured], "items/s"),
        Figure("goodput, of capacity", [round_.goodput / round_.capacity for round_ in measured], "", GOODPUT_GOAL),
        Figure(
            "OVERLOADED, p99", _percentiles(99, [round_.refused for round_ in measured]), "ms", REFUSAL_GOAL_MS, False
        ),
        Figure("retry-after, median", _percentiles(50, hints), "ms"),
        Figure("the queue had drained in, median", _percentiles(50, drained), "ms"),
        Figure("retry-after, off by a factor of", [round_.hint_factor for round_ in measured], "", RETRY_GOAL, False),
    ]
    for name, asked in (
        ("alone", [round_.alone for round_ in measured]),
        ("beside a flood", [round_.beside_flood for round_ in measured]),
    ):
        figures += [
            Figure(f"asking now and then, {name}, p{percent}", _percentiles(percent, asked), "ms")
            for percent in (50, 99)
        ]
    report.figures += [replace(figure, name=f"{case.name}: {figure.name}") for figure in figures]
    report.details[case.name] = dict(sum((round_.codes for round_ in measured), Counter()))


class _Round:
    """hints: (what retry-after said, how long it really was) of every refusal, seconds."""

    def __init__(
        self,
        report: Report,
        case: Case,
        daemon: OwnDaemon,
        faults: Faults,
        client: AsyncClient,
        pool: ProcessPoolExecutor,
        first_name: int,
        seconds: float,
    ) -> None:
        self._report = report
        self._case = case
        self._daemon = daemon
        self._faults = faults
        self._client = client
        self._pool = pool
        self._name = first_name
        self._seconds = seconds
        self.codes: Counter[str] = Counter()

    async def run(self) -> None:
        if self._case.batch_seconds:
            self._faults.set(kind="delay", seconds=self._case.batch_seconds, times=None)
        sent = await self._submit(_SUBMITTERS, 0.0, (_PATIENT,))
        # Its callers wait for their answers: they keep it busy until the last one.
        self.capacity = self._rate(sent, max(request.answered for request in sent))
        offered = self.capacity * OFFERED

        overloaded = await self._submit(_SUBMITTERS, offered / _SUBMITTERS, _TIMEOUTS)
        self.goodput = self._rate(overloaded, min(request.asked for request in overloaded) + self._seconds)
        self.refused = [request.answered - request.asked for request in overloaded if request.code == OVERLOADED]
        self.hints = _hints(overloaded)
        self.hint_factor = _percentile([max(hint / real, real / hint) for hint, real in self.hints], 50)
        for request in overloaded:
            self.codes[f"{request.code} {request.executed}".strip()] += request.items

        self.alone = await self._ask_now_and_then()
        asking = asyncio.create_task(self._ask_now_and_then(START_SECONDS + _FILLING_SECONDS))
        flood = await self._submit(1, offered, (_PATIENT,))
        self.beside_flood = await asking
        self._faults.clear()
        await self._check(sent + overloaded + flood)

    async def _submit(self, submitters: int, rate: float, timeouts: tuple[float, ...]) -> list[Sent]:
        loads = []
        for _ in range(submitters):
            self._name += 1
            loads.append(Load(self._name, self._case.items, rate, self._seconds, timeouts))
        return [sent for part in await start(self._pool, self._daemon.endpoint, loads) for sent in part]

    def _rate(self, sent: list[Sent], until: float) -> float:
        """Items done per second, once the queue is full and while it is kept so. until: monotonic."""
        since = min(request.asked for request in sent) + _FILLING_SECONDS
        items = sum(request.items for request in sent if request.code == OK and since <= request.answered <= until)
        return items / (until - since)

    async def _ask_now_and_then(self, wait: float = 0.0) -> list[float]:
        """How long each of its questions took; seconds."""
        self._name += 1
        await asyncio.sleep(wait)
        taken: list[float] = []
        until = time.monotonic() + self._seconds - _FILLING_SECONDS
        async with AsyncClient(self._daemon.endpoint, timeout=_PATIENT) as client:
            await client.status()
            while time.monotonic() < until:
                asked = time.monotonic()
                (txid,) = txids_of(self._name, len(taken), 1)
                (outcome,) = await client.create_many([CreateItem.partial(txid, {0: (1, b"\x51")}, block_height=1)])
                taken.append(time.monotonic() - asked)
                self._report.promise(ROOM, outcome.ok)
                await asyncio.sleep(_ASK_SECONDS)
        return taken

    async def _check(self, sent: list[Sent]) -> None:
        """Against the store: what was said of each item."""
        # A submitter that floods, on a machine that is busy, may not get to send all that it asks within 0.2 s.
        left = [request for request in sent if request.executed != NO]
        self._report.promise(ANSWERED, all(NO_ANSWER not in request.code for request in left))
        done = [request for request in sent if request.code == OK]
        not_done = [request for request in sent if request.executed == NO]
        for wanted, these in ((OK, done), (TX_NOT_FOUND, not_done)):
            txids = [txid for request in these for txid in txids_of(request.load, request.number, request.items)]
            for some in batched(txids, _CHECK):
                outcomes: list[Outcome[Any]] = await self._client.get_many(some, ["txID"], timeout=60)
                self._report.promise(NEVER_EXECUTED, all(outcome.code == wanted for outcome in outcomes))


def _hints(sent: list[Sent]) -> list[tuple[float, float]]:
    """Of each refusal: what it was told, and when the last that had been taken before it was done; seconds."""
    taken = sorted((request.asked, request.answered) for request in sent if request.code == OK)
    asked = [moment for moment, _ in taken]
    done = list(accumulate((moment for _, moment in taken), max))
    found = []
    for request in sent:
        before = bisect_right(asked, request.asked)
        if request.code == OVERLOADED and before and request.retry_after and done[before - 1] > request.answered:
            found.append((request.retry_after, done[before - 1] - request.answered))
    return found


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[len(values) * percent // 100] if values else float("nan")


def _percentiles(percent: int, rounds: Sequence[Sequence[float]]) -> list[float]:
    """Of each round's seconds, as milliseconds."""
    return [_percentile(seconds, percent) * 1000 for seconds in rounds]
