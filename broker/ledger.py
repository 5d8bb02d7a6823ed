"""The ledger: every entry that is owed an answer, and how each comes to its one answer.

An entry is in the ledger from its admission to its answer, and nowhere else afterwards: its removal is what makes a
second answer impossible. Parts are not in it: they hang on the entry that waits for them, and are dropped with it, so
that nothing is executed for an answer that has gone out. *Owed* work has nobody waiting: it is never refused and never
expires, and where its outcome is not known its key is reported as in doubt.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from protocol import codes, wire
from protocol.codes import DEADLINE_EXCEEDED, UNKNOWN
from protocol.wire import Error

from .actions import Action, InDoubt, reply
from .deadlines import Deadlines
from .entry import ANSWERED, AWAITING_PARTS, QUEUED, Body, Entry, FanIn
from .fan_in import ReadFanIn
from .figures.work import Work
from .follow_ups import single_reads
from .pool import Pool
from .receipts.recording import Recording
from .reply_headers import ALL_WELL, Outcome, failed_as_a_whole, outcome_of, part_error


class Ledger:
    """pools: where entries wait, by name. counters, works, receipts, actions: the core's. owed: pieces of owed work.
    admitted: items so far."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        bucket_us: int,
        counters: Counter[str],
        works: Mapping[str, Work],
        receipts: Recording,
        actions: list[Action],
    ) -> None:
        self.owed = 0
        self.admitted = 0
        self._pools = pools
        self._counters = counters
        self._works = works
        self._receipts = receipts
        self._actions = actions
        self._deadlines = Deadlines(bucket_us)
        self._closed = False

    def __len__(self) -> int:
        return len(self._deadlines)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._deadlines)

    # ---- in

    def admit(self, entry: Entry) -> None:
        """A request: from now on it is owed an answer."""
        self.admitted += entry.weight
        self._deadlines.add(entry)
        self._pools[entry.pool].queue.add(entry)

    def owe(self, entry: Entry) -> None:
        """Owed work; in doubt at once where the ledger is closed."""
        if self._closed:
            self._report_in_doubt(entry, "the daemon has shut down")
            return
        self.owed += 1
        self._deadlines.add(entry)
        self._pools[entry.pool].queue.add(entry)

    # ---- from state to state

    def await_parts(self, entry: Entry, fan_in: FanIn) -> None:
        """The entry's answer waits for parts, which are queued."""
        entry.to(AWAITING_PARTS)
        entry.fan_in = fan_in
        for part in fan_in.parts:
            self._pools[part.pool].queue.add(part)

    def retry(self, entry: Entry) -> None:
        """A read that lost its worker: dispatched once more, each of its items alone."""
        self._counters["read_again"] += entry.weight
        if entry.item_count == 1:
            entry.to(QUEUED)
            self._pools[entry.pool].queue.add(entry)
        else:
            self.await_parts(entry, ReadFanIn(single_reads(entry)))

    # ---- out

    def take_expired(self, now: int, most: int) -> list[Entry]:
        """Those whose deadline has come, up to so many; the caller answers them."""
        return self._deadlines.take_expired(now, most)

    def give_up(self, entry: Entry, code: str, message: str, retry_after: int = 0) -> None:
        """Answers an entry that waits, or that somebody holds. retry_after: milliseconds."""
        if entry.state is QUEUED:
            self._pools[entry.pool].queue.discard(entry)
        if code != DEADLINE_EXCEEDED and entry.executed == UNKNOWN:
            code = codes.WORKER_CRASHED  # The other codes say that nobody had it.
        self.fail(entry, code, message, retry_after)

    def fail(self, entry: Entry, code: str, message: str, retry_after: int = 0) -> None:
        """Answers an entry that is in no queue with an error, because there is no answer of a worker."""
        self._counters[f"failed {code}"] += entry.weight
        self._receipts.given_up(entry, code, message)
        header = wire.error_header(Error(code, entry.executed, message, retry_after), entry.item_count)
        self.answer(entry, header, wire.EMPTY_BODY, failed_as_a_whole(code, entry.item_count))

    def answer(self, entry: Entry, header: Body, body: Body, outcome: Outcome) -> None:
        """The entry's one answer. outcome: what its header says. Parts that it no longer waits for are dropped."""
        entry.to(ANSWERED)
        fan_in, entry.fan_in = entry.fan_in, None
        for part in fan_in.parts if fan_in else ():
            self._drop(part)
        parent, entry.parent = entry.parent, None
        if parent is not None:
            self._resolve(parent, entry, part_error(bytes(header)), body)
            return
        self._deadlines.discard(entry)
        if entry.submitter is not None:
            work = self._works[entry.operation]
            if outcome is ALL_WELL:  # nearly every one
                work.well_items += entry.item_count
                work.well_requests += 1
            else:
                work.answered(entry.item_count, outcome)
            self._actions.append(reply(entry.submitter, entry.request_id, header, body, entry.weight))
            return
        self.owed -= 1
        error = part_error(bytes(header))
        if error is not None:
            self._report_in_doubt(entry, f"{error.code}: {error.message}")

    def close(self) -> None:
        """Answers everything; what is owed, now or later, is in doubt."""
        self._closed = True
        for entry in list(self):
            self.give_up(entry, codes.SHUTTING_DOWN, "the daemon shut down before it was executed, or answered")

    def _resolve(self, parent: Entry, part: Entry, error: Error | None, body: Body) -> None:
        fan_in = parent.fan_in
        if fan_in is not None:
            fan_in.resolve(part, error, body)
            if not fan_in.parts:
                header, body = fan_in.reply()
                outcome = outcome_of(header, parent.item_count)
                self._receipts.fanned_in(parent, outcome)
                self.answer(parent, header, body, outcome)

    def _drop(self, part: Entry) -> None:
        if part.state is QUEUED:
            self._pools[part.pool].queue.discard(part)
        part.to(ANSWERED)
        part.parent = None

    def _report_in_doubt(self, entry: Entry, reason: str) -> None:
        self._counters["in_doubt"] += 1
        self._actions.append(InDoubt(entry.key or b"", entry.operation, reason))
