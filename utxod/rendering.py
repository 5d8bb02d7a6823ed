"""What a person reads: tables and progress bars; and the same as JSON has it. Txids in display order, other bytes as
hex."""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import IO, Any, Final, cast

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from .screen import Screen
from .settings import describe

# A pipe has no width of its own; tables should not be cut to fit one.
PIPE_COLUMNS: Final = 120
# An empty line, and a cursor.
_NO_BAR: Final = "\x1b[2K\r\x1b[?25h"
# Of a list that may be long, so many are shown.
LISTED: Final = 10
# Of a daemon's report: maps of two values.
_IN_A_LINE: Final = ("descriptors", "log_lines_dropped")
# In its JSON only.
_FOR_PROGRAMS: Final = ("figures", "settings", "started_at", "queue_items", "queue_bytes")
# Bins of a record that hold txids, one or many.
_TXID_BINS: Final = ("txID", "conflictingCs")


def console(screen: Screen | None = None) -> Console:
    """Of standard output, or what is drawn on a screen."""
    width = None if screen or sys.stdout.isatty() else PIPE_COLUMNS
    # What is shown are addresses and the like: [fe80::1] is no style, and :a: in it no picture.
    return Console(file=cast("IO[str] | None", screen), markup=False, emoji=False, highlight=False, width=width)


class Harmless:
    """What is shown, one below the other, without control characters: a terminal would obey them, and what comes from a
    daemon, or is in a store, may hold any."""

    def __init__(self, *shown: RenderableType) -> None:
        self._shown = Group(*shown)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._shown, options):
            yield segment if segment.control else Segment(harmless(segment.text), segment.style)


def harmless(text: str) -> str:
    """Without what can't be seen: for a terminal it takes no room."""
    return text if text.isprintable() else "".join(each for each in text if each.isprintable() or each == "\n")


def render(*renderables: RenderableType) -> None:
    """Prints them, without the blanks that fill up a table's lines."""
    to = console()
    with to.capture() as captured:
        to.print(Harmless(*renderables))
    sys.stdout.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))
    sys.stdout.flush()


