"""The nemesis: what it breaks, how often, and when, from one seed."""

import contextlib
import fcntl
import heapq
import itertools
import json
import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import psutil

from tests.chaos.daemon import EXECUTION_LIMIT_SECONDS, WORKERS, Daemon
from tests.chaos.processes import Clients
from tests.chaos.servers import Nodes
from tests.chaos.surroundings import Imposed, Surroundings

# How often a minute. The daemon is not restarted in the last part of a run, so that what it gathers can be seen.
_ORDINARY_RATES: Final = {
    "kill": 14.0, "stop": 3.5, "wedge": 1.0, "hesitate": 2.0, "fault": 6.0, "slow": 9.0, "kill_client": 1.0,
    "stop_daemon": 0.3, "roll": 0.5, "grow": 0.7, "shrink": 0.7, "kill_daemon": 0.4, "drain": 0.3, "drain_wedged": 0.2,
    "drain_unread": 0.2,
}  # fmt: skip
# What is imposed and lifted again: the methods of Surroundings.
_SURROUNDINGS_RATES: Final = {
    "descriptors_ipc": 0.6, "descriptors_tcp": 0.5, "no_interpreter": 0.7, "log_unread": 0.7, "sweep": 0.8,
    "signal_daemon": 3.0, "signal_worker": 3.0, "many_frames": 0.6, "nonsense": 0.5, "strangers": 0.5,
    "second_daemon": 0.5, "second_daemon_after_sweep": 0.3,
}  # fmt: skip
RATES: Final = {**_ORDINARY_RATES, **_SURROUNDINGS_RATES}
EMBEDDED_RATES: Final = {"kill_in_transaction": 2.5, "no_room": 0.5, "fill": 0.3}
SERVER_RATES: Final = {"stop_server": 4.0, "kill_server": 1.0}
_RESTARTS: Final = ("kill_daemon", "drain", "drain_wedged", "drain_unread", "fill")
_RESTARTS_UNTIL: Final = 0.75
_FAULTS: Final = ("raise_before", "raise_after", "drop", "none", "malform", "fail", "delay")
_FUNCTIONS: Final = (None, None, "spend", "spendMulti", "setLocked", "noteChild", "release")
_LOOK_SECONDS: Final = 0.05
_HOLDER_TRIES: Final = 300


class Planned(NamedTuple):
    """after: seconds from the beginning."""

    after: float
    name: str


def plan(seed: int, seconds: float, rates: Mapping[str, float]) -> list[Planned]:
    """Each at its rate, at random times; at least once, but for restarts, of which a short run has time for one."""
    chance = random.Random(seed)
    counts = {name: round(rate * seconds / 60) for name, rate in rates.items()}
    counts |= {name: max(1, count) for name, count in counts.items() if name not in _RESTARTS}
    restarts = [name for name in _RESTARTS if name in counts]
    if not any(counts[name] for name in restarts):
        counts[chance.choice(restarts)] = 1
    planned = []
    for name, count in counts.items():
        last = seconds * (_RESTARTS_UNTIL if name in _RESTARTS else 0.97)
        planned += [Planned(chance.uniform(0, last), name) for _ in range(count)]
    return sorted(planned)


