"""How the broker's core comes to an end: a worker that retires, a daemon that drains, and what is owed then."""

from tests.support.broker_by_hand import Broker, owed, owing


def test_a_worker_that_retires_finishes_what_it_holds(broker: Broker) -> None:
    broker.ready(b"r1")
    request = broker.submit()
    broker.core.retire(b"r1")
    broker.turn()
    assert broker.stopped == []
    broker.done(broker.handed[0])
    assert broker.fate(request) == ("OK", "")
    assert broker.stopped == [b"r1"]
    broker.submit()
    assert len(broker.handed) == 1


def test_draining_accepts_nothing_and_answers_everything(broker: Broker) -> None:
    broker.ready(b"w1", "write")
    in_hand, queued = broker.submit("spend"), broker.submit("spend")
    broker.core.drain()
    assert broker.fate(broker.submit("spend")) == ("SHUTTING_DOWN", "no")
    broker.end()
    assert broker.fate(in_hand)[1] == "unknown"
    assert broker.fate(queued) == ("SHUTTING_DOWN", "no")
    assert broker.nothing_is_left()


def test_while_it_drains_what_is_pending_is_finished(broker: Broker) -> None:
    broker.ready(b"w1", "write")
    requests = [broker.submit("spend"), broker.submit("spend")]
    broker.core.drain()
    assert broker.core.draining
    for number in range(2):
        assert broker.core.pending == 2 - number
        broker.done(broker.handed[number])
    assert broker.core.pending == 0
    assert [broker.fate(request) for request in requests] == [("OK", "")] * 2


def test_owed_work_is_pending_until_it_is_done(broker: Broker) -> None:
    owing(broker, owed(b"m"))
    assert broker.core.pending == 1
    broker.ready(b"c1", "children")
    broker.done(broker.handed[-1])
    assert broker.core.pending == 0


def test_what_is_owed_at_the_end_is_in_doubt(broker: Broker) -> None:
    owing(broker, owed(b"m"), owed(b"m"), owed(b"n"))
    broker.end()
    assert sorted(doubt.key for doubt in broker.in_doubt) == [b"m", b"m", b"n"]
    assert broker.nothing_is_left()
