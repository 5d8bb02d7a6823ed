"""What is found in the rings is whole, whatever has become of them: torn, gone round, damaged, resized, shared; and
what is missing is known to be."""

import os
import random
from pathlib import Path

import pytest

from broker.receipts import records
from broker.receipts.reading import Found, Receipts
from broker.receipts.records import (
    Outcome,
    pack_answered,
    pack_dispatched,
    pack_done,
    pack_ended,
    pack_lost,
    pack_started,
)
from broker.receipts.ring import BLOCK_BYTES, FEWEST_BLOCKS, Message, Ring, read_block

EPOCH = 5
OFFSET = 1_000_000_000_000
OF_A_BLOCK = BLOCK_BYTES // (records.MOST_BYTES - 100)  # messages
LEAST = FEWEST_BLOCKS * BLOCK_BYTES


def request_id(number: int) -> bytes:
    return b"request %08d" % number


class Writer:
    """Writes into a ring what a daemon would: message n is the dispatch n, of a request of that number among others."""

    def __init__(self, directory: Path, size: int = LEAST, epoch: int = EPOCH) -> None:
        self.ring = Ring(directory, size)
        self.epoch = epoch
        self.number = 0

    def started(self) -> None:
        self._add(pack_started(self.epoch, self.number + 1, 99, "1.2"))

    def dispatched(self, number: int, others: int = 0) -> None:
        ids = b"".join([request_id(number), *(os.urandom(16) for _ in range(others))])
        columns = [number] * (others + 1), [1] * (others + 1)
        packed = pack_dispatched(self.epoch, number, self.number + 1, 77, "write", "spend", ids, *columns)
        self._add(b"".join(packed))

    def large(self, count: int) -> None:
        for _ in range(count):
            self.dispatched(self.number + 1, others=999)

    def done(self, number: int, outcomes: tuple[Outcome, ...] = ()) -> None:
        self._add(b"".join(pack_done(self.epoch, number, self.number + 1, 42, outcomes)))

    def answered(self, number: int) -> None:
        told = "DEADLINE_EXCEEDED", "unknown", "", "spend"
        packed = pack_answered(self.epoch, self.number + 1, False, *told, [request_id(number)], [number], [1])
        self._add(b"".join(packed))

    def lost(self, number: int) -> None:
        self._add(pack_lost(self.epoch, number, self.number + 1, 77, "was ended by SIGKILL"))

    def ended(self) -> None:
        self._add(pack_ended(self.epoch, self.number + 1))

    def skip(self, messages: int) -> None:
        """They were dropped on their way."""
        self.number += messages

    def _add(self, packed: bytes) -> None:
        self.number += 1
        self.ring.write([Message(self.epoch, self.number, self.number, packed)], OFFSET)

    def close(self) -> None:
        self.ring.close()


def find(directory: Path, number: int) -> Found:
    with Receipts(directory) as receipts:
        return receipts.find(request_id(number))


def numbers_found(directory: Path, numbers: range) -> list[int]:
    with Receipts(directory) as receipts:
        found = receipts.find_all([request_id(number) for number in numbers])
    return [number for number in numbers if found[request_id(number)].executions]


def is_whole(directory: Path) -> bool:
    coverage = find(directory, 0).coverage
    assert coverage is not None
    return not coverage.gaps


def test_a_dispatch_and_its_end_are_found_in_whatever_blocks_they_are(tmp_path: Path) -> None:
    writer = Writer(tmp_path, 20 * BLOCK_BYTES)
    writer.started()
    writer.dispatched(2, others=3)
    writer.large(3 * OF_A_BLOCK)
    writer.done(2, (Outcome(0, 0, 1, "SPENT", "no"), Outcome(1, 0, 1, "LOCKED", "no")))
    writer.close()
    (execution,) = find(tmp_path, 2).executions
    assert (execution.pid, execution.pool, execution.operation, execution.store_us) == (77, "write", "spend", 42)
    assert (execution.handed, execution.done) == (2 + OFFSET, writer.number + OFFSET)
    assert execution.is_whole
    assert execution.outcomes == [Outcome(0, 0, 1, "SPENT", "no")]


