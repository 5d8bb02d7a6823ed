"""`utxod explain`: what became of a request, from its daemon's receipts: when it came, who had it, what was answered;
and whether it was executed, with the reason, and what to do next."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from broker.receipts.reading import Found, Receipts
from protocol import codes

from .fate import MIXED, NO, UNKNOWN, YES, Held, Reply, Request, Verdict, requests_of
from .plurals import many

# Of what there may be many, so many are shown.
_SHOWN: Final = 10
_READS: Final = ("get", "outpoint", "utxo")
# What can't be asked again for an answer whether it was executed.
_ONCE: Final = ("freeze", "unfreeze", "reassign", "increment")
_OF_OUTPUTS: Final = ("spend", "unspend", "outpoint", "utxo", "freeze", "unfreeze", "reassign")
_WORDS: Final = {YES: "yes", NO: "no", UNKNOWN: "not known", MIXED: "some of it"}

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class Judged(NamedTuple):
    """A request with what became of its items: of one that was asked for, or of all. singled_out: by item, those that
    differ, or may. executed: YES, NO, UNKNOWN, or MIXED."""

    request: Request
    item: int
    executed: str
    reason: str
    counts: Counter[str]
    singled_out: dict[int, Verdict]


class Explained(NamedTuple):
    """request_id: 16 bytes. item: that was asked for, or None. directory: where its receipts were looked for."""

    request_id: bytes
    item: int | None
    directory: Path
    found: Found
    judged: list[Judged]

    @property
    def is_found(self) -> bool:
        return bool(self.judged)

    @property
    def executed(self) -> str:
        """Of all requests that bear the id."""
        told = {each.executed for each in self.judged}
        return told.pop() if len(told) == 1 else UNKNOWN

    @property
    def reason(self) -> str:
        if not self.judged:
            return _why_not_found(self.found, self.directory)
        if len(self.judged) > 1:
            return f"{len(self.judged)} requests bear this id: see each"
        return self.judged[0].reason

    def as_json(self) -> dict[str, Any]:
        """The same keys for every request."""
        coverage = self.found.coverage
        return {
            "request_id": self.request_id.hex(),
            "item": self.item,
            "executed": self.executed,
            "reason": self.reason,
            "next": next_steps(self),
            "requests": [_request_as_json(each, self.found) for each in self.judged],
            "receipts": coverage
            and {
                "since": _moment(coverage.since),
                "until": _moment(coverage.until),
                "gaps": [[_moment(begin), _moment(end)] for begin, end in coverage.gaps],
            },
        }

    def as_text(self) -> list[dict[str, list[str]]]:
        """Lines for a person, by what they are about; for each request, and for all."""
        shown = [_request_as_text(each, self.found) for each in self.judged[-_SHOWN:]]
        hidden = len(self.judged) - len(shown)
        whole = {"next": next_steps(self)}
        if len(self.judged) != 1:
            whole = {"executed": [f"{_WORDS[self.executed]}: {self.reason}"], **whole}
        if hidden:
            whole["earlier"] = [f"{many(hidden, 'request')} more with this id; --json has all"]
        return [*shown, whole]


def explain(directory: Path, request_id: bytes, item: int | None, progress: Progress) -> Explained:
    """directory: of the receipts. item: its index in the request, or None for all. Raises OSError."""
    with Receipts(directory) as receipts, progress("searching", receipts.size) as read:
        found = receipts.find(request_id, read)
    return judge(directory, request_id, item, found)


def judge(directory: Path, request_id: bytes, item: int | None, found: Found) -> Explained:
    """As `explain`, of what was found."""
    return Explained(request_id, item, directory, found, [_judge(each, item) for each in requests_of(found)])


def next_steps(explained: Explained) -> list[str]:
    """What its submitter does now."""
    if not explained.judged:
        return ["ask again, where that is safe (docs/protocol.md, Asking again); or look: utxod coin, utxod show"]
    last = explained.judged[-1]
    operation = last.request.operation
    look = _look(operation)
    if explained.item is not None and last.request.lacks(explained.item):
        return ["name an item that it has, the first of which is 0, or none for all"]
    if explained.executed == NO:
        return _advice(last) or ["ask again: nothing of it was executed"]
    if operation in _READS:
        return ["ask again: a read changes nothing"]
    if explained.executed == YES:
        return [f"nothing: it is done; to see it: {look}"]
    wait = "explain it once more in a moment: a worker may have it still"
    steps = [wait] if any(each.request.may_be_told_yet for each in explained.judged) else []
    if operation in _ONCE:
        return [*steps, f"look before you ask again, as it would be done once more: {look}"]
    if not operation:
        return [*steps, f"look: {look}"]
    return [*steps, f"ask again: that is safe, and tells; or look: {look}"]


def _advice(judged: Judged) -> list[str]:
    """What becomes of a request of which nothing was executed, by each code that says so."""
    request = judged.request
    told = [request.late(item) or request.reply(item) for item in (judged.item, *judged.singled_out)]
    found = dict.fromkeys(reply.code for reply in told if reply and reply.executed == NO)
    meanings = {**codes.FAULT_MEANINGS, **codes.REJECTION_MEANINGS}
    steps = [f"{code}: {meanings[code].advice.replace('`', '')}" for code in found if code in meanings]
    if codes.REJECTIONS & found.keys():
        steps.append(f"to see what there is: {_look(request.operation)}")
    return steps


def _look(operation: str) -> str:
    if operation == "increment":
        return "utxod get TXID (spentExtraRecs)"
    return "utxod coin TXID:VOUT" if operation in _OF_OUTPUTS else "utxod show TXID"


def _judge(request: Request, item: int | None) -> Judged:
    if item is not None:
        executed, reason = request.judge(item)
        return Judged(request, item, executed, reason, Counter({executed: 1}), {})
    singled_out = {each: request.judge(each) for each in request.singled_out()}
    others = max(request.items, 1) - len(singled_out)
    ordinary = next((each for each in range(len(singled_out) + 1) if each not in singled_out), 0)
    counts = Counter(verdict.executed for verdict in singled_out.values())
    verdict = request.judge(ordinary) if others > 0 else next(iter(singled_out.values()))
    if others > 0:
        counts[verdict.executed] += others
    if len(counts) == 1:
        return Judged(request, ordinary, verdict.executed, verdict.reason, counts, singled_out)
    told = ", ".join(f"{_WORDS[executed]}: {counts[executed]:,}" for executed in (YES, NO, UNKNOWN) if counts[executed])
    return Judged(request, ordinary, MIXED, f"of {many(request.items, 'item')} {told}", counts, singled_out)


def _why_not_found(found: Found, directory: Path) -> str:
    coverage, blank = found.coverage, " and ".join(path.name for path in found.blank)
    if coverage is None:
        why = (
            f"nothing stands in {blank}; the daemon's log says why (receipts can't be written)"
            if blank
            else "is that the daemon's `state` (utxod status), and its receipts_bytes not 0?"
        )
        return f"there are no receipts in {directory}: {why}"
    text = (
        "nothing is known of it here: it was sent to another daemon, or never came, or waits still, or waited when the "
        "daemon was killed, or its receipts have been overwritten. "
        f"They reach from {_moment(coverage.since)} to {_moment(coverage.until)}"
    )
    missing = [f"nothing stands in {blank}, where a daemon was to keep its own"] if blank else []
    if coverage.gaps:
        listed = ", ".join(f"{_moment(begin)} to {_moment(end)}" for begin, end in coverage.gaps[-_SHOWN:])
        missing.append(f"{many(len(coverage.gaps), 'gap')} ({listed})")
    if missing:
        return f"{text}, and are not whole: {'; '.join(missing)}"
    return (
        f"{text}, and are whole: if it was sent in that time to a daemon that keeps its receipts here, it was handed "
        "to no worker by then"
    )


# ---- of one request


def _request_as_json(judged: Judged, found: Found) -> dict[str, Any]:
    request = judged.request
    answered, late = request.reply(judged.item), request.late(judged.item)
    daemon = found.daemons.get(request.epoch)
    return {
        "daemon_pid": daemon.pid if daemon else 0,
        "epoch": f"{request.epoch:016x}",
        "operation": request.operation,
        "items": request.items,
        "came": _moment(request.came),
        "dispatches": [_held_as_json(held) for held in [*request.held, *request.parts]],
        "answered": answered and _reply_as_json(answered),
        "late": late and _reply_as_json(late),
        "executed": judged.executed,
        "reason": judged.reason,
        "items_executed": {executed: judged.counts[executed] for executed in (YES, NO, UNKNOWN)},
        "singled_out": [
            {"item": item, "executed": verdict.executed, "reason": verdict.reason}
            for item, verdict in judged.singled_out.items()
        ],
    }


def _held_as_json(held: Held) -> dict[str, Any]:
    execution = held.execution
    return {
        "number": execution.number,
        "operation": execution.operation,
        "pool": execution.pool,
        "worker_pid": execution.pid,
        "of_item": held.of_item,
        "waited_us": execution.handed - held.part.came,
        "handed": _moment(execution.handed),
        "done": _moment(execution.done),
        "store_us": execution.store_us if execution.done else None,
        "lost": _moment(execution.lost),
        "lost_because": execution.reason,
    }


def _reply_as_json(reply: Reply) -> dict[str, Any]:
    return {**reply._asdict(), "time": _moment(reply.time)}


def _request_as_text(judged: Judged, found: Found) -> dict[str, list[str]]:
    request = judged.request
    daemon = found.daemons.get(request.epoch)
    of = f", of daemon {daemon.pid} (version {daemon.version})" if daemon and daemon.pid else ""
    what = f"{request.operation or 'its operation is not kept'}, {many(request.items, 'item')}"
    lines = {"request": [what + of], "came": [_moment(request.came) or ""]}
    dispatches = [_held_as_text(held) for held in [*request.held, *request.parts]]
    lines["dispatches"] = dispatches[:_SHOWN] or ["none: no worker had it, as far as is known here"]
    if len(dispatches) > _SHOWN:
        lines["dispatches"].append(f"and {len(dispatches) - _SHOWN:,} more; --json has them")
    answered, late = request.reply(judged.item), request.late(judged.item)
    lines["answered"] = [_reply_as_text(answered) if answered else "no answer is known here"]
    if late is not None:
        lines["late"] = [_reply_as_text(late)]
    differing = [f"item {item}: {_WORDS[told.executed]}: {told.reason}" for item, told in judged.singled_out.items()]
    if judged.executed == MIXED:
        lines["items"] = differing[:_SHOWN]
        if len(differing) > _SHOWN:
            lines["items"].append(f"and {len(differing) - _SHOWN:,} more; --json has them")
    lines["executed"] = [f"{_WORDS[judged.executed]}: {judged.reason}"]
    return lines


def _held_as_text(held: Held) -> str:
    execution = held.execution
    what = f"worker {execution.pid} of pool {execution.pool}: dispatch {execution.number}"
    if held.of_item is not None:
        what += f" ({execution.operation}, for item {held.of_item})"
    what += (
        f", handed out {_moment(execution.handed)} after {_milliseconds(execution.handed - held.part.came)} in queue"
    )
    if execution.done:
        took = _milliseconds(execution.done - execution.handed)
        return f"{what}, done after {took}, {_milliseconds(execution.store_us)} of these in the store"
    if execution.lost:
        return f"{what}; at {_moment(execution.lost)} the worker {execution.reason}"
    return f"{what}; its end is not known here"


def _reply_as_text(reply: Reply) -> str:
    message = f": {reply.message}" if reply.message else ""
    if reply.code == codes.OK:
        return f"{_moment(reply.time)} by {reply.by}: OK{message}"
    return f"{_moment(reply.time)} by {reply.by}: {reply.code}, executed {reply.executed}{message}"


def _moment(microseconds: int) -> str | None:
    """Local time; None for 0."""
    if not microseconds:
        return None
    return datetime.fromtimestamp(microseconds / 1_000_000).astimezone().isoformat(" ", "milliseconds")


def _milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:,.1f} ms"
