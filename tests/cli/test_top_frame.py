"""A frame of `utxod top`: what it shows of a daemon, at every size."""

import io
import re

import pytest
from rich.console import Console

from tests.support.reports import changed, report
from utxod.interval import Interval
from utxod.top.frame import frame
from utxod.top.head import Gone
from utxod.top.history import History, rate_of_answers
from utxod.top.marks import bar, chart, short

TROUBLE = {"pools.write.breaker": "open", "pools.write.oldest_seconds": 9.0, "log_lines_dropped.workers": 7}


def history(workers: int = 3) -> History:
    """Of some seconds under load."""
    made = History(report(600.0))
    for second in range(1, 20):
        made.add(report(600.0 + second))
    made.latest["processes"].extend(made.latest["processes"][0] for _ in range(workers - 3))
    return made


def lines(shown: History, gone: Gone | None, width: int, height: int | None) -> list[str]:
    to = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    with to.capture() as captured:
        to.print(frame(shown, gone, "12:34:56", width, height))
    return captured.get().removesuffix("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 18), (100, 30), (132, 43), (250, 80), (20, 5), (1, 1)])
@pytest.mark.parametrize("workers", [3, 40, 500])
def test_a_frame_fits_its_terminal(width: int, height: int, workers: int) -> None:
    shown = history(workers)
    least = 17  # one line of each kind; a terminal cuts what is beyond
    for gone in (None, Gone(12.0, "no answer")):
        made = lines(shown, gone, width, height)
        assert len(made) <= max(height, least)
        assert all(len(line) <= width for line in made)
    shown.add(changed(report(620.0), TROUBLE))
    assert len(lines(shown, None, width, height)) <= max(height, least)


def test_at_80_by_24_everything_has_a_place() -> None:
    text = "\n".join(lines(history(), None, 80, 24))
    assert "…" not in text.partition("answered")[0]
    for wanted in ("utxod 0.1.0", "serving", "all is well", "12:34:56", "submitters", "in flight", "breaker"):
        assert wanted in text
    for wanted in (
        "read",
        "write",
        "children",
        "queue",
        "store",
        "batch",
        "OK",
        "SPENT",
        "4102 busy",
        "in doubt",
        "q ends",
    ):
        assert wanted in text


def test_at_60_columns_nothing_of_a_pool_is_cut_off() -> None:
    text = "\n".join(lines(history(), None, 60, 30)[3:]).partition("answered")[0]
    assert "…" not in text
    for wanted in ("children", "in flight", "breaker", "1 of 1", "closed", "worker", "store", "batch", "operations"):
        assert wanted in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_operations_stand_in_the_columns_of_their_pools(width: int) -> None:
    titles = [line for line in lines(history(), None, width, 40) if "items/s" in line]
    assert len(titles) == 2
    for title in ("items/s", "queue", "store", "batch"):
        assert len({line.index(title) for line in titles}) == 1


def test_what_is_wrong_stands_at_the_top_and_with_its_remedy_where_there_is_room() -> None:
    shown = history()
    shown.add(changed(report(620.0), TROUBLE))
    text = lines(shown, None, 100, 40)
    assert text[2].startswith(" ✗ UtxodBreakerOpen")
    assert text[3].startswith("   → ")
    assert "UtxodLogDropped" in text[4]


def test_a_pool_without_a_worker_just_now_is_not_well() -> None:
    """Where it had one a moment ago: the doctor finds nothing yet."""
    shown = history()
    shown.add(changed(report(620.0), {"pools.write.workers": 0, "pools.write.idle": 0}))
    assert " … no worker just now: write" in [line.rstrip() for line in lines(shown, None, 80, 24)]


def test_users_and_passwords_in_the_store_s_url_are_not_shown() -> None:
    shown = History(changed(report(), {"store": "aerospike://user:secret@host:3000/name/set?password-file=/x"}))
    head = lines(shown, None, 200, 24)[0]
    assert "aerospike://host:3000/name/set" in head
    assert "secret" not in head
    assert "/x" not in head


# Clears the screen, renames the window, rings, overwrites the line, and turns the text around.
OBEYED = "\x1b[2J\x1b]0;name\x07\x9b2J\x00\x7f\b\r\n\u202e"


def test_nothing_that_a_report_says_is_obeyed_by_the_terminal() -> None:
    shown = history()
    poisoned = changed(report(620.0), TROUBLE | {"store": f"lmdb://{OBEYED}/x", "version": OBEYED})
    poisoned["pools"]["write"]["breaker"] += OBEYED
    for listed in (poisoned["processes"], poisoned["figures"]["answers"], poisoned["figures"]["worker_exits"]):
        for row in listed:
            row |= {key: value + OBEYED for key, value in row.items() if key in ("state", "code", "cause")}
    shown.add(poisoned)
    for gone in (None, Gone(12.0, OBEYED)):
        made = lines(shown, gone, 100, 40)
        assert made[1].startswith(" 4 submitters")
        assert all(line.isprintable() for line in made)


def test_more_workers_than_fit_are_told() -> None:
    assert any("lines more" in line for line in lines(history(workers=100), None, 80, 24))


def test_after_a_restart_rates_start_anew_and_are_never_negative() -> None:
    shown = history()
    again = changed(report(2.0), {"epoch": 7})
    shown.add(again)
    assert shown.now.seconds == 2.0
    assert rate_of_answers(shown.now) == rate_of_answers(Interval.since_start(again)) > 0
    assert min(shown.rates) >= 0
    assert not re.search(r"-\d", "\n".join(lines(shown, None, 120, None)))


def test_a_daemon_that_has_done_nothing_yet_can_be_shown() -> None:
    shown = History(report(0.0, 0))
    assert "serving" in lines(shown, None, 80, 24)[0]
    shown.add(changed(report(0.0, 0), {"processes": [], "pools.write.workers": 0}))
    assert "not ready" in lines(shown, None, 80, 24)[0]


def test_numbers_are_short_and_bars_show_whatever_there_is() -> None:
    assert [short(number) for number in (0, 7.25, 999, 1000, 20_000, 1_500_000)] == [
        "0", "7.2", "999", "1.00k", "20.0k", "1.50M",
    ]  # fmt: skip
    assert (bar(0.0, 4), bar(0.00001, 4), bar(0.5, 4), bar(2.0, 4)) == ("", "▏", "██", "████")
    assert chart([0, 1, 2], 4, 2) == ["   █", "  ██"]
    assert chart([], 3, 1) == ["   "]
