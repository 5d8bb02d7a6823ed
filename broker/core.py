"""Every rule of the broker, without I/O and without a clock of its own: events in, actions out, time passed in.

A request is admitted or refused the moment it arrives. Once admitted it is in the ledger, and leaves it with its one
answer, which comes from the first of: its worker; its deadline; the end of its worker; the end of the daemon. Whatever
else arrives for it later is dropped and counted. This module decides when an entry is answered; ledger.py how. What an
answer may say of the execution follows from the entry's state (entry.py).

Its driver passes in events (events.py), with the time in microseconds on the daemon's monotonic clock, and carries out
the `actions` (actions.py). Requests are queued as they come; `dispatch` hands them out, once per turn of the driver's
loop, so that a batch grows with the load and no timer is needed.
"""

from collections import Counter
from collections.abc import Hashable
from collections.abc import Set as AbstractSet
from typing import Any, assert_never

from protocol import codes, wire
from protocol.codes import DEADLINE_EXCEEDED, NO
from protocol.wire import Error
from protocol.worker_wire import DISPATCH, STOP, Assignment, pack_dispatch

from .actions import Action, Instruct, LostRequest, ReportWanted, Send, Terminate, reply
from .admission import WORKER_BACK_MS, no_room, unacceptable
from .entry import ANSWERED, DISPATCHED, QUEUED, Entry
from .events import (
    Event,
    HelloReceived,
    MalformedReceived,
    ReplyUndelivered,
    RequestReceived,
    StatusReceived,
    UnreadableReceived,
    WorkerDone,
    WorkerLost,
    WorkerMalformed,
    WorkerReady,
)
from .evictions import Evictions
from .fan_in import FollowUpFanIn
from .follow_ups import follow_up_entries
from .ledger import Ledger
from .pool import Dispatch, Pool, Worker
from .reply_headers import failures_by_code, leaves_open, retried_header
from .scheduling import MAY_OWE, POOL_OF_REQUEST, POOLS
from .settings import MICROSECONDS, BrokerSettings


