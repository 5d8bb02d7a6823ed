"""utxod with the null store beside its peers: the same callers, all of them threads, ask each in turn."""

import contextlib
import importlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from protocol import Client
from utxod.import_guard import ROOT
from utxod.own_daemon import last_lines, own_daemon

from ..limits.pool import pool
from ..load import MANY, PATIENT_SECONDS, REQUESTS_IN_FLIGHT, SINGLE_CALLERS, ask_from_threads
from ..processes import started
from ..report import RIGHT, Figure, MeasurementError, Report, Round
from .redis_server import redis_server
from .work import ANSWER_SECONDS, PROCESSES, RECORD, REDIS, answers

UTXOD: Final = "utxod, null store"
POOL: Final = f"multiprocessing.Pool({PROCESSES})"
# By name: the module that its workers load.
REDIS_PEERS: Final = {
    "Celery over Redis": "bench.peers.celery_tasks",
    "Dramatiq over Redis": "bench.peers.dramatiq_tasks",
}
SINGLES: Final = f"{SINGLE_CALLERS} threads of one"
BATCHES: Final = f"{REQUESTS_IN_FLIGHT} threads of {MANY}"
ONE_IN_FLIGHT: Final = "one in flight, p50"
_FIELDS: Final = tuple(RECORD)
_TXIDS: Final = [number.to_bytes(32, "little") for number in range(1024)]
_REQUESTS: Final = [_TXIDS[start : start + MANY] for start in range(0, len(_TXIDS) - MANY, MANY)]

Ask = Callable[[Sequence[bytes]], Any]


def peers(rounds: int, seconds: float) -> Report:
    """rounds, seconds: of each measurement of each peer. Raises MeasurementError where a peer is not installed."""
    if missing := _not_installed():
        raise MeasurementError(
            f"{', '.join(missing)}: not installed. The extra `peers` has it: .venv/bin/pip install -e '.[peers]'"
        )
    report = Report("peers")
    with contextlib.ExitStack() as stack:
        asked = {UTXOD: stack.enter_context(_utxod())} | others(stack)
        measured = [
            {what: value for name, ask in asked.items() for what, value in _round(report, name, ask, seconds).items()}
            for _ in range(rounds)
        ]
    for what, unit, higher_is_better in (
        (SINGLES, "items/s", True),
        (BATCHES, "items/s", True),
        (ONE_IN_FLIGHT, "ms", False),
    ):
        limits = {f"{UTXOD}, {what}": {f"{name}, {what}": None for name in asked if name != UTXOD}}
        report.add(measured, unit, limits, higher_is_better=higher_is_better)
    report.details["where utxod loses"] = "; ".join(_losses(report.figures)) or "nowhere"
    return report


def others(stack: contextlib.ExitStack) -> dict[str, Ask]:
    """Those that are installed, ready until the stack ends, by name. Raises MeasurementError."""
    asked = {POOL: stack.enter_context(_pool())}
    if _not_installed():
        return asked
    socket = stack.enter_context(redis_server())
    return asked | {
        name: stack.enter_context(_over_redis(name, module, socket)) for name, module in REDIS_PEERS.items()
    }


def _not_installed() -> list[str]:
    return [package for package in ("celery", "dramatiq", "redis") if find_spec(package) is None]


def _losses(figures: Sequence[Figure]) -> Iterator[str]:
    for figure in figures:
        for ratio in figure.ratios:
            if (ratio.value < 1) == figure.higher_is_better:
                yield f"to {ratio.name}"


def _round(report: Report, name: str, ask: Ask, seconds: float) -> Round:
    singles, wrong = ask_from_threads(lambda txid: ask([txid]) == [RECORD], _TXIDS, seconds)
    batches, wrong_batches = ask_from_threads(
        lambda txids: ask(txids) == [RECORD] * MANY, _REQUESTS, seconds, REQUESTS_IN_FLIGHT
    )
    report.promise(RIGHT, wrong == wrong_batches == 0)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while (started_at := time.perf_counter()) < until or not taken:
        report.promise(RIGHT, ask(_TXIDS[:1]) == [RECORD])
        taken.append((time.perf_counter() - started_at) * 1000)
    return {
        f"{name}, {SINGLES}": singles,
        f"{name}, {BATCHES}": batches * MANY,
        f"{name}, {ONE_IN_FLIGHT}": sorted(taken)[len(taken) // 2],
    }


@contextlib.contextmanager
def _utxod() -> Iterator[Ask]:
    with (
        own_daemon("null:", ["--workers", str(PROCESSES)]) as daemon,
        Client(daemon.endpoint, timeout=PATIENT_SECONDS) as client,
    ):

        def ask(txids: Sequence[bytes]) -> Any:
            if len(txids) == 1:
                return [client.get(txids[0], _FIELDS)]
            return [outcome.result for outcome in client.get_many(txids, _FIELDS)]

        yield ask


@contextlib.contextmanager
def _pool() -> Iterator[Ask]:
    with pool() as processes:
        yield lambda txids: processes.apply(answers, (txids,))


@contextlib.contextmanager
def _over_redis(name: str, module: str, socket: Path) -> Iterator[Ask]:
    """With its workers ready."""
    os.environ[REDIS] = str(socket)
    peer: Any = importlib.import_module(module)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (
        tempfile.NamedTemporaryFile(prefix="utxod-peer-", suffix=".log") as log,
        started(peer.WORKER, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT),
    ):
        try:
            peer.ask(_TXIDS[:1])
        except Exception as error:
            raise MeasurementError(
                f"{name} did not answer within {ANSWER_SECONDS:.0f} s ({error!r}). Its workers wrote:\n"
                f"{last_lines(Path(log.name))}"
            ) from error
        yield peer.ask
