import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.blobs import FileBlobStore, NoBlobStore
from store.layout import Partial
from store.transaction import Output, Transaction, iter_block, parse_transaction

TXID = bytes(range(32))
NAME = TXID[::-1].hex()
SPARSE = Partial(TXID, {1: Output(5, b"\x51"), 4: Output(2**63, b"\x6a" * 70_000)})
OTHER = Partial(TXID, {0: Output(1, b"")})
HEADER_BYTES, OFFSET_BYTES = 9, 8


@pytest.fixture(params=[True, False], ids=["synced", "unsynced"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> FileBlobStore:
    return FileBlobStore(tmp_path / "blobs", sync=request.param)


def part_of(transaction: Transaction) -> Partial:
    return Partial(transaction.txid, {1: transaction.outputs[1]})


def answer_or_error(read: Callable[[], Any]) -> Any:
    """What it returns, or how the message of its error of the disk begins."""
    try:
        return read()
    except OSError as error:
        return str(error)[: len("blob of ") + 64]


def only_file(directory: Path) -> Path:
    [path] = directory.rglob("*.blob")
    return path


def test_a_whole_transaction_comes_back_and_each_of_its_outputs(
    blobs: FileBlobStore, first_payment: Transaction
) -> None:
    assert blobs.put_new(first_payment) is True
    assert blobs.get(first_payment.txid) == first_payment.raw
    assert [blobs.output(first_payment.txid, vout) for vout in (0, 1)] == first_payment.outputs
    for vout in (-1, 2, 2**40):
        assert blobs.output(first_payment.txid, vout) is None


def saying(payment: Transaction, satoshis: int) -> Transaction:
    """In the extended format: what it says that its one input spends."""
    spend = payment.inputs[0]._replace(satoshis=satoshis, locking_script=b"\x51").serialise()
    after = payment.raw[5 + len(payment.inputs[0].raw) :]
    return parse_transaction(payment.raw[:4] + bytes.fromhex("0000000000ef01") + spend + after)


def test_an_extended_transaction_comes_back_as_it_was_put(blobs: FileBlobStore, first_payment: Transaction) -> None:
    extended = saying(first_payment, 7)
    assert blobs.put_new(extended)
    assert blobs.get(extended.txid) == extended.raw
    assert [blobs.output(extended.txid, vout) for vout in (0, 1)] == extended.outputs


def test_every_output_of_the_real_blocks_comes_back(tmp_path: Path, blocks: list[bytes]) -> None:
    blobs = FileBlobStore(tmp_path, sync=False)
    for transaction in list(iter_block(blocks[0]))[:100]:
        blobs.put_new(transaction)
        found = [blobs.output(transaction.txid, vout) for vout in range(len(transaction.outputs))]
        assert found == transaction.outputs
        assert blobs.get(transaction.txid) == transaction.raw


def test_some_outputs_come_back_and_the_blob_says_that_it_has_no_others(blobs: FileBlobStore) -> None:
    assert blobs.put_new(SPARSE) is True
    assert {vout: blobs.output(TXID, vout) for vout in range(6)} == dict.fromkeys(range(6)) | dict(SPARSE.outputs)
    assert blobs.get(TXID) is None


def test_a_blob_is_deleted_once(blobs: FileBlobStore) -> None:
    assert blobs.delete(TXID) is False
    blobs.put_new(SPARSE)
    assert blobs.delete(TXID) is True
    assert blobs.delete(TXID) is False
    assert blobs.put_new(OTHER) is True


# What is missing or damaged is an error


def test_a_missing_blob_is_an_error_that_names_it(blobs: FileBlobStore) -> None:
    for read in (lambda: blobs.get(TXID), lambda: blobs.output(TXID, 0)):
        with pytest.raises(FileNotFoundError, match=f"blob of {NAME}: missing"):
            read()


def test_while_the_directory_is_away_nothing_is_found_absent_or_put(tmp_path: Path, first_payment: Transaction) -> None:
    directory, away = tmp_path / "blobs", tmp_path / "away"
    blobs = FileBlobStore(directory)
    blobs.put_new(SPARSE)
    directory.rename(away)
    for read in (lambda: blobs.get(TXID), lambda: blobs.output(TXID, 0)):
        with pytest.raises(FileNotFoundError, match=f"blob of {NAME}: missing"):
            read()
    for change in (
        lambda: blobs.put_new(first_payment),
        lambda: blobs.replace(first_payment),
        lambda: blobs.delete(TXID),
    ):
        with pytest.raises(FileNotFoundError, match=str(directory)):
            change()
    assert not directory.exists()
    away.rename(directory)
    assert blobs.output(TXID, 1) == SPARSE.outputs[1]
    assert blobs.put_new(first_payment)


def test_a_store_without_a_directory_for_blobs_says_so_whatever_is_asked(first_payment: Transaction) -> None:
    blobs = NoBlobStore()
    for ask in (
        lambda: blobs.put_new(first_payment),
        lambda: blobs.replace(first_payment),
        lambda: blobs.get(TXID),
        lambda: blobs.output(TXID, 0),
        lambda: blobs.delete(TXID),
    ):
        with pytest.raises(OSError, match="give it blobs=DIRECTORY"):
            ask()
    assert blobs.has_whole(TXID) is False


@pytest.mark.parametrize("whole", [True, False])
def test_wherever_a_blob_was_cut_off_it_gives_what_it_held_or_an_error(
    tmp_path: Path, first_payment: Transaction, whole: bool
) -> None:
    source = first_payment if whole else part_of(first_payment)
    blobs = FileBlobStore(tmp_path, sync=False)
    blobs.put_new(source)
    path, name = only_file(tmp_path), source.txid[::-1].hex()
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        if whole or size < HEADER_BYTES:
            with pytest.raises(OSError, match="blob of"):
                blobs.get(source.txid)
        for vout in (0, 1):
            expected = first_payment.outputs[vout] if whole or vout == 1 else None
            assert answer_or_error(lambda vout=vout: blobs.output(source.txid, vout)) in (expected, f"blob of {name}")


def test_a_flipped_bit_never_ends_in_anything_but_an_answer_or_an_error_of_the_disk(
    tmp_path: Path, first_payment: Transaction
) -> None:
    blobs = FileBlobStore(tmp_path, sync=False)
    blobs.put_new(first_payment)
    path = only_file(tmp_path)
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in (1, 0x80):
            path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
            answer_or_error(lambda: blobs.get(first_payment.txid))
            answer_or_error(lambda: blobs.output(first_payment.txid, 1))


@pytest.mark.parametrize("spoil", [lambda blob: blob[:-1], lambda blob: b"", lambda blob: b"other format" * 9])
def test_a_spoilt_blob_is_an_error_of_the_disk(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    blobs = FileBlobStore(tmp_path)
    blobs.put_new(Partial(TXID, {0: Output(1, b"x")}))
    path = only_file(tmp_path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(OSError, match=f"blob of {NAME}"):
        blobs.output(TXID, 0)


def test_a_blob_is_read_by_its_written_description(tmp_path: Path) -> None:
    FileBlobStore(tmp_path).put_new(Partial(TXID, {1: Output(5, b"\x51")}))
    header = b"UXB\x01" + b"\0" + b"\x02\0\0\0"
    offsets = b"\xff" * 8 + bytes(8)
    assert only_file(tmp_path).read_bytes() == header + offsets + b"\x05" + bytes(7) + b"\x01\x51"


# What is there is replaced only by who says so, and a whole one by nothing less


def test_putting_something_new_never_replaces_what_is_there(
    tmp_path: Path, blobs: FileBlobStore, first_payment: Transaction
) -> None:
    part = part_of(first_payment)
    for first, second in ((part, first_payment), (first_payment, part), (part, part)):
        assert blobs.put_new(first) is True
        content = only_file(tmp_path).read_bytes()
        assert blobs.put_new(second) is False
        assert only_file(tmp_path).read_bytes() == content
        blobs.delete(first_payment.txid)
    blobs.put_new(part)
    only_file(tmp_path).write_bytes(b"damaged")
    assert blobs.put_new(first_payment) is False
    assert only_file(tmp_path).read_bytes() == b"damaged"


def test_of_two_that_put_at_once_one_is_kept_as_a_whole(
    tmp_path: Path, blobs: FileBlobStore, first_payment: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, rival = os.link, FileBlobStore(tmp_path / "blobs", sync=False)

    def link_after_the_rival(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", real)
        assert rival.put_new(first_payment)
        real(source, target)

    monkeypatch.setattr(os, "link", link_after_the_rival)
    assert blobs.put_new(part_of(first_payment)) is False
    assert blobs.get(first_payment.txid) == first_payment.raw


def test_a_replacement_is_put_where_there_is_nothing(blobs: FileBlobStore, first_payment: Transaction) -> None:
    blobs.replace(first_payment)
    blobs.replace(SPARSE)
    assert blobs.get(first_payment.txid) == first_payment.raw
    assert blobs.output(TXID, 1) == SPARSE.outputs[1]


def test_a_partial_one_is_replaced_by_a_partial_and_by_a_whole_one(
    blobs: FileBlobStore, first_payment: Transaction
) -> None:
    blobs.put_new(SPARSE)
    blobs.replace(OTHER)
    assert [blobs.output(TXID, vout) for vout in (0, 1)] == [Output(1, b""), None]
    blobs.put_new(part_of(first_payment))
    blobs.replace(first_payment)
    assert blobs.get(first_payment.txid) == first_payment.raw


def test_a_whole_one_is_never_replaced_by_a_partial_one_not_even_where_it_is_damaged(
    tmp_path: Path, blobs: FileBlobStore, first_payment: Transaction
) -> None:
    blobs.put_new(first_payment)
    path = only_file(tmp_path)
    for content in (path.read_bytes(), path.read_bytes()[:-1]):
        path.write_bytes(content)
        blobs.replace(part_of(first_payment))
        assert path.read_bytes() == content


def test_a_sound_whole_one_stays_in_the_format_it_came_in(
    tmp_path: Path, blobs: FileBlobStore, first_payment: Transaction
) -> None:
    blobs.put_new(first_payment)
    before = only_file(tmp_path).stat()
    blobs.replace(first_payment)
    assert only_file(tmp_path).stat().st_ino == before.st_ino


def test_a_sound_whole_one_is_replaced_by_what_says_something_else_of_its_inputs(
    blobs: FileBlobStore, first_payment: Transaction
) -> None:
    lie, truth = saying(first_payment, 7), saying(first_payment, 8)
    blobs.put_new(lie)
    blobs.replace(truth)
    assert blobs.get(first_payment.txid) == truth.raw


@pytest.mark.parametrize(
    "spoil",
    [
        lambda blob: blob[:-1],
        lambda blob: b"",
        lambda blob: b"other format" * 9,
        lambda blob: blob[: HEADER_BYTES + 2 * OFFSET_BYTES],
        lambda blob: blob[:HEADER_BYTES] + bytes(2 * OFFSET_BYTES) + blob[HEADER_BYTES + 2 * OFFSET_BYTES :],
        lambda blob: blob[:-30] + bytes([blob[-30] ^ 1]) + blob[-29:],
    ],
    ids=["cut", "empty", "other format", "no payload", "wrong table", "another transaction"],
)
def test_a_damaged_whole_one_is_replaced_by_a_whole_one(
    tmp_path: Path, blobs: FileBlobStore, first_payment: Transaction, spoil: Callable[[bytes], bytes]
) -> None:
    blobs.put_new(first_payment)
    path = only_file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(spoil(content))
    blobs.replace(first_payment)
    assert path.read_bytes() == content


def test_what_nobody_can_read_is_not_given_up_for_a_partial_one(tmp_path: Path, blobs: FileBlobStore) -> None:
    blobs.put_new(SPARSE)
    only_file(tmp_path).write_bytes(b"UXB\x02 of a program to come")
    with pytest.raises(OSError, match=f"blob of {NAME}: unknown format"):
        blobs.replace(OTHER)
    assert only_file(tmp_path).read_bytes() == b"UXB\x02 of a program to come"


def test_blobs_are_replaced_by_one_process_at_a_time_and_who_waits_too_long_says_for_what(
    tmp_path: Path, blobs: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.blobs._REPLACE_BUDGET", 0.01)
    blobs.put_new(SPARSE)
    with (tmp_path / "blobs" / "replace.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OSError, match=r"replace\.lock: held by another process"):
            blobs.replace(OTHER)
        assert blobs.output(TXID, 0) is None
    blobs.replace(OTHER)
    assert blobs.output(TXID, 0) == Output(1, b"")


def test_nobody_replaces_a_blob_while_another_judges_what_is_there(
    tmp_path: Path, blobs: FileBlobStore, first_payment: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a partial one could replace the whole one that came after it had been found to be partial."""
    monkeypatch.setattr("store.blobs._REPLACE_BUDGET", 0.01)
    judge, rival = blobs._gives_way, FileBlobStore(tmp_path / "blobs", sync=False)

    def judge_beside_the_rival(path: Path, source: Transaction | Partial) -> bool:
        with pytest.raises(TimeoutError):
            rival.replace(first_payment)
        return judge(path, source)

    monkeypatch.setattr(blobs, "_gives_way", judge_beside_the_rival)
    blobs.put_new(part_of(first_payment))
    blobs.replace(part_of(first_payment))
    rival.replace(first_payment)
    assert blobs.get(first_payment.txid) == first_payment.raw


@pytest.mark.parametrize("put", ["put_new", "replace"])
def test_a_put_that_fails_half_way_leaves_what_was_there_and_no_rest(
    tmp_path: Path, first_payment: Transaction, monkeypatch: pytest.MonkeyPatch, put: str
) -> None:
    blobs = FileBlobStore(tmp_path)
    blobs.replace(SPARSE)
    blobs.put_new(first_payment)
    blobs.delete(first_payment.txid)  # its folder is there, and stays
    before = sorted(tmp_path.rglob("*"))
    source = first_payment if put == "put_new" else OTHER

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        getattr(blobs, put)(source)
    assert sorted(tmp_path.rglob("*")) == before
    assert blobs.output(TXID, 1) == SPARSE.outputs[1]


def test_a_store_opens_where_its_directory_can_be_made_and_only_there(tmp_path: Path) -> None:
    FileBlobStore(tmp_path / "a" / "b").put_new(SPARSE)
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OSError, match="Not a directory"):
        FileBlobStore(tmp_path / "a" / "b")