class Nemesis:
    """done: how often each was done. killed_daemon: when, seconds, monotonic. diary: when what was done to whom."""

    def __init__(self, seed: int, daemon: Daemon, clients: Clients, nodes: Nodes) -> None:
        self.done: Counter[str] = Counter()
        self.killed_daemon: list[float] = []
        self.diary: list[tuple[float, str]] = []
        self._random = random.Random(f"{seed}:nemesis")
        self._daemon = daemon
        self._clients = clients
        self._nodes = nodes
        self._surroundings = Surroundings(daemon, self._random)
        self._later: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def run(self, planned: list[Planned], progress: Callable[[], None]) -> None:
        """Until the clients' time is over; then it puts things back."""
        todo = list(planned)
        while (now := time.monotonic()) < self._clients.until:
            self._daemon.restart_if_it_ended()
            while self._later and self._later[0][0] <= now:
                heapq.heappop(self._later)[2]()
            if todo and self._clients.started + todo[0].after <= now:
                name = todo.pop(0).name
                if name in _RESTARTS and not self._nodes.are_up:
                    self._nodes.start()  # a daemon that finds no store does not start
                if name in _SURROUNDINGS_RATES:
                    self._impose(name)
                else:
                    getattr(self, f"_{name}")()
            else:
                time.sleep(_LOOK_SECONDS)
            progress()
        while self._later:
            heapq.heappop(self._later)[2]()
        if len(self._nodes):
            self._nodes.start()

    def _note(self, name: str, what: str = "") -> None:
        self.done[name] += 1
        self.diary.append((time.monotonic(), f"{name} {what}".strip()))

    def _in(self, seconds: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), action))

    def _impose(self, name: str) -> None:
        """For some seconds."""
        imposed: Imposed | None = getattr(self._surroundings, name)()
        if imposed is not None:
            self._note(name, imposed.what)
            if imposed.lift is not None:
                self._in(self._random.uniform(1.0, 5.0), partial(self._lift, name, imposed.lift))

    def _lift(self, name: str, lift: Callable[[], None]) -> None:
        lift()
        self.diary.append((time.monotonic(), f"{name} is over"))

    # ---- workers

    def _kill(self) -> None:
        worker = self._any_worker()
        if worker is not None and _signal(worker, signal.SIGKILL):
            self._note("kill", str(worker.pid))

    def _stop(self) -> None:
        """For a moment, or until it is killed for it."""
        worker = self._any_worker()
        if worker is not None and _signal(worker, signal.SIGSTOP):
            seconds = self._random.choice((0.1, 0.3, 3.0))
            self._note("stop", f"{worker.pid} for {seconds} s")
            self._in(seconds, partial(_signal, worker, signal.SIGCONT))

    def _kill_in_transaction(self) -> None:
        """Stops the holder of the writers' lock, so that it stays it; kills it, or leaves that to the daemon."""
        holder = self._stopped_holder()
        if holder is None:
            return
        if self._random.random() < 0.5:
            time.sleep(self._random.uniform(0, 0.1))
            if _signal(holder, signal.SIGKILL):
                self._note("kill", f"{holder.pid}, which held the writers' lock")
        self._note("kill_in_transaction", str(holder.pid))

    def _stopped_holder(self) -> psutil.Process | None:
        workers = {worker.pid: worker for worker in self._daemon.workers()}
        with contextlib.suppress(OSError), (self._daemon.directory / "store" / "writer.lock").open("rb") as lock:
            for _ in range(_HOLDER_TRIES):
                worker = workers.get(_named_in(lock.fileno()))
                if worker is not None and _is_held(lock.fileno()) and _signal(worker, signal.SIGSTOP):
                    if _is_stopped(worker) and _is_held(lock.fileno()) and _named_in(lock.fileno()) == worker.pid:
                        return worker
                    _signal(worker, signal.SIGCONT)
                time.sleep(0.002)
        return None

    def _any_worker(self) -> psutil.Process | None:
        """Of the pools alike; those that write get half of it."""
        pool = self._random.choice(("write", "write", *WORKERS))
        workers = self._daemon.workers(pool)
        return self._random.choice(workers) if workers else None

    # ---- the store

    def _wedge(self) -> None:
        """Hangs for so long that workers are killed for it and the breaker opens."""
        self._hang("wedge", self._random.uniform(2.0, 4.0) * EXECUTION_LIMIT_SECONDS)

    def _hesitate(self) -> None:
        self._hang("hesitate", self._random.uniform(0.1, 0.6))

    def _hang(self, name: str, seconds: float) -> None:
        function = self._random.choice(_FUNCTIONS)
        fault: dict[str, Any] = {"kind": "hang", "after": self._random.random() < 0.5}
        if function:
            fault["function"] = function
        self._daemon.faults.set(name, **fault)
        self._note(name, f"{json.dumps(fault)} for {seconds:.2f} s")
        self._in(seconds, lambda: self._daemon.faults.clear(name))

    def _slow(self) -> None:
        """Every batch takes longer, before or after it is executed: who is killed then had it in hand."""
        seconds, after = self._random.uniform(0.005, 0.03), self._random.random() < 0.6
        self._daemon.faults.set("slow", kind="delay", times=None, seconds=seconds, after=after)
        self._note("slow", f"by {seconds:.3f} s {'after' if after else 'before'} each batch")
        self._in(self._random.uniform(3.0, 8.0), partial(self._daemon.faults.clear, "slow"))

    def _fault(self) -> None:
        kind, function = self._random.choice(_FAULTS), self._random.choice(_FUNCTIONS)
        if kind == "fail" and self._daemon.atomic:
            function = "spend"  # not one record of a creation alone, where a batch is one whole
        fault: dict[str, Any] = {"kind": kind, "times": self._random.randint(1, 3), "index": self._random.randint(0, 3)}
        if function:
            fault["function"] = function
        if kind == "delay":
            fault |= {"seconds": 0.5, "index": 0}
        name = f"fault {next(self._order)}"
        self._daemon.faults.set(name, **fault)
        self._note("fault", json.dumps(fault))
        self._in(1.0, lambda: self._daemon.faults.clear(name))

    def _no_room(self) -> None:
        """The workers that write can't make their set's file any larger: a commit fails half way."""
        size = (self._daemon.directory / "store" / "data.mdb").stat().st_size
        workers = self._daemon.workers("write")
        for worker in workers:
            _limit_files(worker, size)
        self._note("no_room", f"above {size} bytes")
        for worker in workers:
            self._in(2.0, partial(_limit_files, worker, resource.RLIM_INFINITY))

    def _fill(self) -> None:
        """The set is full, until the daemon is started with a larger map."""
        self._daemon.drain()
        self._note("fill")
        self._daemon.start(full=True)
        self._in(self._random.uniform(1.5, 3.0), self._make_room)

    def _make_room(self) -> None:
        self._daemon.drain()
        self._daemon.start()

    # ---- the store's servers

    def _stop_server(self) -> None:
        """One of several for less time than the others wait for it; a single one also for so long that the client gives
        it up."""
        if not self._nodes.are_up:
            return
        number = self._random.randrange(len(self._nodes))
        longest = 1.0 if len(self._nodes) > 1 else self._random.choice((1.0, 4.0, 16.0))
        seconds = self._random.uniform(0.1, longest)
        self._nodes.stop(number)
        self._note("stop_server", f"{number} for {seconds:.2f} s")
        self._in(seconds, partial(self._nodes.go_on, number))

    def _kill_server(self) -> None:
        """Only where all are up, and every record is in two places."""
        if not self._nodes.are_up or not self._nodes.is_whole():
            return
        number = self._random.randrange(len(self._nodes))
        self._note("kill_server", f"{number}: {self._nodes.take_down(number)}")
        self._in(self._random.uniform(0.0, 4.0), partial(self._nodes.start_one, number))

    # ---- the daemon

    def _kill_daemon(self) -> None:
        self.killed_daemon.append(time.monotonic())
        self._note("kill_daemon")
        self._daemon.kill()
        time.sleep(self._random.uniform(0, 0.5))
        self._daemon.start()

    def _drain(self) -> None:
        self._note("drain")
        self._daemon.drain()
        self._daemon.start()

    def _drain_wedged(self) -> None:
        """Its limit passes before what is in flight is done."""
        self._daemon.faults.set("drain", kind="hang")
        self._note("drain_wedged")
        time.sleep(0.2)
        self._daemon.drain()
        self._daemon.faults.clear("drain")
        self._daemon.start()

    def _drain_unread(self) -> None:
        """Its log is full, and nobody reads it."""
        self._daemon.log_pipe.stop()
        self._note("drain_unread")
        self._daemon.drain()
        self._daemon.log_pipe.go_on()
        self._daemon.start()

    def _stop_daemon(self) -> None:
        self._nodes.all_go_on()  # nobody else would, meanwhile
        self._daemon.process.send_signal(signal.SIGSTOP)
        self._note("stop_daemon")
        time.sleep(self._random.uniform(0.2, 1.5))
        self._daemon.process.send_signal(signal.SIGCONT)

    def _roll(self) -> None:
        self._signal_daemon("roll", signal.SIGHUP)

    def _grow(self) -> None:
        self._signal_daemon("grow", signal.SIGTTIN)

    def _shrink(self) -> None:
        self._signal_daemon("shrink", signal.SIGTTOU)

    def _signal_daemon(self, name: str, number: signal.Signals) -> None:
        self._daemon.process.send_signal(number)
        self._note(name)

    # ---- the clients

    def _kill_client(self) -> None:
        slot = self._random.randrange(len(self._clients.processes))
        self._clients.kill(slot)
        self._note("kill_client", f"in slot {slot}")


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether it was still there."""
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)
        return True
    return False


def _limit_files(process: psutil.Process, size: int) -> None:
    with contextlib.suppress(psutil.Error):
        process.rlimit(psutil.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _is_stopped(process: psutil.Process) -> bool:
    for _ in range(50):
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_STOPPED:
                return True
        time.sleep(0.001)
    return False


def _named_in(lock: int) -> int:
    """The process that the writers' lock names; 0 where it names none."""
    words = os.pread(lock, 40, 0).split()
    return int(words[0]) if words and words[0].isdigit() else 0


def _is_held(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(lock, fcntl.LOCK_UN)
    return False
