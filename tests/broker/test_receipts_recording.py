"""What the core tells of requests, and what is made of it: every verdict is one that the receipts carry."""

from collections.abc import Iterator
from cProfile import Profile
from pathlib import Path
from typing import Any

import pytest

from broker.core import Core
from broker.events import WorkerLost
from broker.receipts.reading import Receipts
from broker.receipts.recording import Recording
from broker.receipts.ring import BLOCK_BYTES, FEWEST_BLOCKS, Message, Ring
from broker.settings import BrokerSettings
from protocol import codes
from protocol.wire import Error
from protocol.worker_wire import FollowUp
from tests.support.broker_by_hand import EPOCH, SECOND, Broker
from utxod.explain import Explained, judge

READER, WRITER, CHILD = b"reader", b"writer", b"child"
LOCK_CHILD = FollowUp(0, 0, "lock_children", b"key", 1, b"\x91\xc0")


class Recorded(Broker):
    """A broker whose receipts are kept."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self.recording = Recording(EPOCH, True)
        self.core = Core(BrokerSettings(**settings), EPOCH, self.now, receipts=self.recording)
        self.directory = directory
        self._ring = Ring(directory, FEWEST_BLOCKS * BLOCK_BYTES)
        self._messages = 0

    def explain(self, number: int, item: int | None = 0) -> Explained:
        self.write()
        request_id = number.to_bytes(16, "little")
        with Receipts(self.directory) as receipts:
            return judge(self.directory, request_id, item, receipts.find(request_id))

    def verdict(self, number: int, item: int | None = 0) -> str:
        return self.explain(number, item).executed

    def write(self, *, is_lost: bool = False) -> None:
        """What has been told since is kept; or lost on its way."""
        for record in self.recording.take(self.now):
            self._messages += 1
            if not is_lost:
                self._ring.write([Message(EPOCH, self._messages, self.now, record)], 0)

    def close(self) -> None:
        self._ring.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Recorded]:
    recorded = Recorded(tmp_path)
    yield recorded
    recorded.close()


def test_what_is_done_was_executed(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    request = broker.submit("spend", ["a", "b"])
    assert broker.verdict(request) == "unknown"  # a worker has it
    broker.done(broker.handed[0])
    assert [broker.verdict(request, item) for item in (0, 1, 2, None)] == ["yes", "yes", "unknown", "yes"]


def test_of_requests_that_share_a_dispatch_each_came_when_it_came(broker: Recorded) -> None:
    requests = []
    for item in "ab":
        requests.append(broker.submit("spend", [item]))
        broker.after(0.1)
    broker.ready(WRITER, "write")
    assert len(broker.handed) == 1
    broker.lose(WRITER)
    for request in requests:
        (judged,) = broker.explain(request).judged  # its dispatch and its answer are of one request
        assert len(judged.request.answers) == 1
        assert len(judged.request.held) == 1


def test_each_item_is_judged_by_its_own_outcome(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    request = broker.submit("spend", list("abcd"))
    errors = {1: Error(codes.SPENT, "no"), 2: Error(codes.STORE_ERROR, "unknown")}
    broker.done(broker.handed[0], errors=errors)
    assert [broker.verdict(request, item) for item in range(4)] == ["yes", "no", "unknown", "yes"]
    whole = broker.explain(request, None)
    assert whole.executed == "mixed"
    assert whole.judged[0].counts == {"yes": 2, "no": 1, "unknown": 1}


def test_what_waits_is_not_known_and_what_expired_waiting_was_not_executed(broker: Recorded) -> None:
    request = broker.submit("spend", timeout=1)
    assert not broker.explain(request).is_found
    broker.now += 2 * SECOND
    broker.core.sweep(broker.now)
    assert broker.verdict(request) == "no"


def test_what_expired_in_execution_is_judged_by_what_came_late(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    request = broker.submit("spend", ["a", "b"], timeout=1)
    broker.now += 2 * SECOND
    broker.core.sweep(broker.now)
    assert broker.verdict(request) == "unknown"
    broker.done(broker.handed[0], errors={1: Error(codes.SPENT, "no")})
    assert [broker.verdict(request, item) for item in (0, 1)] == ["yes", "no"]
    told = broker.explain(request).as_json()["requests"][0]
    assert (told["answered"]["code"], told["late"]["code"]) == ("DEADLINE_EXCEEDED", "OK")


def test_what_expired_waiting_for_its_parts_is_not_known_to_be_whole(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    request = broker.submit("set_locked", timeout=1)
    broker.done(broker.handed[0], [LOCK_CHILD])
    assert broker.verdict(request) == "unknown"
    broker.now += 2 * SECOND
    broker.core.sweep(broker.now)
    broker.ready(CHILD, "children")
    answer = broker.explain(request)
    assert answer.executed == "unknown"
    assert "its own record was written" in answer.reason


def test_what_was_done_late_and_left_its_parts_undone_is_not_known_to_be_whole(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    request = broker.submit("set_locked", timeout=1)
    broker.now += 2 * SECOND
    broker.core.sweep(broker.now)
    broker.done(broker.handed[0], [LOCK_CHILD])
    answer = broker.explain(request)
    assert answer.executed == "unknown"
    assert "its own record was written" in answer.reason


@pytest.mark.parametrize(("error", "executed"), [(None, "yes"), (Error(codes.LOCKED, "no"), "unknown")])
def test_parts_make_it_whole(broker: Recorded, error: Error | None, executed: str) -> None:
    broker.ready(WRITER, "write")
    broker.ready(CHILD, "children")
    request = broker.submit("set_locked")
    broker.done(broker.handed[0], [LOCK_CHILD])
    broker.turn()
    broker.done(broker.handed[1], errors={0: error} if error else None)
    assert broker.answers[request]
    assert broker.verdict(request) == executed


def test_parts_alone_make_nothing_whole(broker: Recorded) -> None:
    """Where the receipt of its own execution is lost."""
    broker.ready(WRITER, "write")
    broker.ready(CHILD, "children")
    request = broker.submit("set_locked")
    broker.write()
    broker.done(broker.handed[0], [LOCK_CHILD])
    broker.write(is_lost=True)
    broker.turn()
    broker.done(broker.handed[-1])
    assert broker.verdict(request) == "unknown"


def test_of_what_was_lost_on_its_way_nothing_is_concluded(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    before = broker.submit("spend")
    broker.done(broker.handed[0])
    broker.write(is_lost=True)
    answer = broker.explain(before)
    assert (answer.is_found, answer.executed) == (False, "unknown")


def test_a_read_is_judged_by_both_of_its_workers(broker: Recorded) -> None:
    broker.ready(READER)
    request = broker.submit("get", ["a", "b"])
    broker.core.handle(WorkerLost(READER, "was ended by SIGKILL"), broker.now)
    assert broker.verdict(request) == "unknown"
    broker.ready(b"second")
    broker.done(broker.handed[-1], errors={0: Error(codes.STORE_ERROR, "no")})
    broker.turn()
    verdicts = {broker.verdict(request, item) for item in (0, 1)}
    assert verdicts <= {"yes", "unknown"}  # of the first nobody knows


def test_who_answers_nonsense_is_not_believed(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    request = broker.submit("spend")
    broker.answer(WRITER, [b"nonsense"])
    answer = broker.explain(request)
    assert answer.executed == "unknown"
    assert "nonsense" in answer.reason


def test_what_was_refused_was_not_executed(broker: Recorded) -> None:
    stale = broker.submit("spend", epoch=EPOCH + 1)
    unknown = broker.submit("dance")
    malformed = broker.send([b"no header", b""])
    assert {broker.verdict(number) for number in (stale, unknown, malformed)} == {"no"}


def test_what_the_end_of_the_daemon_answers_is_told(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    held, waiting = broker.submit("spend"), broker.submit("create")
    broker.core.end()
    assert (broker.verdict(held), broker.verdict(waiting)) == ("unknown", "no")


def test_without_receipts_nothing_is_kept() -> None:
    recording = Recording(EPOCH)
    recording.started(1, 2, "3")
    recording.refused(bytes(16), Error(codes.STALE, "no"), "get", 1)
    assert recording.take(1) == []


def test_what_is_to_be_done_is_what_the_code_says(broker: Recorded) -> None:
    """Not to ask again where that gives the same."""
    broker.ready(WRITER, "write")
    for code, step in {
        codes.SPENT: "SPENT: take it for the answer",
        codes.TX_EXISTS: "TX_EXISTS: take it for done",
        codes.LOCKED: "LOCKED: ask again once it is unlocked",
    }.items():
        request = broker.submit("spend", ["a"])
        broker.done(broker.handed[-1], errors={0: Error(code, codes.NO)})
        assert broker.explain(request).as_json()["next"][0].startswith(step)
        assert broker.explain(request, None).as_json()["next"][0].startswith(step)


def test_an_item_that_a_request_does_not_have_was_answered_nothing(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    request = broker.submit("spend", ["a", "b"])
    broker.done(broker.handed[0])
    (told,) = broker.explain(request, 1).as_json()["requests"]
    assert told["answered"]["code"] == "OK"
    explained = broker.explain(request, 2).as_json()
    (told,) = explained["requests"]
    assert told["answered"] is None
    assert told["reason"] == "the request has 2 items only"
    assert explained["next"] == ["name an item that it has, the first of which is 0, or none for all"]


def test_receipts_beside_a_daemon_that_never_wrote_one_are_not_whole(broker: Recorded) -> None:
    """As of one that shares the directory, and has begun on a full disk: what it was asked is not known of here."""
    never = 1 << 100
    broker.ready(WRITER, "write")
    broker.submit("spend", ["a"])
    assert "to no worker by then" in broker.explain(never).reason
    (broker.directory / "receipts-2.ring").touch()
    reason = broker.explain(never).reason
    assert "are not whole: nothing stands in receipts-2.ring" in reason
    assert "to no worker by then" not in reason


def test_of_a_daemon_that_never_wrote_one_it_is_said_where_they_were_to_be(tmp_path: Path) -> None:
    def reason() -> str:
        with Receipts(tmp_path) as receipts:
            return judge(tmp_path, bytes(16), None, receipts.find(bytes(16))).reason

    assert "receipts_bytes not 0" in reason()
    (tmp_path / "receipts.ring").touch()
    assert "nothing stands in receipts.ring" in reason()


def test_what_a_worker_may_answer_can_be_told_whatever_it_is(broker: Recorded) -> None:
    """More codes than there are, of thousands of items."""
    broker.ready(WRITER, "write")
    request = broker.submit("spend", ["x"] * 5000)
    errors = {index: Error(f"CODE_{index}", "no") for index in range(0, 5000, 2)}
    broker.done(broker.handed[0], errors=errors)
    assert [broker.verdict(request, item) for item in (0, 1, 4998, 4999)] == ["no", "yes", "no", "yes"]


def test_two_requests_of_one_moment_and_one_id_are_not_told_apart(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    broker.ready(b"another", "write")
    for _ in range(2):
        broker._ids = 41
        broker.submit("spend")
    broker.done(broker.handed[0])
    assert broker.verdict(42) == "unknown"


def test_of_requests_that_bear_one_id_each_is_judged_by_its_own_parts(broker: Recorded) -> None:
    """Also where nothing else is kept of the earlier one."""
    broker.ready(WRITER, "write")
    broker.ready(CHILD, "children")
    broker._ids = 41
    broker.submit("set_locked")
    broker.done(broker.handed[0], [LOCK_CHILD])
    broker.turn()
    broker.write(is_lost=True)
    broker.done(broker.handed[1])
    broker.write()
    broker.now += SECOND
    broker._ids = 41
    del broker.answers[42]
    broker.submit("set_locked", timeout=1)
    broker.done(broker.handed[-1], [LOCK_CHILD])
    broker.turn()
    broker.lose(CHILD)
    assert broker.fate(42)[1] == "unknown" or broker.answers[42].errors[0].executed == "unknown"
    assert broker.verdict(42) == "unknown"


def test_one_that_expired_waiting_is_not_taken_for_one_of_the_same_moment_and_id(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    broker._ids = 41
    broker.submit("spend")
    broker._ids = 41
    broker.submit("spend", timeout=1)
    broker.after(2)
    broker.answers.clear()
    broker.done(broker.handed[0])
    assert broker.verdict(42) == "unknown"


def test_a_request_counts_its_own_items_alone(broker: Recorded) -> None:
    """Though parts of another that bears its id can't be told from its own."""
    broker.ready(WRITER, "write")
    broker._ids = 41
    broker.submit("set_locked", list("abcd"))
    broker.done(broker.handed[0], [LOCK_CHILD._replace(item_index=item) for item in range(4)])
    broker.turn()
    broker.ready(CHILD, "children")
    broker.done(broker.handed[-1])
    broker.now += SECOND
    broker._ids = 41
    del broker.answers[42]
    broker.submit("spend")
    broker.done(broker.handed[-1])
    assert [sum(each.counts.values()) for each in broker.explain(42, None).judged] == [4, 1]
    assert broker.explain(42, None).judged[1].executed == "yes"


