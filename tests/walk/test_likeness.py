"""A page's output is like a command's where only numbers, ids and widths differ, and else not."""

import pytest

from tests.walk.likeness import alike

TXID, OTHER = "19405c5d" * 8, "f0e1d2c3" * 8


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("pid  7\n", "pid     1,234\n"),
        ("2026-11-26 09:16:28,535 INFO it serves\n", "2027-01-01 23:59:59,001 INFO it serves\n"),
        ("in 1.5 s, 33.3 MB\n", "in 12 ms, 980 bytes\n"),
        (f"transaction {TXID} is odd\n", f"transaction {OTHER} is odd\n"),
        ("first\n...\nlast\n", "first\n1\n2\nlast\n"),
        ("first\n...\nlast\n", "first\nlast\n"),
        ("...\n", ""),
        ("", ""),
        ("a  \n", "a\n"),
        ("1 sweep of 33 came late\n", "3 sweeps of 7 came\n   late\n"),
        ("all is 5 s\n...\n", "all is 5 s\nx\ny\n"),
    ],
)
def test_what_differs_from_run_to_run_makes_no_difference(shown: str, printed: str) -> None:
    assert alike(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("the breaker is open\n", "the breaker is closed\n"),
        ("a\n", "a\nb\n"),
        ("a\nb\n", "a\n"),
        ("5 s\n", "5 MB\n"),
        ("5 items\n", "all items\n"),
        (f"txid {TXID}\n", "txid none\n"),
        ("a.b\n", "a-b\n"),
        ("", "an error\n"),
        ("first\n...\nlast\n", "first\n1\n"),
        ("first\n...\n", "x first\n"),
    ],
)
def test_everything_else_does(shown: str, printed: str) -> None:
    assert not alike(shown, printed)
