"""What a circuit breaker promises, at every moment that makes a difference."""

from broker.circuit_breaker import CircuitBreaker

PAUSE = 100


def tripped(at: int = 1000) -> CircuitBreaker:
    breaker = CircuitBreaker(PAUSE, 0)
    breaker.trip(at)
    return breaker


def test_closed_it_allows_everything() -> None:
    assert CircuitBreaker(PAUSE, 0).allow(0, [0, 0])


def test_tripped_it_allows_nothing_for_a_pause_and_then_one_probe_at_a_time() -> None:
    breaker = tripped()
    assert breaker.is_open
    assert not breaker.allow(1000 + PAUSE - 1, [])
    assert breaker.allow(1000 + PAUSE, [])
    assert breaker.allow(1000 + PAUSE, [999]), "what began before it opened is no probe"
    assert not breaker.allow(1000 + PAUSE, [1000])


def test_a_probe_that_fails_puts_the_next_off_and_does_not_open_it_anew() -> None:
    breaker = tripped()
    breaker.trip(1200)
    assert breaker.tripped_at == 1000
    assert not breaker.allow(1200 + PAUSE - 1, [])
    assert breaker.allow(1200 + PAUSE, [])


def test_a_success_closes_it_only_where_it_began_while_it_was_open() -> None:
    breaker = tripped()
    breaker.record_success(999, 1300)
    assert breaker.is_open
    breaker.record_success(1000, 1300)
    assert not breaker.is_open
    assert breaker.allow(1300, [1300])


def test_a_success_of_a_closed_one_changes_nothing() -> None:
    breaker = CircuitBreaker(PAUSE, 500)
    breaker.record_success(600, 700)
    assert not breaker.is_open
    assert breaker.is_current(500)


def test_what_began_before_it_turned_last_tells_nothing_of_the_store_as_it_is() -> None:
    breaker = tripped()
    assert not breaker.is_current(999)
    assert breaker.is_current(1000)
    breaker.record_success(1100, 1200)
    assert not breaker.is_current(1199)
    assert breaker.is_current(1200)
