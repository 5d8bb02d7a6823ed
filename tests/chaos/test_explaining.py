"""What receipts say of an `unknown` takes its place, and nothing else does; what the store contradicts is then found by
the checker, as an answer would be."""

from pathlib import Path
from typing import Final

import pytest

from broker.receipts.records import Outcome, pack_dispatched, pack_done, pack_ended, pack_started
from broker.receipts.ring import BLOCK_BYTES, FEWEST_BLOCKS, Message, Ring
from protocol import codes
from tests.chaos.explaining import Explanations
from tests.chaos.history import YES, Answer, Invocation
from tests.chaos.parents import Parents

EPOCH: Final = 9
ID: Final = b"a request's id.."
ASKED: Final = 100.0
MARKS: Final = 3  # items of the request
PARENTS: Final = Parents(1)


def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day is the daemon's clock."""
    monkeypatch.setattr("time.time", lambda: 1000.0)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)


def keep(directory: Path, *records: bytes) -> None:
    us = round(ASKED * 1e6)
    ring = Ring(directory, FEWEST_BLOCKS * BLOCK_BYTES)
    told = [(us - 10_000_000, pack_started(EPOCH, us - 10_000_000, 1, "1"))]
    told += [(us + 500_000, record) for record in records]
    told.append((us + 10_000_000, pack_ended(EPOCH, us + 10_000_000)))
    for number, (made, record) in enumerate(told, 1):
        ring.write([Message(EPOCH, number, made, record)], 0)
    ring.close()


def dispatched() -> bytes:
    (record,) = pack_dispatched(EPOCH, 5, round(ASKED * 1e6) + 100, 77, "write", "create", ID, [100], [MARKS])
    return record


def done(*outcomes: Outcome) -> bytes:
    (record,) = pack_done(EPOCH, 5, round(ASKED * 1e6) + 2_500_000, 7, outcomes)
    return record


def unknown() -> Invocation:
    answers = [Answer(codes.NO_ANSWER, "unknown", "", (), f"{ID.hex()}/{item}") for item in range(MARKS)]
    return Invocation("client-0", 1, "create", [(item,) for item in range(MARKS)], ASKED, ASKED + 2, ASKED + 1, answers)


def explained(directory: Path, invocation: Invocation) -> tuple[Invocation, Explanations]:
    explanations = Explanations(directory, PARENTS, [invocation])
    (again,) = explanations.explained([invocation])
    return again, explanations


def test_what_was_executed_counts_from_when_it_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch)
    keep(tmp_path, dispatched(), done(Outcome(0, 1, 1, codes.TX_EXISTS, "no")))
    again, explanations = explained(tmp_path, unknown())
    assert [answer.executed for answer in again.answers] == [YES, "no", YES]
    assert again.answers[0].value == PARENTS.parent(0).children + 1
    assert again.answered == pytest.approx(ASKED + 2.5)
    assert explanations.counts == {"yes": 2, "no": 1}


def test_what_a_worker_had_and_never_ended_stays_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch)
    keep(tmp_path, dispatched())
    again, explanations = explained(tmp_path, unknown())
    assert again == unknown()
    assert explanations.counts == {"unknown": MARKS}


def test_what_nobody_was_handed_was_not_executed_where_nothing_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch)
    keep(tmp_path)
    again, _ = explained(tmp_path, unknown())
    assert {answer.executed for answer in again.answers} == {"no"}
    early = unknown()
    early.asked -= 20  # before the receipts begin
    assert explained(tmp_path, early)[0] == early


def test_answers_that_are_known_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch)
    keep(tmp_path, dispatched())
    known = unknown()
    known.answers = [Answer("OK", YES, 1), Answer(codes.OVERLOADED, "no"), Answer("CUT_OFF", "unknown")]
    assert explained(tmp_path, known)[0] == known