def test_an_end_that_is_written_while_it_is_read_is_found_with_the_answer_before_it(tmp_path: Path) -> None:
    """Or else it would be told that the request was answered well."""
    writer = Writer(tmp_path)
    writer.dispatched(1)

    def write_on(_: int) -> None:
        writer.answered(1)
        writer.done(1)

    with Receipts(tmp_path) as receipts:
        found = receipts.find(request_id(1), write_on)
    writer.close()
    assert [execution.done > 0 for execution in found.executions] == [True]
    assert [answer.code for answer in found.answers] == ["DEADLINE_EXCEEDED"]


def test_the_oldest_block_is_overwritten_first(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.started()
    writer.large(10 * OF_A_BLOCK)
    writer.close()
    found = numbers_found(tmp_path, range(writer.number + 1))
    assert found == list(range(found[0], writer.number + 1))
    assert (FEWEST_BLOCKS - 1) * OF_A_BLOCK <= len(found) < (FEWEST_BLOCKS + 1) * OF_A_BLOCK
    assert (tmp_path / "receipts.ring").stat().st_size <= LEAST
    coverage = find(tmp_path, 0).coverage
    assert coverage is not None
    assert coverage.since == found[0] + OFFSET
    assert not coverage.gaps


def test_the_ring_of_an_earlier_start_is_continued(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        writer = Writer(tmp_path, epoch=epoch)
        writer.started()
        writer.dispatched(epoch)
        writer.ended()
        writer.close()
    assert numbers_found(tmp_path, range(1, 4)) == [1, 2, 3]
    assert is_whole(tmp_path)


@pytest.mark.parametrize("place", [0, 30, 79, 80, 1000, 30_000])
def test_a_damaged_block_costs_no_other_and_is_known_to_be_missing(tmp_path: Path, place: int) -> None:
    writer = Writer(tmp_path)
    writer.started()
    writer.large(3 * OF_A_BLOCK)
    writer.close()
    path = tmp_path / "receipts.ring"
    before = numbers_found(tmp_path, range(writer.number + 1))
    with path.open("r+b") as file:
        file.seek(BLOCK_BYTES + place)
        (byte,) = file.read(1)
        file.seek(BLOCK_BYTES + place)
        file.write(bytes([byte ^ 1]))
    after = numbers_found(tmp_path, range(writer.number + 1))
    gone = sorted(set(before) - set(after))
    assert gone == list(range(gone[0], gone[-1] + 1))
    assert 1 <= len(gone) <= OF_A_BLOCK + 1
    assert not is_whole(tmp_path)


@pytest.mark.parametrize("cut", [1, 79, 80, 5000, 100_000])
def test_a_torn_block_costs_no_other(tmp_path: Path, cut: int) -> None:
    writer = Writer(tmp_path)
    writer.started()
    writer.large(OF_A_BLOCK)
    writer.close()
    os.truncate(tmp_path / "receipts.ring", BLOCK_BYTES + cut)
    again = Writer(tmp_path, epoch=6)
    again.started()
    again.dispatched(1)
    again.close()
    assert find(tmp_path, 1).executions
    assert numbers_found(tmp_path, range(2, OF_A_BLOCK))


def test_who_reads_at_the_same_time_finds_blocks_as_they_were_or_as_they_are(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.started()
    for number in range(2, 50):
        writer.dispatched(number)
        assert numbers_found(tmp_path, range(2, 50)) == list(range(2, number + 1))
    writer.close()


@pytest.mark.parametrize("blocks", [5, 8, 9, 12])
def test_one_that_is_made_smaller_keeps_the_newest(tmp_path: Path, blocks: int) -> None:
    writer = Writer(tmp_path, 12 * BLOCK_BYTES)
    writer.started()
    writer.large(18 * OF_A_BLOCK)  # round, and half round again
    writer.close()
    smaller = Writer(tmp_path, blocks * BLOCK_BYTES, epoch=6)
    assert (tmp_path / "receipts.ring").stat().st_size <= blocks * BLOCK_BYTES
    found = numbers_found(tmp_path, range(writer.number + 1))
    assert found == list(range(found[0], writer.number + 1))
    assert len(found) >= (blocks - 1) * OF_A_BLOCK
    smaller.large((blocks - 2) * OF_A_BLOCK)
    smaller.close()
    still = numbers_found(tmp_path, range(smaller.number + 1, writer.number + 1))
    assert still
    assert still == list(range(still[0], writer.number + 1))  # the oldest were overwritten first


def test_one_that_is_made_larger_loses_nothing_before_it_is_full(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.started()
    writer.large(6 * OF_A_BLOCK)
    writer.close()
    before = numbers_found(tmp_path, range(writer.number + 1))
    larger = Writer(tmp_path, 12 * BLOCK_BYTES, epoch=6)
    larger.skip(writer.number)
    larger.large(7 * OF_A_BLOCK)
    larger.close()
    assert set(before) <= set(numbers_found(tmp_path, range(larger.number + 1)))


def test_two_at_once_have_a_file_each(tmp_path: Path) -> None:
    one, two = Writer(tmp_path, epoch=1), Writer(tmp_path, epoch=2)
    for number, writer in ((10, one), (20, two)):
        writer.started()
        writer.dispatched(number)
        writer.done(number)
        writer.ended()
    one.close()
    two.close()
    assert {path.name for path in tmp_path.iterdir()} == {"receipts.ring", "receipts-2.ring"}
    assert numbers_found(tmp_path, range(10, 21, 10)) == [10, 20]
    assert is_whole(tmp_path)


def test_its_file_is_its_owners_alone(tmp_path: Path) -> None:
    Writer(tmp_path / "new").close()
    assert (tmp_path / "new" / "receipts.ring").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_messages_that_were_dropped_are_known_to_be_missing(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.started()
    writer.dispatched(2)
    writer.skip(3)
    writer.dispatched(6)
    writer.close()
    coverage = find(tmp_path, 0).coverage
    assert coverage is not None
    assert coverage.gaps == [(2 + OFFSET, 6 + OFFSET)]
    assert not coverage.is_whole(1 + OFFSET, 6 + OFFSET)


def test_behind_a_daemon_whose_end_nobody_wrote_down_something_is_missing(tmp_path: Path) -> None:
    for epoch in (1, 2):
        writer = Writer(tmp_path, epoch=epoch)
        writer.started()
        writer.close()
    assert not is_whole(tmp_path)


def test_no_bytes_of_a_submitter_make_an_end_of_a_daemon(tmp_path: Path) -> None:
    """An id is its submitter's choice, and the last bytes of a block."""
    forged = pack_ended(1, 0)[:16]
    for epoch in (1, 2):
        writer = Writer(tmp_path, epoch=epoch)
        writer.started()
        columns = [forged[:15] + b"\0"], [0], [0]
        packed = records.pack_answered(epoch, 2, True, "OVERLOADED", "no", "", "spend", *columns)
        writer._add(b"".join(packed) + forged)
        writer.close()
    assert not is_whole(tmp_path)


def test_outcomes_that_are_missing_are_known_to_be(tmp_path: Path) -> None:
    """A dispatch's many outcomes are in several records: where one is gone, its items did not all go well."""
    outcomes = tuple(Outcome(0, item, 1, "SPENT", "no") for item in range(0, 3 * records.MOST_OUTCOMES, 2))
    writer = Writer(tmp_path)
    writer.started()
    writer.dispatched(2)
    for part in list(pack_done(EPOCH, 2, 3, 42, outcomes))[:-1]:
        writer._add(part)
    writer.close()
    (execution,) = find(tmp_path, 2).executions
    assert execution.done
    assert not execution.is_whole


def test_a_huge_dispatch_is_told_whole(tmp_path: Path) -> None:
    """100,000 requests of one item, each refused for itself."""
    count = 100_000
    outcomes = [Outcome(index, 0, 1, "SPENT", "no") for index in range(count)]
    ids = b"".join(request_id(index) for index in range(count))
    ring = Ring(tmp_path, 64 * BLOCK_BYTES)
    packed = [*pack_dispatched(EPOCH, 1, 1, 77, "write", "spend", ids, [1] * count, [1] * count)]
    packed += pack_done(EPOCH, 1, 2, 42, outcomes)
    for number, record in enumerate(packed, 1):
        assert len(record) < records.MOST_BYTES - 100
        ring.write([Message(EPOCH, number, number, record)], OFFSET)
    ring.close()
    with Receipts(tmp_path) as receipts:
        for index in (0, 999, 1000, count - 1):
            (execution,) = receipts.find(request_id(index)).executions
            assert execution.is_whole
            assert [part.place for part in execution.parts] == [index]
            assert execution.outcomes == [Outcome(index, 0, 1, "SPENT", "no")]


def test_where_the_time_of_day_is_set_each_receipt_keeps_its_own(tmp_path: Path) -> None:
    ring = Ring(tmp_path, LEAST)
    for number, offset in ((1, OFFSET), (2, OFFSET - 3_600_000_000)):
        packed = b"".join(pack_dispatched(EPOCH, number, 9, 77, "write", "spend", request_id(number), [8], [1]))
        ring.write([Message(EPOCH, number, 9, packed)], offset)
    ring.close()
    assert find(tmp_path, 1).executions[0].handed == 9 + OFFSET
    assert find(tmp_path, 2).executions[0].handed == 9 + OFFSET - 3_600_000_000


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path)
    writer.started()
    writer.dispatched(2)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space"):
            writer.dispatched(3)
    writer.dispatched(4)
    writer.close()
    assert numbers_found(tmp_path, range(2, 5)) == [2, 4]
    assert not is_whole(tmp_path)


def test_what_is_no_ring_is_none(tmp_path: Path) -> None:
    (tmp_path / "receipts.ring").write_bytes(os.urandom(3 * BLOCK_BYTES))
    assert find(tmp_path, 1).coverage is None
    writer = Writer(tmp_path)
    writer.started()
    writer.close()
    with (tmp_path / "receipts.ring").open("rb") as file:
        assert read_block(file.fileno(), 0) is not None


def test_a_daemon_of_which_the_first_messages_are_missing_has_a_gap_before_it(tmp_path: Path) -> None:
    writer = Writer(tmp_path, epoch=1)
    writer.started()
    writer.ended()
    writer.close()
    writer = Writer(tmp_path, epoch=2)
    writer.skip(5)
    writer.dispatched(6)
    writer.close()
    coverage = find(tmp_path, 0).coverage
    assert coverage is not None
    assert coverage.gaps == [(2 + OFFSET, 6 + OFFSET)]


@pytest.mark.parametrize("set_by", [-3600, 3600])
def test_a_gap_is_one_by_either_time_of_day_where_that_was_set_in_it(tmp_path: Path, set_by: int) -> None:
    ring, offsets = Ring(tmp_path, LEAST), (OFFSET, OFFSET + set_by * 1_000_000)
    times = [second * 1_000_000 for second in (1, 8_001, 8_009)]
    started, done = pack_started(EPOCH, times[0], 99, "1"), records.pack_all_well(EPOCH, 1, times[1], 1)
    ring.write([Message(EPOCH, 1, times[0], started), Message(EPOCH, 2, times[1], done)], offsets[0])
    ring.write([Message(EPOCH, 4, times[2], pack_ended(EPOCH, times[2]))], offsets[1])
    ring.close()
    coverage = find(tmp_path, 0).coverage
    assert coverage is not None
    for offset in offsets:
        assert not coverage.is_whole(8_004_000_000 + offset, 8_005_000_000 + offset)


def test_a_ring_of_another_version_is_found_to_be_none_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "receipts.ring").write_bytes(bytes(200 * BLOCK_BYTES))
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    assert find(tmp_path, 1).coverage is None
    assert len(pauses) < 10


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_done_to_its_bytes_nothing_is_made_up(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    writer = Writer(tmp_path)
    writer.started()
    for number in range(2, 8):
        writer.dispatched(number, others=chance.choice([0, 900]))
        writer.done(number, (Outcome(0, 0, 1, "SPENT", "no"),))
    writer.ended()
    writer.close()
    path = tmp_path / "receipts.ring"
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 3, 1000])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    for _ in range(chance.choice([0, 2])):  # of one block into another
        source, target, size = chance.randrange(len(data)), chance.randrange(len(data)), chance.randrange(BLOCK_BYTES)
        data[target : target + size] = data[source : source + size]
    path.write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
    for number in range(10):
        for execution in find(tmp_path, number).executions:
            assert 2 <= number < 8
            assert execution.outcomes == ([Outcome(0, 0, 1, "SPENT", "no")] if execution.is_whole else [])
