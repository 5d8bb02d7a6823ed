"""The trouble that each page of docs/operations/ is about, really made: what happens, step by step, while it is walked.

A step's name is what the page's mark says there (tests/walk/page.py); when it is yielded, it has come to that.
"""

import contextlib
import fcntl
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

import psutil

from protocol import Client, Spend, UtxodError, utxo_hash
from tests.support.load import creating, load, looking, repeated
from tests.walk.scene import Scene

Steps = Generator[str, None, None]

_SCRIPT: Final = b"\x51"
_OUTPUT: Final = {0: (5_000, _SCRIPT)}
# Of a worker: one that ends earlier is a sign that none can live.
_YOUNG_SECONDS: Final = 5.5
# Of a set that is full after some thousand transactions.
_SMALL_MAP_BYTES: Final = 1 << 20
# A worker that a hanging store holds is not ended by the daemon before somebody kills it.
_HELD: Final = {"broker.grace_seconds": 60}
_SPENDER: Final = b"\x01" * 32


def _is(pool: str, what: str, wanted: Callable[[Any], Any]) -> Callable[[Mapping[str, Any]], Any]:
    """Whether a figure of a pool is as it is wanted."""
    return lambda report: wanted(report["pools"][pool][what])


def _readme(scene: Scene) -> Steps:
    scene.start(_HELD)
    with load(scene.endpoint, creating()):
        yield "all is well"
    scene.faults.set(kind="hang")
    with scene.client() as client:
        asked = client.submit(client.create_partial, secrets.token_bytes(32), _OUTPUT, block_height=1)
        scene.until(_is("write", "in_flight", bool))
        os.kill(scene.workers("write")[0], signal.SIGKILL)
        error = asked.exception()
    assert isinstance(error, UtxodError)
    scene.faults.clear()
    scene.environment["REQUEST"] = error.request_id
    yield "a program got an error, since its worker was killed"


def _down(scene: Scene) -> Steps:
    scene.start({})
    scene.write_settings({"workers.write": 0})
    scene.stop()
    with scene.log.open("ab") as log:
        subprocess.run([sys.executable, "-m", "utxod", "serve"], stderr=log, env=scene.environment, check=False)
    yield "a restart after somebody has changed the settings"
    scene.start()
    yield "it was started again"


def _not_ready(scene: Scene) -> Steps:
    scene.start({"broker.workerless_seconds": 0.5})
    data = scene.home / "set" / "data.mdb"
    data.rename(f"{data}.kept")
    data.write_bytes(bytes(1 << 16))
    for pid in scene.workers("write"):
        os.kill(pid, signal.SIGKILL)
    with load(scene.endpoint, creating()):
        scene.until(lambda report: report["counters"].get("refused UNAVAILABLE", 0))
        yield "the set's file is overwritten, and a worker that writes has ended"
        os.rename(f"{data}.kept", data)
        scene.until(_is("write", "workers", bool))
        yield "the file was put back"


def _breaker_open(scene: Scene) -> Steps:
    scene.start({"broker.budget_seconds": 0.5, "broker.grace_seconds": 0.3, "broker.probe_seconds": 0.3})
    with load(scene.endpoint, creating()):
        scene.faults.set(kind="hang")
        scene.until(_is("write", "breaker", "open".__eq__))
        yield "the store hangs"
        scene.faults.clear()
        scene.until(_is("write", "breaker", "closed".__eq__))
        yield "the store answers again"


def _queue_growing(scene: Scene) -> Steps:
    scene.start({"broker.batch_limit": 20})
    scene.faults.set(kind="delay", seconds=0.1, times=None)
    with load(scene.endpoint, looking(20), callers=30):
        scene.until(_is("read", "oldest_seconds", lambda seconds: seconds > 1.5))
        yield "more is asked than the worker can read"


def _refusing(scene: Scene) -> Steps:
    scene.start({"broker.batch_limit": 20, "broker.queue_items": 100})
    scene.faults.set(kind="delay", seconds=0.1, times=None)
    with load(scene.endpoint, creating(20), callers=20):
        scene.until(lambda report: report["counters"].get("refused OVERLOADED", 0) > 100)
        yield "more is asked than the queue can hold"


def _batches_small(scene: Scene) -> Steps:
    scene.start({"broker.batch_limit": 2})
    scene.faults.set(kind="delay", seconds=0.06, times=None)
    with load(scene.endpoint, creating(10), callers=40):
        scene.until(_is("write", "oldest_seconds", lambda seconds: seconds > 1.5))
        yield "somebody has set a batch limit of 2"


def _workers_dying(scene: Scene) -> Steps:
    scene.start({"workers.write": 4})

    def kill() -> None:
        """One that has lived long enough not to count as one that dies young, which would be another trouble."""
        born_by = time.time() - _YOUNG_SECONDS
        for pid in scene.workers("write"):
            if psutil.Process(pid).create_time() < born_by:
                os.kill(pid, signal.SIGKILL)
                break

    with load(scene.endpoint, creating()):
        # One after the other, all the time: not all at once, and then none for as long as these are young.
        with repeated(kill, every=1.5):
            scene.until(lambda report: _exits(report, "write") >= 3)
            yield "something kills workers that write"
        scene.until(_is("write", "workers", bool))
        yield "nobody kills any more"


def _exits(report: Mapping[str, Any], pool: str) -> int:
    return sum(row["count"] for row in report["figures"]["worker_exits"] if row["pool"] == pool)


