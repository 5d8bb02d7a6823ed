"""What befalls a daemon: each scene makes one fault by real means, and says how it is known to have begun."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import zmq

from protocol.codes import STORE_ERROR
from tests.support.daemon import Daemon
from tests.support.interpreter import Interpreter
from tests.support.load import creating, load, repeated
from utxod.diagnosis.findings import BAD_ITEMS, DESCRIPTORS_LEFT, DYING_EXITS, QUEUE_OLD_SECONDS, STORE_SLOW_SECONDS
from utxod.interval import Interval

Report = dict[str, Any]

_DESCRIPTORS = 256
_CROWD = 140
# What the load is, where a scene says nothing else.
_ASKED: Mapping[str, Any] = {"ask": creating(20, reads=True), "callers": 4, "pause": 0.01}
# Of the slow stores: seconds that each call of it takes.
_SLOW, _BUSY = 0.7, 0.1


@dataclass(frozen=True)
class Scene:
    """finding: the alert's name that `utxod doctor --live` must give first; "" for none. shows: one line for a person.
    settings: of the daemon. shell: what starts it, {python} and its arguments. fault: makes it, until it is left.
    has_begun: whether a report shows it."""

    name: str
    finding: str
    shows: str
    fault: Callable[[Daemon], AbstractContextManager[None]]
    has_begun: Callable[[Report], bool]
    settings: Mapping[str, Any] = field(default_factory=dict)
    shell: str = ""

    @contextlib.contextmanager
    def running(self, directory: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Daemon]:
        """A daemon in which the fault has begun. directory: an empty one. settings: further ones."""
        program = sys.executable
        if self.shell:
            interpreter = Interpreter(directory / "python")
            interpreter.wrap(self.shell.format(python="{python}", directory=directory))
            program = str(interpreter.path)
        with mock.patch.object(sys, "executable", program):
            store = f"lmdb://{directory / 'store'}?sync=false"
            daemon = Daemon(directory, {**self.settings, **(settings or {})}, (), store)
        try:
            daemon.wait_until_it_serves()
            daemon.wait_for_workers(within=60)
            with self.fault(daemon):
                daemon.wait_until(self.has_begun, within=60)
                yield daemon
            daemon.end()
        except BaseException:
            print(daemon.log.text)
            raise
        finally:
            daemon.destroy()


# ---- faults


def _asked(**asked: Any) -> Callable[[Daemon], AbstractContextManager[None]]:
    """Nothing but the load. asked: what it is."""
    return lambda daemon: load(daemon.endpoint, **{**_ASKED, **asked})


def _store(asked: Mapping[str, Any], **fault: Any) -> Callable[[Daemon], AbstractContextManager[None]]:
    """asked: what the load is. fault: of the store, as store/faulty.py has it."""

    @contextlib.contextmanager
    def breaks(daemon: Daemon) -> Iterator[None]:
        with load(daemon.endpoint, **{**_ASKED, **asked}):
            daemon.faults.set(times=None, **fault)
            try:
                yield
            finally:
                daemon.faults.clear()

    return breaks


@contextlib.contextmanager
def _kill(daemon: Daemon) -> Iterator[None]:
    """Every worker that writes, as soon as it is there: SIGKILL, as the kernel does it for want of memory."""

    def kill() -> None:
        for pid in daemon.workers("write"):
            os.kill(pid, signal.SIGKILL)

    with load(daemon.endpoint, timeout=2.0, **_ASKED), repeated(kill, every=0.05):
        yield


@contextlib.contextmanager
def _crowd(daemon: Daemon) -> Iterator[None]:
    """Submitters that connect, and stay."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with load(daemon.endpoint, **_ASKED):
        sockets = [context.socket(zmq.DEALER) for _ in range(_CROWD)]
        for socket in sockets:
            socket.connect(daemon.endpoint)
        try:
            yield
        finally:
            context.destroy(linger=0)


# ---- how they show


def _breaker_is_open(report: Report) -> bool:
    return any(pool["breaker"] == "open" for pool in report["pools"].values())


def _took_long(report: Report) -> bool:
    return Interval.since_start(report).histogram("store_seconds").beyond(STORE_SLOW_SECONDS) > 0


def _fails(report: Report) -> bool:
    return Interval.since_start(report).count("answers", "items", code=STORE_ERROR) > BAD_ITEMS


def _waits(report: Report) -> bool:
    return bool(report["pools"]["write"]["oldest_seconds"] > QUEUE_OLD_SECONDS)


def _died(report: Report) -> bool:
    return Interval.since_start(report).count("worker_exits", "count") >= DYING_EXITS


def _is_crowded(report: Report) -> bool:
    descriptors = report["descriptors"]
    return bool(descriptors["limit"] - descriptors["open"] < DESCRIPTORS_LEFT)


def _lost_lines(report: Report) -> bool:
    return any(report["log_lines_dropped"].values())


def _answers(report: Report) -> bool:
    return Interval.since_start(report).count("answers", "items") > 1000


WELL = Scene("well", "", "Under load, and all is well.", _asked(), _answers)

SCENES = (
    Scene(
        "store-hangs",
        "UtxodBreakerOpen",
        "The store does not answer: the breaker is open, and what can't be served is refused.",
        _store({}, kind="hang"),
        _breaker_is_open,
        settings={"broker.budget_seconds": 0.5, "broker.grace_seconds": 0.3, "broker.probe_seconds": 0.5},
    ),
    Scene(
        "store-slow",
        "UtxodStoreSlow",
        f"Each call of the store takes {_SLOW} s.",
        _store({}, kind="delay", seconds=_SLOW),
        _took_long,
    ),
    Scene(
        "queue-grows",
        "UtxodQueueGrowing",
        "More is asked than the store can do.",
        _store({"callers": 32, "ask": creating(200)}, kind="delay", seconds=_BUSY),
        _waits,
        settings={"broker.batch_limit": 200, "broker.queue_items": 20_000},
    ),
    Scene(
        "batches-small",
        "UtxodBatchesSmall",
        "`broker.batch_limit` is 5, and items wait.",
        _store({"callers": 48, "ask": creating(5)}, kind="delay", seconds=_BUSY),
        _waits,
        settings={"broker.batch_limit": 5},
    ),
    Scene(
        "workers-die",
        "UtxodWorkersDying",
        "Workers that write are killed, again and again.",
        _kill,
        _died,
    ),
    Scene(
        "descriptors-short",
        "UtxodDescriptorsShort",
        f"{_CROWD} submitters at a daemon that may have {_DESCRIPTORS} descriptors open.",
        _crowd,
        _is_crowded,
        shell=f'ulimit -n {_DESCRIPTORS}; exec {{python}} "$@"',
    ),
    Scene(
        "log-dropped",
        "UtxodLogDropped",
        "Each batch is a line of the log (`log.level` is `debug`), and nobody reads the log.",
        _asked(callers=8, ask=creating(reads=True), pause=0.0),
        _lost_lines,
        settings={"broker.batch_limit": 1, "log.level": "debug"},
        shell='mkfifo {directory}/unread && exec {python} "$@" 2<>{directory}/unread',
    ),
)

# Not pictured: page and top look as they do when all is well, but for the codes of the answers.
STORE_FAILS = Scene(
    "store-fails",
    "UtxodStoreFailing",
    "The store fails every write, at once.",
    _store({}, kind="raise_before"),
    _fails,
)
