"""What the broker's core puts into a dispatch, and whose turn it is."""

from tests.support.broker_by_hand import Broker


def test_a_batch_grows_with_what_is_queued_up_to_the_limit() -> None:
    broker = Broker(batch_limit=10)
    for items in (["a"] * 4, ["b"] * 4, ["c"] * 4, ["d"] * 25, ["e"]):
        broker.submit(items=items)
    for number in range(4):
        broker.ready(f"r{number}".encode())
    assert [[part.item_count for part in handed.parts] for handed in broker.handed] == [[4, 4], [4], [25], [1]]


def test_each_pool_tells_how_many_items_its_dispatches_had(broker: Broker) -> None:
    """Of a store with one commit for a dispatch, so many items share an fsync."""
    for items in (["a"], ["b", "c"]):
        broker.submit("spend", items)
    broker.submit("get")
    broker.ready(b"w", "write")
    pools = broker.core.report(broker.now)["pools"]
    assert [(pools[name]["dispatches"], pools[name]["dispatched"]) for name in ("write", "read")] == [(1, 3), (0, 0)]


def test_a_dispatch_is_of_one_operation_and_operations_take_turns(broker: Broker) -> None:
    for operation in ("get", "outpoint", "get", "outpoint"):
        broker.submit(operation)
    for number in range(3):
        broker.ready(f"r{number}".encode())
    assert [(handed.operation, len(handed.parts)) for handed in broker.handed] == [("get", 2), ("outpoint", 2)]


def test_one_that_floods_delays_another_by_a_turn_and_leaves_it_room() -> None:
    broker = Broker(queue_items=100, batch_limit=2)
    flood = [broker.submit(submitter="flood") for _ in range(200)]
    refused = [request for request in flood if request in broker.answers]
    assert {broker.fate(request) for request in refused} == {("OVERLOADED", "no")}
    assert broker.answers[refused[0]].error.retry_after > 0
    assert len(flood) - len(refused) == 50
    asker = broker.submit(submitter="asker")
    broker.ready(b"r1")
    broker.done(broker.handed[0])
    assert broker.fate(asker) == ("OK", "")


def test_the_backlog_is_bounded_in_bytes() -> None:
    broker = Broker(queue_bytes=100)
    broker.submit(items=["x" * 60], submitter="a")
    assert broker.fate(broker.submit(items=["x" * 60], submitter="b")) == ("OVERLOADED", "no")