class Core:
    """actions: what the events so far ask for; the driver takes them and carries them out in order. version: the
    daemon's own, told in the handshake. draining: whether new requests are refused."""

    # Entries that one sweep answers, by their deadline or because there is no worker, before the loop goes on: 0.1 s.
    _slice = 10_000

    def __init__(self, settings: BrokerSettings, epoch: int, now: int, version: str = "") -> None:
        self.epoch = epoch
        self._version = version
        self.actions: list[Action] = []
        self.counters: Counter[str] = Counter()
        self.workers: dict[bytes, Worker] = {}
        self.draining = False
        self.pools = {name: Pool(name, kind, settings, now) for name, kind in POOLS.items()}
        bucket_us = int(settings.sweep_seconds * MICROSECONDS)
        self.ledger = Ledger(self.pools, bucket_us, self.counters, self.actions)
        self._limits = settings.limits
        self._batch_limit, self._owed_limit = settings.batch_limit, settings.owed_items
        self._execution_limit_us = int(settings.execution_limit_seconds * MICROSECONDS)
        self._dispatches = 0
        self._evictions = Evictions(self.ledger.give_up)

    # ---- what its driver asks

    @property
    def pending(self) -> int:
        """Requests and pieces of owed work that are not done with."""
        return len(self.ledger)

    @property
    def ready_workers(self) -> AbstractSet[bytes]:
        """Those that have given a credit, and are not lost."""
        return self.workers.keys()

    def is_ready(self, identity: bytes) -> bool:
        """Whether the worker has given a credit, and is not lost."""
        return identity in self.workers

    def is_busy(self, identity: bytes) -> bool:
        """Whether the worker holds a dispatch."""
        worker = self.workers.get(identity)
        return worker is not None and worker.dispatch is not None

    def take_actions(self) -> list[Action]:
        """Each is given once."""
        actions = self.actions.copy()
        self.actions.clear()
        return actions

    # ---- events

    def handle(self, event: Event, now: int) -> None:
        """Applies one event; what follows from it is in `actions`. now: microseconds on the daemon's clock."""
        match event:
            case RequestReceived():
                self._on_request(event, now)
            case WorkerDone():
                self._on_done(event, now)
            case WorkerReady():
                self._on_ready(event)
            case WorkerLost():
                self._on_lost(event, now)
            case WorkerMalformed():
                self._on_malformed(event)
            case HelloReceived():
                self._welcome(event.submitter, event.request_id, now)
            case StatusReceived():
                self.actions.append(ReportWanted(event.submitter, event.request_id))
            case MalformedReceived():
                self._refuse(event.submitter, event.request_id, Error(event.code, NO, event.message))
            case UnreadableReceived():
                self.counters["unreadable"] += 1
            case ReplyUndelivered():
                self.counters["undeliverable"] += max(1, event.item_count)
            case _:
                assert_never(event)

    # ---- of submitters

    def _on_request(self, event: RequestReceived, now: int) -> None:
        """What can't be admitted is answered at once."""
        submitter, request_id, header, body = event
        _, operation, deadline, count, flags = header
        error = unacceptable(header, len(body), self._limits, self.epoch, now)
        if error is None and self.draining:
            error = Error(codes.SHUTTING_DOWN, NO, "the daemon is shutting down")
        if error is None:
            pool = self.pools[POOL_OF_REQUEST[operation]]
            error = no_room(pool, submitter, count, len(body), now)
        if error is not None:
            self._refuse(submitter, request_id, error, count)
            return
        entry = Entry(
            operation=operation,
            pool=pool.name,
            deadline=deadline,
            weight=count,
            body=body,
            submitter=submitter,
            request_id=request_id,
            flags=flags,
        )
        self.ledger.admit(entry)

    def _welcome(self, submitter: Hashable, request_id: bytes, now: int) -> None:
        welcome = wire.pack_welcome(wire.Welcome(self.epoch, now, self._limits, self._version))
        frames = [wire.pack_prefix(wire.WELCOME, request_id), welcome]
        self.actions.append(Send(submitter, frames, 0))

    def _refuse(self, submitter: Hashable, request_id: bytes, error: Error, count: int = 0) -> None:
        item_count = min(max(1, count), self._limits.max_items)  # a refused header may claim to hold anything
        self.counters[f"refused {error.code}"] += item_count
        self.actions.append(reply(submitter, request_id, wire.error_header(error, count), wire.EMPTY_BODY, item_count))

    # ---- of workers

    def _on_ready(self, event: WorkerReady) -> None:
        if event.worker not in self.workers:
            pool = self.pools[event.pool]
            worker = self.workers[event.worker] = Worker(event.worker, pool)
            pool.add_worker(worker)
            self._release(worker)

    def _on_done(self, event: WorkerDone, now: int) -> None:
        worker = self.workers.get(event.worker)
        dispatch = worker.dispatch if worker else None
        if worker is None or dispatch is None or event.number != dispatch.number:
            self.counters["late"] += 1
            return
        replies, timed_out = event.replies, event.timed_out
        try:
            if len(replies) != 2 * len(dispatch.entries):
                raise ValueError(f"{len(replies)} frames of replies to {len(dispatch.entries)} requests")
            parts, owed = follow_up_entries(worker.pool, dispatch, event.follow_ups)
            headers = [bytes(frame) for frame in replies[::2]]
            for header, entry in zip(headers, dispatch.entries, strict=True):
                for code, count in failures_by_code(header, entry.item_count).items():
                    self.counters[f"answered {code}"] += count
        except (ValueError, TypeError, IndexError) as error:
            self._fail_malformed(worker, dispatch, str(error))
            return
        if not timed_out:
            worker.pool.observe(dispatch, now)
            worker.pool.breaker.record_success(dispatch.started, now)
        for index, (entry, header, body) in enumerate(zip(dispatch.entries, headers, replies[1::2], strict=True)):
            if dispatch.operation in MAY_OWE and leaves_open(header):
                self._report_lost(entry, "what was executed of it is not known")
            if entry.state is ANSWERED:
                self.counters["late"] += entry.weight
            elif index in parts:
                self.ledger.await_parts(entry, FollowUpFanIn(parts[index], header, body))
            else:
                self.ledger.answer(entry, retried_header(header) if entry.retried else header, body)
        for entry in owed:
            self.ledger.owe(entry)
        if timed_out and worker.pool.breaker.is_current(dispatch.started):
            self._trip(worker.pool, now)
        self._release(worker)

    def _on_malformed(self, event: WorkerMalformed) -> None:
        """Whatever it was meant to be: who holds a dispatch and talks nonsense will not answer it."""
        worker = self.workers.get(event.worker)
        if worker is None or worker.dispatch is None:
            self.counters["malformed"] += 1
            return
        self._fail_malformed(worker, worker.dispatch, event.reason)

    def _on_lost(self, event: WorkerLost, now: int) -> None:
        """What it held is answered at once."""
        identity, reason = event
        worker = self.workers.pop(identity, None)
        if worker is None:
            return
        pool = worker.pool
        pool.remove_worker(worker, now)
        if worker.dispatch is None:
            return
        if pool.breaker.is_open:
            pool.breaker.trip(now)
        for entry in worker.dispatch.entries:
            if entry.state is ANSWERED:
                continue
            if pool.kind.repeatable and not entry.retried and entry.deadline > now:
                self.ledger.retry(entry)
            else:
                self.ledger.fail(entry, codes.WORKER_CRASHED, f"its worker {reason}")
        self._report_all_lost(worker.dispatch, reason)
        self._release(worker)

    def terminate(self, identity: bytes, reason: str) -> None:
        """The worker is to be ended: it is stopped, wedged, or answers nonsense."""
        worker = self.workers.get(identity)
        if worker is None or worker.terminating:
            return
        worker.terminating = True
        worker.pool.idle.pop(worker, None)
        self.counters["condemned"] += 1
        self.actions.append(Terminate(identity, reason))

    def retire(self, identity: bytes) -> None:
        """The worker gets no more work, and is told to end when what it holds is done."""
        worker = self.workers.get(identity)
        if worker is None or worker.retiring:
            return
        worker.retiring = True
        if worker.dispatch is None:
            worker.pool.idle.pop(worker, None)
            self._release(worker)

    def _fail_malformed(self, worker: Worker, dispatch: Dispatch, reason: str) -> None:
        """A worker whose answer can't be read: its items are answered, and it is replaced."""
        self.counters["malformed"] += 1
        for entry in dispatch.entries:
            if entry.state is not ANSWERED:
                self.ledger.fail(entry, codes.INTERNAL, f"its worker's answer can't be read: {reason}")
        self._report_all_lost(dispatch, f"answered nonsense: {reason}")
        self.terminate(worker.identity, f"answers nonsense: {reason}")
        self._release(worker)

    def _report_all_lost(self, dispatch: Dispatch, reason: str) -> None:
        """Follow-up work that the dispatch may have led to is lost, also that of requests that expired meanwhile."""
        if dispatch.operation in MAY_OWE:
            for entry in dispatch.entries:
                self._report_lost(entry, f"its worker {reason}")

    def _report_lost(self, entry: Entry, reason: str) -> None:
        self.counters["lost_requests"] += 1
        self.actions.append(LostRequest(entry.operation, entry.body, reason))

    def _release(self, worker: Worker) -> None:
        """What the worker held, if anything, is done with; it may have more."""
        worker.dispatch = None
        if worker.terminating or worker.identity not in self.workers:
            return
        if worker.retiring:
            self.actions.append(Instruct(worker.identity, [STOP]))
        else:
            worker.pool.idle[worker] = None

    # ---- handing out

    def dispatch(self, now: int) -> None:
        """Hands to the idle workers what is queued: everything there is for one operation, up to the batch limit."""
        for pool in self.pools.values():
            while pool.idle and pool.queue:
                if pool.kind.has_follow_ups and self.ledger.owed >= self._owed_limit:
                    break
                taken = pool.take(self._batch_limit, now)
                if not taken:
                    break
                entries = [entry for entry in taken if entry.deadline > now or entry.is_owed]
                if len(entries) < len(taken):
                    self._expire_taken([entry for entry in taken if not entry.is_owed and entry.deadline <= now])
                if entries:
                    self._hand_out(pool, entries, now)

    def _expire_taken(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.ledger.fail(entry, DEADLINE_EXCEEDED, "expired in the queue")

    def _hand_out(self, pool: Pool, entries: list[Entry], now: int) -> None:
        worker = next(iter(pool.idle))
        del pool.idle[worker]
        self._dispatches += 1
        dispatch = worker.dispatch = Dispatch(self._dispatches, entries[0].operation, entries, now)
        for entry in entries:
            entry.to(DISPATCHED)
        assignments = [Assignment(entry.deadline, entry.item_count, entry.flags, entry.only_item) for entry in entries]
        head = pack_dispatch(dispatch.number, dispatch.operation, assignments)
        pool.dispatches += 1
        pool.dispatched += dispatch.weight
        self.counters["dispatches"] += 1
        self.counters["dispatched"] += dispatch.weight
        self.actions.append(Instruct(worker.identity, [DISPATCH, head, *[entry.body for entry in entries]]))

    # ---- time, and the end

    def sweep(self, now: int) -> bool:
        """Answers what is due, finds wedged workers, and answers for pools that have none. Returns whether more is due:
        what one sweep answers is bounded."""
        expired = self.ledger.take_expired(now, self._slice)
        for entry in expired:
            message = "expired in the queue" if entry.state is QUEUED else "expired in execution"
            self.ledger.give_up(entry, DEADLINE_EXCEEDED, message)
        if len(expired) == self._slice:
            return True
        for worker in self.workers.values():
            dispatch = worker.dispatch
            if dispatch is not None and not worker.terminating and now - dispatch.started > self._execution_limit_us:
                self._trip(worker.pool, now)
                self.terminate(worker.identity, f"has been busy with {dispatch.operation} for too long")
        for pool in self.pools.values():
            if pool.queue and pool.is_workerless_for_too_long(now) and not self._evictions.is_under_way(pool):
                self._evictions.begin(pool, codes.UNAVAILABLE, f"pool {pool.name} has no worker", WORKER_BACK_MS)
        return self._evictions.go_on(self._slice)

    def _trip(self, pool: Pool, now: int) -> None:
        """Its store does not answer: one probe at a time is to find out when it does, and nobody waits for that."""
        pool.breaker.trip(now)
        self._evictions.begin(pool, codes.UNAVAILABLE, f"pool {pool.name}: its store does not answer")
        self._evictions.go_on(self._slice)

    def drain(self) -> None:
        """From now on requests are refused; what is pending is finished."""
        self.draining = True

    def end(self) -> None:
        """The time to drain is over: what is left is answered; what is owed, now or by a late answer, is in doubt."""
        self.ledger.close()

    def report(self) -> dict[str, Any]:
        """What `utxod status` shows of the broker."""
        return {
            "epoch": self.epoch,
            "draining": self.draining,
            "pending": self.pending,
            "owed": self.ledger.owed,
            "pools": {name: pool.report() for name, pool in self.pools.items()},
            "counters": dict(self.counters),
        }
