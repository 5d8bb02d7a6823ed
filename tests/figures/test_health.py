"""What /health/live and /health/ready say of a report."""

from typing import Any

import pytest

from tests.support.reports import changed, report
from utxod.figures.asking import Asked
from utxod.figures.health import is_alive, is_ready

SILENT = Asked(None, 0.0, silent_since=1.0, why="no answer within 2 s")


def asked(**changes: Any) -> Asked:
    shown = changed(report(), {path.replace("__", "."): value for path, value in changes.items()})
    return Asked(shown, 0.0, before=shown)


def test_a_daemon_that_answers_is_alive_and_where_it_has_workers_ready() -> None:
    assert is_alive(asked()).is_well
    assert is_ready(asked()) == (True, "ready")


def test_a_daemon_that_does_not_answer_is_neither() -> None:
    for judge in (is_alive, is_ready):
        is_well, why = judge(SILENT)
        assert not is_well
        assert "does not answer: no answer within 2 s" in why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"draining": True}, "not ready: the daemon is shutting down"),
        ({"pools__write__workers": 0}, "not ready: no worker in pool write; the log says why"),
        (
            {"pools__read__workers": 0, "pools__write__workers": 0},
            "not ready: no worker in pools read, write; the log says why",
        ),
    ],
)
def test_who_can_t_execute_is_alive_but_not_ready(changes: dict[str, Any], why: str) -> None:
    assert is_alive(asked(**changes)).is_well
    assert is_ready(asked(**changes)) == (False, why)


def test_an_open_breaker_makes_nobody_unready_since_only_a_request_can_close_it() -> None:
    is_well, why = is_ready(asked(pools__write__breaker="open"))
    assert is_well
    assert "the store does not answer pool write" in why
