"""The lines of the log: on standard error, one for each event, the same of the daemon and of all processes of its.

    text   2026-01-31 23:59:59,123 ERROR write worker 4711: what has happened
    json   {"time", "level", "logger", "message", "process", "pid"}, "traceback" where there is one, and what the event
           is about, where that is known: "pool", "worker" (its pid), "dispatch", "operation", "items", "requests"

What breaks a line is escaped in a message. A traceback is part of its event: lines that begin with blanks, or a field.
Where standard error is the journal's (systemd), a line begins with its priority, as in <6>, which stands for time and
level. What an interpreter or a thread writes before it ends, and warnings, are events, too. Not made here, and raw:
what is written of a crash in C (SIGSEGV), and what libraries in C write.

A process can follow another: two bytes of memory that both share say at which level and in which form that one logs, by
now. Nobody waits for anybody.
"""

import json
import logging
import os
import sys
import threading
from datetime import datetime
from typing import Any, Final, TextIO

from protocol.wire import REQUEST_ID_BYTES

LEVEL_VARIABLE: Final = "UTXOD_LOG_LEVEL"
FORMAT_VARIABLE: Final = "UTXOD_LOG_FORMAT"
# Of the memory that is followed.
FOLLOW_VARIABLE: Final = "UTXOD_LOG_DESCRIPTOR"
JSON: Final = "json"

log = logging.getLogger("utxod.log")

# Of syslog(3), by the least level of ours that it stands for.
_PRIORITIES: Final = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
# So many requests of a dispatch are named; of the others it is told how many there are.
_NAMED: Final = 3
_INDENT: Final = "    "
# A line that is cut off would be no JSON: this fits in what is passed on as one (nonblocking_stderr.py), whatever is
# escaped in it.
_MOST_BYTES: Final = 30_000
_CUT_CHARACTERS: Final = 2_000
_OF_EVERY_RECORD: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class _Formatter(logging.Formatter):
    """who: what kind of process writes it; empty for the daemon."""

    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = who
        self._is_journal = _goes_to_the_journal()

    def _priority(self, record: logging.LogRecord) -> str:
        """What the journal takes off a line, and knows its level by."""
        if not self._is_journal:
            return ""
        return f"<{next((number for level, number in _PRIORITIES.items() if record.levelno >= level), 7)}>"

    def _traceback(self, record: logging.LogRecord) -> str:
        parts = [self.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
        return "\n".join([*parts, *filter(None, [record.stack_info])])


class _Text(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        priority = self._priority(record)
        begin = priority or f"{self.formatTime(record)} {record.levelname} "
        who = f"{self._who} {record.process}: " if self._who else ""
        lines = [f"{begin}{who}{_printable(message_of(record))}"]
        lines += (f"{priority}{_INDENT}{_printable(line)}" for line in self._traceback(record).splitlines())
        return "\n".join(lines)


class _Json(_Formatter):
    """fields: of each line."""

    def __init__(self, who: str, fields: dict[str, Any]) -> None:
        super().__init__(who)
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        about = {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        event = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message_of(record),
            "process": self._who or "daemon",
            "pid": record.process,
            **self._fields,
            **about,
        }
        if traceback := self._traceback(record):
            event["traceback"] = traceback
        line = _as_json(event)
        if len(line.encode(errors="backslashreplace")) > _MOST_BYTES:
            event = {name: value for name, value in event.items() if name not in about}
            event["message"] = event["message"][:_CUT_CHARACTERS] + "..."
            event |= {"traceback": "..." + traceback[-_CUT_CHARACTERS:]} if traceback else {}
            line = _as_json(event)
        return self._priority(record) + line


class _Follower(logging.StreamHandler[TextIO]):
    """Of a process that logs like the one that `tell`s at the descriptor. formatters: for text, and for JSON."""

    def __init__(self, descriptor: int, formatters: tuple[_Formatter, _Formatter]) -> None:
        super().__init__(sys.stderr)
        self._descriptor = descriptor
        self._formatters = formatters

    def filter(self, record: logging.LogRecord) -> bool:
        level, is_json = os.pread(self._descriptor, 2, 0)
        self.setFormatter(self._formatters[is_json])
        return record.levelno >= level


def set_up(level: str, form: str, who: str = "", **fields: Any) -> None:
    """From now on. level: debug, info, warning or error. form: text or json. who: what kind of process this is, empty
    for the daemon. fields: of each line, where lines have fields."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(who, fields) if form == JSON else _Text(who))
    _handle_by(handler, level)


def _handle_by(handler: logging.Handler, level: str) -> None:
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, error, trace: log.critical("ends by a defect", exc_info=(kind, error, trace))
    sys.unraisablehook = lambda what: log.error("a defect in %s", _name(what.object), exc_info=what.exc_value)
    threading.excepthook = lambda what: log.error("a thread ends by a defect", exc_info=what.exc_value)


def set_level(level: str) -> None:
    """The least that is logged."""
    logging.getLogger().setLevel(level.upper())


def level() -> str:
    """The least that is logged."""
    return logging.getLevelName(logging.getLogger().level).lower()


def environment() -> dict[str, str]:
    """For a process that this one starts, so that its lines are like these."""
    return {LEVEL_VARIABLE: level(), FORMAT_VARIABLE: JSON if _is_json() else "text"}


def tell(descriptor: int) -> None:
    """Those who follow there log like this process. descriptor: of memory, which takes it at once."""
    os.pwrite(descriptor, bytes([logging.getLogger().level, _is_json()]), 0)


def set_up_as_told(who: str, **fields: Any) -> None:
    """In a process that was started with `environment`; as `set_up`. Where it is to follow, it does from now on."""
    if descriptor := os.environ.get(FOLLOW_VARIABLE):
        _handle_by(_Follower(int(descriptor), (_Text(who), _Json(who, fields))), "notset")
    else:
        set_up(os.environ.get(LEVEL_VARIABLE, "info"), os.environ.get(FORMAT_VARIABLE, "text"), who, **fields)


def name_requests(request_ids: bytes) -> tuple[list[str], str]:
    """A few of them, in hex, and all of them in words. request_ids: one after the other; follow-ups may repeat one, and
    owed work has none: zeros."""
    size = REQUEST_ID_BYTES
    distinct = dict.fromkeys(request_ids[at : at + size] for at in range(0, len(request_ids), size))
    distinct.pop(bytes(size), None)
    named = [each.hex() for each in list(distinct)[:_NAMED]]
    more = f" and {len(distinct) - _NAMED} more" if len(distinct) > _NAMED else ""
    return named, f"requests {', '.join(named)}{more}" if named else "owed work"


def message_of(record: logging.LogRecord) -> str:
    """With its arguments, where they fit."""
    try:
        return record.getMessage()
    except Exception:  # it is told all the same
        return f"{record.msg} (with arguments that do not fit)"


def _is_json() -> bool:
    return any(isinstance(handler.formatter, _Json) for handler in logging.getLogger().handlers)


def _name(thing: object) -> str:
    """Without asking it: it may be half destroyed."""
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))


def _as_json(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _goes_to_the_journal() -> bool:
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
