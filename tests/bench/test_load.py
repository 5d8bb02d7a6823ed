"""Many callers at once: what one of them meets, the measurement meets."""

import threading

import pytest

from bench.load import ask_from_threads


def test_what_a_caller_raises_ends_the_measurement_at_its_start():
    def question(key: int) -> bool:
        raise ValueError(key)

    with pytest.raises(ValueError, match=r"[12]"):
        ask_from_threads(question, [1, 2], 30.0, 2)


def test_what_a_caller_raises_later_is_raised_as_well():
    asked = threading.Semaphore(2)  # each caller's first

    def question(key: int) -> bool:
        if not asked.acquire(blocking=False):
            raise ValueError(key)
        return True

    with pytest.raises(ValueError, match=r"[12]"):
        ask_from_threads(question, [1, 2], 30.0, 2)


def test_a_wrong_answer_is_counted():
    rate, wrong = ask_from_threads(lambda key: key == 1, [1, 2], 0.05, 2)
    assert rate > 0
    assert wrong > 0
