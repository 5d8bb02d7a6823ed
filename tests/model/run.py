"""Runs of the state machine, on one store."""

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine
from tests.model.subject import Subject


class Outcome(NamedTuple):
    """runs: how many were good before the first that was not. difference: what set and model did not agree in, and the
    moves that led there."""

    runs: int
    difference: str | None


def run(
    subject: Subject,
    runs: int,
    steps: int,
    first_seed: int,
    *,
    shrinks: bool = False,
    on_run: Callable[[], None] = lambda: None,
) -> Outcome:
    """The same seed gives the same moves. shrinks: looks for the shortest way to a difference, which takes minutes."""
    good, has_failed = 0, False

    def ended(is_good: bool) -> None:
        nonlocal good, has_failed
        has_failed |= not is_good
        if not has_failed:
            good += 1
            on_run()

    machine = seed(first_seed)(type("Machine", (Machine,), {"subject": subject, "ended": staticmethod(ended)}))
    chosen = settings(
        max_examples=runs,
        stateful_step_count=steps,
        phases=[Phase.generate, *([Phase.shrink] if shrinks else [])],
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine, settings=chosen)
    except Exception as error:
        notes = getattr(error, "__notes__", [])
        return Outcome(good, "\n".join([f"{type(error).__name__}: {error}", *notes]))
    return Outcome(good, None)