def test_what_came_late_and_left_work_undone_says_so(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    request = broker.submit("set_locked", timeout=1)
    broker.after(2)
    broker.done(broker.handed[0], [LOCK_CHILD])
    (told, _) = broker.explain(request).as_text()
    assert "FOLLOW_UP" not in str(told)
    assert "its own record was written" in told["late"][0]


def test_a_large_request_whose_items_all_have_parts_is_judged_as_quickly(broker: Recorded) -> None:
    """By work that grows with the items, not with their square."""
    broker.ready(WRITER, "write")
    broker.ready(CHILD, "children")

    def steps(items: int) -> int:
        request = broker.submit("set_locked", ["x"] * items)
        broker.done(broker.handed[-1], [LOCK_CHILD._replace(item_index=item) for item in range(items)])
        broker.turn()
        while broker.core.pending:
            broker.done(broker.handed[-1], errors={0: Error(codes.LOCKED, "no")})
            broker.turn()
        found = broker.explain(request).found
        profile = Profile()
        profile.runcall(lambda: judge(broker.directory, bytes(16), None, found).as_json())
        profile.create_stats()
        return sum(calls for calls, *_ in profile.stats.values())

    assert steps(2_000) < 3 * steps(1_000)


def test_who_may_be_told_yet_is_to_explain_once_more(broker: Recorded) -> None:
    broker.ready(WRITER, "write")
    request = broker.submit("spend", timeout=1)
    broker.after(2)
    assert "once more" in broker.explain(request).as_json()["next"][0]
    broker.lose(WRITER)
    assert "once more" not in str(broker.explain(request).as_json()["next"])


def test_many_requests_that_bear_one_id_are_told_apart_as_quickly(broker: Recorded) -> None:
    """As of a client that never counts up."""
    broker.ready(WRITER, "write")
    broker.ready(CHILD, "children")

    def steps(requests: int, number: int) -> int:
        for _ in range(requests):
            broker.now += 1
            broker._ids = number - 1
            broker.submit("set_locked")
            broker.done(broker.handed[-1], [LOCK_CHILD])
            broker.turn()
            broker.done(broker.handed[-1])
            broker.answers.clear()
        found = broker.explain(number).found
        profile = Profile()
        explained = profile.runcall(lambda: judge(broker.directory, bytes(16), None, found))
        assert (len(explained.judged), explained.executed) == (requests, "yes")
        profile.create_stats()
        return sum(calls for calls, *_ in profile.stats.values())

    assert steps(400, 1) < 3 * steps(200, 2)
