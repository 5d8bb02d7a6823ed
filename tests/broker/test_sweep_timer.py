"""A sweep that comes far too late judges nobody: what came in meanwhile is read first."""

import pytest

from broker.sweep_timer import SweepTimer


@pytest.fixture
def timer() -> SweepTimer:
    return SweepTimer(0.05, 100.0)


def test_a_sweep_is_due_once_an_interval(timer: SweepTimer) -> None:
    assert timer.is_due(100.0)
    assert not timer.is_due(100.04)
    assert timer.is_due(100.06)


def test_the_loop_waits_until_the_next_sweep_and_no_longer(timer: SweepTimer) -> None:
    assert timer.next_sweep == 100.0
    assert timer.is_due(100.01)
    assert timer.next_sweep == pytest.approx(100.06)


def test_after_a_standstill_what_has_come_in_is_read_before_the_next_sweep(
    timer: SweepTimer, caplog: pytest.LogCaptureFixture
) -> None:
    assert not timer.is_due(103.0)
    assert timer.has_stood_still
    assert "stood still for 3.0 s" in caplog.text
    assert timer.is_due(103.06)
    assert not timer.has_stood_still
    assert timer.longest_standstill == pytest.approx(3.0)


def test_one_standstill_after_the_other_holds_no_sweep_up_for_ever(timer: SweepTimer) -> None:
    assert [timer.is_due(100.0 + 2 * number) for number in range(1, 5)] == [False, True, False, True]


def test_what_is_to_be_done_at_once_is(timer: SweepTimer) -> None:
    assert timer.is_due(100.0)
    timer.hasten(100.01)
    assert timer.next_sweep == 100.01
    assert timer.is_due(100.01)
    assert timer.longest_standstill == 0.0


def test_haste_hides_no_standstill(timer: SweepTimer) -> None:
    timer.hasten(103.0)
    assert not timer.is_due(103.0)
