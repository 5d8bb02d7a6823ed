"""Receives what submitters send: a request is admitted, or refused at once; who says hello is told the limits; all who
ask for the report before it is made share one. However often they ask, reports are made at a bounded rate: each costs
as much as many requests do, and is held for as long as somebody does not read it.
"""

from collections.abc import Hashable, Mapping
from typing import Final

from protocol import codes, wire
from protocol.codes import NO
from protocol.wire import Error, Limits

from .actions import Action, ReportWanted, Send, reply
from .admission import no_room, unacceptable
from .entry import Entry
from .events import HelloReceived, MalformedReceived, RequestReceived, StatusReceived
from .figures.figures import Figures
from .ledger import Ledger
from .pool import Pool
from .receipts.recording import Recording
from .scheduling import POOL_OF_REQUEST

# Reports that may be made one after the other; each sweep allows one more.
_REPORTS: Final = 100
# Who waits for the next sweep together: to answer them takes a turn's time.
_WAITING: Final = 1_000


class Reception:
    """welcome: what the handshake tells, but for the clock. draining: whether new requests are refused. The rest is the
    core's."""

    def __init__(
        self,
        welcome: wire.Welcome,
        pools: Mapping[str, Pool],
        ledger: Ledger,
        figures: Figures,
        receipts: Recording,
        actions: list[Action],
    ) -> None:
        self.draining = False
        self._epoch = welcome.epoch
        self._limits: Limits = welcome.limits
        self._version = welcome.version
        self._pools = pools
        self._ledger = ledger
        self._figures = figures
        self._receipts = receipts
        self._actions = actions
        self._askers: list[tuple[Hashable, bytes]] = []  # of the next report
        self._is_wanted = False  # that one is among the actions
        self._reports_allowed = _REPORTS

    def on_request(self, event: RequestReceived, now: int) -> None:
        """What can't be admitted is answered at once. now: microseconds on the daemon's clock."""
        submitter, request_id, header, body = event
        _, operation, deadline, count, flags = header
        error = unacceptable(header, len(body), self._limits, self._epoch, now)
        if error is None and self.draining:
            error = Error(codes.SHUTTING_DOWN, NO, "the daemon is shutting down")
        if error is None:
            pool = self._pools[POOL_OF_REQUEST[operation]]
            error = no_room(pool, submitter, count, len(body), now)
        if error is not None:
            self._refuse(submitter, request_id, error, count, operation)
            return
        entry = Entry(
            operation=operation,
            pool=pool.name,
            deadline=deadline,
            weight=count,
            body=body,
            arrived=now,
            submitter=submitter,
            request_id=request_id,
            flags=flags,
        )
        self._ledger.admit(entry)

    def on_malformed(self, event: MalformedReceived) -> None:
        """It has an id, and so an answer."""
        self._refuse(event.submitter, event.request_id, Error(event.code, NO, event.message))

    def on_hello(self, event: HelloReceived, now: int) -> None:
        """Is answered with the welcome."""
        welcome = wire.pack_welcome(wire.Welcome(self._epoch, now, self._limits, self._version))
        frames = [wire.pack_prefix(wire.WELCOME, event.request_id), welcome]
        self._actions.append(Send(event.submitter, frames, 0))

    def on_status(self, event: StatusReceived) -> None:
        """All who ask before the report is made share it."""
        self._askers.append((event.submitter, event.request_id))
        if self._reports_allowed or len(self._askers) >= _WAITING:
            self._want_report()

    def sweep(self) -> None:
        """Who had to wait for the report gets it."""
        self._reports_allowed = min(self._reports_allowed + 1, _REPORTS)
        if self._askers:
            self._want_report()

    def actions_taken(self) -> None:
        """The report that was wanted is made: who asks now wants another."""
        if self._is_wanted:
            self._askers, self._is_wanted = [], False

    def _want_report(self) -> None:
        if not self._is_wanted:
            self._is_wanted = True
            self._reports_allowed = max(0, self._reports_allowed - 1)
            self._actions.append(ReportWanted(self._askers))

    def _refuse(
        self, submitter: Hashable, request_id: bytes, error: Error, count: int = 0, operation: str = ""
    ) -> None:
        item_count = min(max(1, count), self._limits.max_items)  # a refused header may claim to hold anything
        self._figures.refused(POOL_OF_REQUEST.get(operation, ""), error.code, item_count)
        self._receipts.refused(request_id, error, operation, item_count)
        self._actions.append(reply(submitter, request_id, wire.error_header(error, count), wire.EMPTY_BODY, item_count))