def settings_table(settings: Any) -> RenderableType:
    """Key, value, meaning of every setting, the range of a number, and what it takes to change it."""
    table = Table("setting", "value", "changes at", "meaning", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for setting in describe(settings):
        shown = ", ".join(setting.value) if isinstance(setting.value, tuple) else str(setting.value)
        meaning = "; ".join(filter(None, [setting.help, f"{setting.range} {setting.unit}".strip()]))
        table.add_row(setting.key, shown, "reload" if setting.live else "start", meaning)
    return table


def findings_table(findings: Sequence[tuple[str, str, str]]) -> RenderableType:
    """What was looked at, what was found, and what to do where it is wrong."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for what, found, remedy in findings:
        table.add_row(Text("wrong", "red") if remedy else "well", what, found)
        if remedy:
            table.add_row("", "", Text(remedy, "bold"))
    return table


def report_tables(report: Mapping[str, Any]) -> list[RenderableType]:
    """A daemon's report, whatever is in it: single values first, then a table for each map, or list of maps."""
    tables = {name: value for name, value in report.items() if _is_table(value)}
    single = {name: _text(name, value) for name, value in report.items() if name not in tables}
    shown: list[RenderableType] = [_pairs(single)]
    for name, value in tables.items():
        if value:
            shown += ["", _rows(name, value)]
    return shown


def status_tables(report: Mapping[str, Any]) -> list[RenderableType]:
    """What a person wants of a daemon's report: without what is for programs, and settings."""
    shown = {name: value for name, value in report.items() if name not in _FOR_PROGRAMS}
    shown["pools"] = _side_by_side(report["pools"])
    shown |= {name: _line(shown[name]) for name in _IN_A_LINE if name in shown}
    return report_tables(shown)


def _side_by_side(pools: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """A column for each, as they are fewer than what is told of them."""
    told = dict.fromkeys(name for row in pools.values() for name in row if name not in _FOR_PROGRAMS)
    return {_title(name): {pool: _text(name, row.get(name, "")) for pool, row in pools.items()} for name in told}


def report_as_json(report: Mapping[str, Any]) -> dict[str, Any]:
    """A daemon's report as JSON has it: the epoch is beyond the integers that every reader of JSON keeps exact (2^53),
    and is shown as it is in the log."""
    return {**report, "epoch": _text("epoch", report["epoch"])}


def summary_table(summary: Mapping[str, Any]) -> RenderableType:
    """A replay's summary; a map in it becomes a line. What did not go in stands beside it, a line each."""
    return _pairs(
        {
            name.replace("_", " "): _operations(value) if name == "operations" else _line(value)
            for name, value in summary.items()
            if name != "not_in"
        }
    )


def record_as_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as text and numbers."""
    return {
        name: _as_json(value, reverse=name in _TXID_BINS)
        for name, value in sorted(record.items(), key=lambda bin: bin[0])
    }


def lines_table(lines: Mapping[str, Sequence[str]], odd: Sequence[str] = ()) -> RenderableType:
    """What some lines are about, and they. odd: lines that somebody should notice. Long words are folded, so that
    nothing of them is lost."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, texts in lines.items():
        for place, text in enumerate(texts):
            table.add_row("" if place else name, text)
    for place, text in enumerate(odd):
        table.add_row("" if place else "odd", Text(f"- {text}", "yellow"))
    return table


def blocks_in_words(record: Mapping[str, Any]) -> str:
    """Where a transaction is mined. record: bins of its master record."""
    heights, unmined_since = record.get("blockHeights") or [], record.get("unminedSince")
    if not heights:
        return "in no block" + ("" if unmined_since is None else f", since height {unmined_since}")
    at = f"{'height' if len(set(heights)) == 1 else 'heights'} {_list(sorted(set(heights)))}"
    if unmined_since is None:
        return f"mined at {at}"
    return f"in a block at {at}, off the longest chain since height {unmined_since}"


def _list(numbers: Sequence[int]) -> str:
    """The first of them, where there are many."""
    shown = ", ".join(map(str, numbers[:LISTED]))
    return shown if len(numbers) <= LISTED else f"{shown} and {len(numbers) - LISTED:,} more"


def record_table(record: Mapping[str, Any]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for name, value in record.items():
        table.add_row(name, str(value) if isinstance(value, int) else _line(value))
    return table


def count_progress(text: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere. Gives the function to call with the number done since the last call."""
    return _progress(text, total, MofNCompleteColumn())


def byte_progress(text: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere. Gives the function to call with the bytes done since the last call."""
    return _progress(text, total, DownloadColumn())


@contextlib.contextmanager
def _progress(text: str, total: int, done: ProgressColumn) -> Iterator[Callable[[int], None]]:
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = TextColumn(text), BarColumn(), done, TimeRemainingColumn()
    with contextlib.closing(Screen(sys.stderr)) as screen:
        to = console(screen)
        try:
            with Progress(
                *columns, console=to, transient=True, redirect_stdout=False, redirect_stderr=False
            ) as progress:
                task = progress.add_task("", total=total)
                yield lambda count: progress.advance(task, count)
        except BaseException:
            screen.leave(_NO_BAR)
            raise
        screen.wait(math.inf)  # what is printed next would wait, too


def _as_json(value: Any, reverse: bool) -> Any:
    if isinstance(value, bytes):
        return value[::-1].hex() if reverse else value.hex()
    if isinstance(value, Mapping):
        return {str(_as_json(key, False)): _as_json(inner, reverse) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(inner, reverse) for inner in value]
    return value


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and all(isinstance(row, Mapping) for row in value))


def _rows(name: str, value: Any) -> RenderableType:
    """A map of maps, a list of maps, or a map of single values, with its name at the top."""
    if isinstance(value, Mapping) and not all(isinstance(row, Mapping) for row in value.values()):
        table = _table(name, "")
        for key, inner in sorted(value.items()):
            table.add_row(str(key), _text(key, inner))
        return table
    named = isinstance(value, Mapping)
    rows = value.items() if named else [("", row) for row in value]
    columns = list(dict.fromkeys(column for _, row in rows for column in row))
    table = _table(*([name] if named else []), *(_title(column) for column in columns))
    for key, row in rows:
        table.add_row(*([key] if named else []), *(_text(column, row.get(column, "")) for column in columns))
    return table


def _title(name: str) -> str:
    """The unit stands beside each value."""
    return name.removesuffix("_seconds").replace("_", " ")


def _text(name: str, value: Any) -> str:
    if name.endswith("_bytes"):
        return decimal(value)
    if name == "uptime_seconds":
        return f"{timedelta(seconds=int(value))}"
    if name.endswith("_seconds"):
        return f"{value} s"
    if name == "epoch":
        return f"{value:016x}"
    return str(value) if name == "pid" else _line(value)


def _operations(operations: Mapping[str, Mapping[str, int]]) -> str:
    return ", ".join(f"{name} {count['ok']:,} of {count['submitted']:,} ok" for name, count in operations.items())


def _line(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{str(name).replace('_', ' ')} {_line(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(_line(inner) for inner in value) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _pairs(pairs: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        table.add_row(_title(name), str(value))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table
