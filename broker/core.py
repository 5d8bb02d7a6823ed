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
from collections.abc import Set as AbstractSet
from typing import Any, assert_never

from protocol import codes, wire
from protocol.codes import DEADLINE_EXCEEDED
from protocol.worker_wire import DISPATCH, STOP, Assignment, pack_dispatch

from .actions import Action, Cause, Instruct, LostRequest, Terminate
from .admission import WORKER_BACK_MS
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
from .figures.figures import Figures
from .follow_ups import follow_up_entries
from .ledger import Ledger
from .pool import Dispatch, Pool, Worker
from .receipts.recording import Recording
from .reception import Reception
from .reply_headers import ALL_WELL, Outcome, leaves_open, outcome_of, retried_header
from .scheduling import MAY_OWE, POOLS
from .settings import MICROSECONDS, BrokerSettings


class Core:
    """actions: what the events so far ask for; the driver takes them and carries them out in order. version: the
    daemon's own, told in the handshake. counters, figures: what those who watch are told; nothing is counted twice.
    receipts: are told what becomes of each request."""

    # Entries that one sweep answers, by their deadline or because there is no worker, before the loop goes on: 0.1 s.
    _slice = 10_000

    def __init__(
        self, settings: BrokerSettings, epoch: int, now: int, version: str = "", receipts: Recording | None = None
    ) -> None:
        self.epoch = epoch
        self.actions: list[Action] = []
        self.counters: Counter[str] = Counter()
        self.figures = Figures()
        self._receipts = receipts or Recording(epoch)
        self.workers: dict[bytes, Worker] = {}
        self.pools = {name: Pool(name, kind, settings, now) for name, kind in POOLS.items()}
        bucket_us = int(settings.sweep_seconds * MICROSECONDS)
        self.ledger = Ledger(self.pools, bucket_us, self.counters, self.figures.works, self._receipts, self.actions)
        welcome = wire.Welcome(epoch, now, settings.limits, version)
        self._reception = Reception(welcome, self.pools, self.ledger, self.figures, self._receipts, self.actions)
        self._batch_limit, self._owed_limit = settings.batch_limit, settings.owed_items
        self.judge_by(settings.execution_limit_seconds)
        self._dispatches = 0
        self._evictions = Evictions(self.ledger.give_up)

    # ---- what its driver asks

    @property
    def draining(self) -> bool:
        """Whether new requests are refused."""
        return self._reception.draining

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

    def dispatch_of(self, identity: bytes) -> int:
        """The number of the dispatch that the worker holds, 0 where it holds none."""
        worker = self.workers.get(identity)
        return worker.dispatch.number if worker and worker.dispatch else 0

    def in_hand(self, identity: bytes) -> tuple[int, str, int, bytes] | None:
        """Of the dispatch that the worker holds: its number, operation and items, and the ids of its requests, one
        after the other."""
        worker = self.workers.get(identity)
        dispatch = worker.dispatch if worker else None
        if dispatch is None:
            return None
        ids = b"".join([entry.request_id for entry in dispatch.entries])
        return dispatch.number, dispatch.operation, dispatch.weight, ids

    def state_of(self, identity: bytes) -> tuple[str, int] | None:
        """ "busy" or "ready", and since when, in microseconds; None where the worker is not ready."""
        worker = self.workers.get(identity)
        if worker is None:
            return None
        return ("busy", worker.dispatch.started) if worker.dispatch else ("ready", worker.idle_since)

    def take_actions(self) -> list[Action]:
        """Each is given once."""
        actions = self.actions.copy()
        self.actions.clear()
        self._reception.actions_taken()
        return actions

    # ---- events

    def handle(self, event: Event, now: int) -> None:
        """Applies one event; what follows from it is in `actions`. now: microseconds on the daemon's clock."""
        match event:
            case RequestReceived():
                self._reception.on_request(event, now)
            case WorkerDone():
                self._on_done(event, now)
            case WorkerReady():
                self._on_ready(event, now)
            case WorkerLost():
                self._on_lost(event, now)
            case WorkerMalformed():
                self._on_malformed(event, now)
            case HelloReceived():
                self._reception.on_hello(event, now)
            case StatusReceived():
                self._reception.on_status(event)
            case MalformedReceived():
                self._reception.on_malformed(event)
            case UnreadableReceived():
                self.counters["unreadable"] += 1
            case ReplyUndelivered():
                self.counters["undeliverable"] += max(1, event.item_count)
            case _:
                assert_never(event)

    # ---- of workers

    def _on_ready(self, event: WorkerReady, now: int) -> None:
        if event.worker not in self.workers:
            pool = self.pools[event.pool]
            worker = self.workers[event.worker] = Worker(event.worker, pool, event.pid, now)
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
            parts, owed = follow_up_entries(worker.pool, dispatch, event.follow_ups, now)
            headers = [bytes(frame) for frame in replies[::2]]
            outcomes = [
                outcome_of(header, entry.item_count) for header, entry in zip(headers, dispatch.entries, strict=True)
            ]
        except (ValueError, TypeError, IndexError) as error:
            self._fail_malformed(worker, dispatch, str(error), now)
            return
        self.figures.works[dispatch.operation].stored.add(event.store_us)
        if event.ignored or event.dropped != worker.lines_dropped:
            self._note_defects(worker, event)
        self._receipts.done(dispatch.number, now, event.store_us, outcomes, parts)
        if not timed_out:
            worker.pool.observe(dispatch, now)
            worker.pool.breaker.record_success(dispatch.started, now)
        answers = zip(dispatch.entries, headers, replies[1::2], outcomes, strict=True)
        for index, (entry, header, body, outcome) in enumerate(answers):
            if outcome is not ALL_WELL:
                self._note_failures(entry, header, outcome)
            if entry.state is ANSWERED:
                self.counters["late"] += entry.weight
            elif index in parts:
                self.ledger.await_parts(entry, FollowUpFanIn(parts[index], header, body))
            else:
                self.ledger.answer(entry, retried_header(header) if entry.retried else header, body, outcome)
        for entry in owed:
            self.ledger.owe(entry)
        if timed_out and worker.pool.breaker.is_current(dispatch.started):
            self._trip(worker.pool, now)
        self._end(worker, dispatch, now)

    def _note_failures(self, entry: Entry, header: bytes, outcome: Outcome) -> None:
        """A worker says that not all is well, whether anybody still waits for it or not."""
        for code, count in outcome.failed.items():
            self.counters[f"answered {code}"] += count
        if entry.operation in MAY_OWE and leaves_open(header):
            self._report_lost(entry, "what was executed of it is not known")

    def _note_defects(self, worker: Worker, event: WorkerDone) -> None:
        """What a worker tells of itself."""
        self.figures.double_results += event.ignored
        self.figures.worker_lines_dropped += max(0, event.dropped - worker.lines_dropped)
        worker.lines_dropped = event.dropped

    def _on_malformed(self, event: WorkerMalformed, now: int) -> None:
        """Whatever it was meant to be: who holds a dispatch and talks nonsense will not answer it."""
        worker = self.workers.get(event.worker)
        if worker is None or worker.dispatch is None:
            self.counters["malformed"] += 1
            return
        self._fail_malformed(worker, worker.dispatch, event.reason, now)

    def _on_lost(self, event: WorkerLost, now: int) -> None:
        """What it held is answered at once."""
        identity, reason = event
        worker = self.workers.pop(identity, None)
        if worker is None:
            return
        pool = worker.pool
        pool.remove_worker(worker, now)
        dispatch = worker.dispatch
        if dispatch is None:
            return
        self._receipts.lost(dispatch.number, now, worker, reason)
        if pool.breaker.is_open:
            pool.breaker.trip(now)
        for entry in dispatch.entries:
            if entry.state is ANSWERED:
                continue
            if pool.kind.repeatable and not entry.retried and entry.deadline > now:
                self.ledger.retry(entry)
            else:
                self.ledger.fail(entry, codes.WORKER_CRASHED, f"its worker {reason}")
        self._report_all_lost(dispatch, reason)
        self._end(worker, dispatch, now)

    def terminate(self, identity: bytes, cause: Cause, reason: str) -> None:
        """The worker is to be ended. reason: the cause in words."""
        worker = self.workers.get(identity)
        if worker is None or worker.terminating:
            return
        worker.terminating = True
        worker.pool.idle.pop(worker, None)
        self.counters["condemned"] += 1
        self.actions.append(Terminate(identity, cause, reason))

    def retire(self, identity: bytes) -> None:
        """The worker gets no more work, and is told to end when what it holds is done."""
        worker = self.workers.get(identity)
        if worker is None or worker.retiring:
            return
        worker.retiring = True
        if worker.dispatch is None:
            worker.pool.idle.pop(worker, None)
            self._release(worker)

    def _fail_malformed(self, worker: Worker, dispatch: Dispatch, reason: str, now: int) -> None:
        """A worker whose answer can't be read: its items are answered, and it is replaced."""
        self.counters["malformed"] += 1
        self._receipts.lost(dispatch.number, now, worker, f"answered nonsense: {reason}")
        for entry in dispatch.entries:
            if entry.state is not ANSWERED:
                self.ledger.fail(entry, codes.INTERNAL, f"its worker's answer can't be read: {reason}")
        self._report_all_lost(dispatch, f"answered nonsense: {reason}")
        self.terminate(worker.identity, "nonsense", f"answers nonsense: {reason}")
        self._end(worker, dispatch, now)

    def _report_all_lost(self, dispatch: Dispatch, reason: str) -> None:
        """Follow-up work that the dispatch may have led to is lost, also that of requests that expired meanwhile."""
        if dispatch.operation in MAY_OWE:
            for entry in dispatch.entries:
                self._report_lost(entry, f"its worker {reason}")

    def _report_lost(self, entry: Entry, reason: str) -> None:
        self.counters["lost_requests"] += 1
        self.actions.append(LostRequest(entry.operation, entry.body, reason))

    def _end(self, worker: Worker, dispatch: Dispatch, now: int) -> None:
        """What the worker held is done with; it may have more."""
        self.figures.works[dispatch.operation].executed.add(now - dispatch.started)
        worker.dispatch, worker.idle_since = None, now
        self._release(worker)

    def _release(self, worker: Worker) -> None:
        """A worker that holds nothing may have more."""
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
                taken, reason = pool.take(self._batch_limit, now)
                if not taken:
                    break
                entries = [entry for entry in taken if entry.deadline > now or entry.is_owed]
                if len(entries) < len(taken):
                    self._expire_taken([entry for entry in taken if not entry.is_owed and entry.deadline <= now])
                if entries:
                    self._hand_out(pool, entries, reason, now)

    def _expire_taken(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.ledger.fail(entry, DEADLINE_EXCEEDED, "expired in the queue")

    def _hand_out(self, pool: Pool, entries: list[Entry], reason: str, now: int) -> None:
        worker = next(iter(pool.idle))
        del pool.idle[worker]
        self._dispatches += 1
        dispatch = worker.dispatch = Dispatch(self._dispatches, entries[0].operation, entries, now)
        for entry in entries:
            entry.to(DISPATCHED)
        assignments = [Assignment(entry.deadline, entry.item_count, entry.flags, entry.only_item) for entry in entries]
        request_ids = b"".join([entry.request_id for entry in entries])
        head = pack_dispatch(dispatch.number, dispatch.operation, assignments, request_ids)
        pool.dispatches += 1
        pool.dispatched += dispatch.weight
        waits = [now - entry.arrived for entry in entries]
        self._receipts.dispatched(dispatch, worker, request_ids, waits)
        self.figures.works[dispatch.operation].begins(reason, dispatch.weight, waits)
        self.actions.append(Instruct(worker.identity, [DISPATCH, head, *[entry.body for entry in entries]]))

    # ---- what is changed while it serves

    def change(self, settings: BrokerSettings) -> None:
        """How much is handed out at once, and may wait, and for how long, from now on. The limits that submitters are
        told in the handshake stay, as does how often the core is swept."""
        self._batch_limit, self._owed_limit = settings.batch_limit, settings.owed_items
        for pool in self.pools.values():
            pool.change(settings)

    def judge_by(self, execution_limit_seconds: float) -> None:
        """A worker that is busy with one dispatch for longer counts as wedged."""
        self._execution_limit_us = int(execution_limit_seconds * MICROSECONDS)

    # ---- time, and the end

    def sweep(self, now: int) -> bool:
        """Answers what is due, finds wedged workers, and answers for pools that have none. Returns whether more is due:
        what one sweep answers is bounded."""
        self._reception.sweep()
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
                self.terminate(worker.identity, "wedged", f"has been busy with {dispatch.operation} for too long")
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
        self._reception.draining = True

    def end(self) -> None:
        """The time to drain is over: what is left is answered; what is owed, now or by a late answer, is in doubt."""
        self.ledger.close()

    def report(self, now: int) -> dict[str, Any]:
        """What is told of the broker to those who watch; as protocol.md says of REPORT."""
        return {
            "epoch": self.epoch,
            "draining": self.draining,
            "pending": self.pending,
            "owed": self.ledger.owed,
            "pools": {name: pool.report(now) for name, pool in self.pools.items()},
            "log_lines_dropped": {"workers": self.figures.worker_lines_dropped},
            "counters": self._counters(),
            "figures": self.figures.as_map(self.counters),
        }

    def _counters(self) -> dict[str, int]:
        """With those that follow from the figures, where they are not 0."""
        pools = self.pools.values()
        derived = {
            "admitted": self.ledger.admitted,
            "answered": self.figures.items_answered,
            "dispatches": sum(pool.dispatches for pool in pools),
            "dispatched": sum(pool.dispatched for pool in pools),
            **{f"refused {code}": count for code, count in self.figures.items_refused().items()},
        }
        return self.counters | {name: count for name, count in derived.items() if count}