def _store_slow(scene: Scene) -> Steps:
    scene.start({})
    scene.faults.set(kind="delay", seconds=0.7, times=None)
    with load(scene.endpoint, creating()):
        scene.until(_is("write", "dispatches", lambda count: count > 2))
        yield "each batch takes 0.7 s in the store"
        scene.faults.clear()
        yield "the store is as fast as before"


def _store_failing(scene: Scene) -> Steps:
    scene.start({"store": scene.store_url(map_size=_SMALL_MAP_BYTES)})
    with load(scene.endpoint, creating(20)):
        scene.until(lambda report: report["counters"].get("answered STORE_ERROR", 0) > 100)
        yield "the set has reached its map_size"
        scene.restart()
        yield "it was restarted"


def _descriptors_short(scene: Scene) -> Steps:
    scene.open_files = 160
    scene.start({})
    with contextlib.ExitStack() as crowd:
        for _ in range(40):
            crowd.enter_context(scene.client()).status()
        yield "many submitters, and a low limit"
        scene.open_files = None
        scene.restart()
        yield "it was restarted with a higher limit"


def _log_dropped(scene: Scene) -> Steps:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    try:
        scene.start({}, stderr=write)
        assert scene.process is not None
        process = scene.process
        # Each is a line, which says that it means nothing.
        with repeated(lambda: process.send_signal(signal.SIGUSR1), every=0.0002):
            scene.until(lambda report: report["log_lines_dropped"]["daemon"])
            yield "nobody reads the log, and there is much of it"
    finally:
        os.close(write)
        os.close(read)


def _deadlines_missed(scene: Scene) -> Steps:
    scene.start({})
    scene.faults.set(kind="delay", seconds=0.3, times=None)
    with load(scene.endpoint, creating(), callers=4, timeout=0.2):
        scene.until(lambda report: report["counters"].get("failed DEADLINE_EXCEEDED", 0) > 3)
        yield "callers give 0.2 s, and the store takes 0.3 s"


def _in_doubt(scene: Scene) -> Steps:
    scene.start(_HELD)
    with scene.client() as client:
        client.create_partial(_SPENDER, _OUTPUT, block_height=1)
        spends = _spends_of_a_child(client)
        scene.faults.set(kind="hang", function="noteChild")
        client.spend_transaction(spends)
        scene.until(_is("children", "in_flight", bool))
        os.kill(scene.workers("children")[0], signal.SIGKILL)
        scene.until(lambda report: report["counters"].get("in_doubt", 0))
        scene.faults.clear()
        yield "a worker was killed that had a follow-up in its hands"
        client.spend_transaction(spends)
        scene.until(lambda report: report["owed"] == 0)
        yield "the spend was asked for again"


def _spends_of_a_child(client: Client) -> list[Spend]:
    """All outputs of a transaction that has a child record, so that its master is owed a note."""
    txid = secrets.token_bytes(32)
    outputs = dict.fromkeys(range(4), (1, _SCRIPT))
    client.create_partial(txid, outputs, block_height=1)
    return [Spend(txid, vout, utxo_hash(txid, vout, _SCRIPT, 1), _SPENDER, vout, 10) for vout in outputs]


def _standstill(scene: Scene) -> Steps:
    scene.start({})
    assert scene.process is not None
    process = scene.process

    def stop() -> None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.3)
        process.send_signal(signal.SIGCONT)

    with load(scene.endpoint, creating()), repeated(stop, every=1.0):
        scene.until(lambda report: report["longest_standstill_seconds"] > 1)
        yield "the daemon is held up again and again"


def _undeliverable(scene: Scene) -> Steps:
    scene.start({})
    scene.faults.set(kind="delay", seconds=0.3, times=None)

    def ask_and_go() -> None:
        with scene.client() as client:
            client.status()
            for _ in range(20):
                client.submit(client.create_partial, secrets.token_bytes(32), _OUTPUT, block_height=1)
            scene.until(lambda report: report["pending"])

    with repeated(ask_and_go, every=0.1):
        scene.until(lambda report: report["counters"].get("undeliverable", 0))
        yield "callers end before they are answered"


def _owed_growing(scene: Scene) -> Steps:
    scene.start({"broker.owed_items": 100, "broker.batch_limit": 1, "broker.budget_seconds": 30})
    with scene.client() as client:

        def spend() -> None:
            client.spend_transaction(_spends_of_a_child(client))

        scene.faults.set(kind="hang", function="noteChild")
        for _ in range(55):
            spend()
        scene.faults.set(kind="delay", function="noteChild", seconds=0.4, times=None)
        with repeated(spend, every=0.2):
            yield "many transactions are spent whose master hears of it late"


STORIES: Final[dict[str, Callable[[Scene], Steps]]] = {
    "README": _readme,
    "UtxodBatchesSmall": _batches_small,
    "UtxodBreakerOpen": _breaker_open,
    "UtxodDeadlinesMissed": _deadlines_missed,
    "UtxodDescriptorsShort": _descriptors_short,
    "UtxodDown": _down,
    "UtxodInDoubt": _in_doubt,
    "UtxodLogDropped": _log_dropped,
    "UtxodNotReady": _not_ready,
    "UtxodOwedGrowing": _owed_growing,
    "UtxodQueueGrowing": _queue_growing,
    "UtxodRefusing": _refusing,
    "UtxodStandstill": _standstill,
    "UtxodStoreFailing": _store_failing,
    "UtxodStoreSlow": _store_slow,
    "UtxodUndeliverable": _undeliverable,
    "UtxodWorkersDying": _workers_dying,
}
