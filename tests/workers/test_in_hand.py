"""A line of a worker's log names what it has in hand."""

import logging
import threading

import pytest

from workers.runtime.in_hand import InHand


@pytest.fixture
def record() -> logging.LogRecord:
    return logging.LogRecord("utxod.worker", logging.WARNING, "file", 1, "%s failed", ("get",), None)


def ids(count: int) -> list[bytes]:
    return [bytes([number]) * 16 for number in range(1, count + 1)]


def test_a_few_requests_are_named(record: logging.LogRecord) -> None:
    in_hand = InHand()
    in_hand.take(7, b"".join(ids(2)))
    assert in_hand.filter(record)
    assert record.getMessage() == f"get failed (dispatch 7, requests {'01' * 16}, {'02' * 16})"
    assert (vars(record)["dispatch"], vars(record)["requests"]) == (7, ["01" * 16, "02" * 16])


def test_of_many_requests_it_is_told_how_many_there_are(record: logging.LogRecord) -> None:
    in_hand = InHand()
    in_hand.take(7, b"".join(ids(250)))
    assert in_hand.filter(record)
    assert record.getMessage().endswith(f"{'03' * 16} and 247 more)")


def test_with_nothing_in_hand_a_line_stays_as_it_is(record: logging.LogRecord) -> None:
    in_hand = InHand()
    in_hand.take(7, b"".join(ids(1)))
    in_hand.release()
    assert in_hand.filter(record)
    assert record.getMessage() == "get failed"


def test_a_line_whose_arguments_do_not_fit_ends_no_dispatch() -> None:
    in_hand = InHand()
    in_hand.take(7, b"".join(ids(1)))
    record = logging.LogRecord("utxod.worker", logging.WARNING, "file", 1, "%d of %d", ("one",), None)
    assert in_hand.filter(record)
    assert record.getMessage().startswith("%d of %d")
    assert record.getMessage().endswith(f"(dispatch 7, requests {'01' * 16})")


def test_what_another_thread_says_meanwhile_is_not_of_the_dispatch() -> None:
    said: list[logging.LogRecord] = []
    in_hand = InHand()
    in_hand.take(7, b"".join(ids(1)))
    thread = threading.Thread(
        target=lambda: said.append(logging.LogRecord("utxod.log", logging.WARNING, "file", 1, "lines", (), None))
    )
    thread.start()
    thread.join()
    assert in_hand.filter(said[0])
    assert said[0].getMessage() == "lines"


def test_a_line_of_the_stores_names_the_dispatch_too() -> None:
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    in_hand, handler = InHand(), Keep()
    handler.addFilter(in_hand)
    in_hand.take(7, b"".join(ids(1)))
    logging.getLogger().addHandler(handler)
    try:
        logging.getLogger("utxod.store").warning("failed")
    finally:
        logging.getLogger().removeHandler(handler)
    assert said == [f"failed (dispatch 7, requests {'01' * 16})"]
