import os
from collections.abc import Callable
from pathlib import Path

import pytest

from store.blobs import BlobStore
from store.transaction import Output, Transaction, iter_block

TXID = bytes(range(32))
SPARSE = {1: Output(5, b"\x51"), 4: Output(2**63, b"\x6a" * 70_000)}


@pytest.fixture(params=[True, False], ids=["synced", "unsynced"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs", sync=request.param)


def test_a_whole_transaction_comes_back_and_each_of_its_outputs(blobs: BlobStore, first_payment: Transaction) -> None:
    blobs.put(first_payment)
    assert blobs.get(first_payment.txid) == first_payment.raw
    assert [blobs.output(first_payment.txid, vout) for vout in (0, 1)] == first_payment.outputs
    for vout in (-1, 2, 2**40):
        assert blobs.output(first_payment.txid, vout) is None


def test_every_output_of_the_real_blocks_comes_back(tmp_path: Path, blocks: list[bytes]) -> None:
    blobs = BlobStore(tmp_path, sync=False)
    for transaction in list(iter_block(blocks[0]))[:100]:
        blobs.put(transaction)
        found = [blobs.output(transaction.txid, vout) for vout in range(len(transaction.outputs))]
        assert found == transaction.outputs


def test_some_outputs_come_back_and_the_others_are_absent(blobs: BlobStore) -> None:
    blobs.put_outputs(TXID, SPARSE)
    assert {vout: blobs.output(TXID, vout) for vout in range(6)} == dict.fromkeys(range(6)) | SPARSE
    assert blobs.get(TXID) is None


def test_what_was_never_put_is_absent(blobs: BlobStore) -> None:
    assert blobs.get(TXID) is None
    assert blobs.output(TXID, 0) is None
    assert blobs.delete(TXID) is False
    assert blobs.set_delete_at_height(TXID, 5) is False


def test_a_blob_can_be_put_again_and_deleted(blobs: BlobStore) -> None:
    blobs.put_outputs(TXID, SPARSE)
    blobs.put_outputs(TXID, {0: Output(1, b"")})
    assert blobs.output(TXID, 0) == Output(1, b"")
    assert list(blobs) == [TXID]
    blobs.set_delete_at_height(TXID, 5)
    assert blobs.delete(TXID) is True
    assert (blobs.output(TXID, 0), blobs.delete_at_height(TXID), list(blobs)) == (None, None, [])


def test_a_blob_is_marked_for_deletion_and_unmarked(blobs: BlobStore) -> None:
    blobs.put_outputs(TXID, SPARSE)
    assert blobs.delete_at_height(TXID) is None
    for height in (1288, 1300):
        assert blobs.set_delete_at_height(TXID, height) is True
        assert blobs.delete_at_height(TXID) == height
    assert blobs.set_delete_at_height(TXID, 0) is True
    assert blobs.delete_at_height(TXID) is None
    assert blobs.output(TXID, 1) == SPARSE[1]


def test_a_put_that_fails_half_way_leaves_the_old_blob_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = BlobStore(tmp_path)
    blobs.put_outputs(TXID, SPARSE)
    before = sorted(tmp_path.rglob("*"))

    def fail(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        blobs.put_outputs(TXID, {0: Output(1, b"")})
    assert sorted(tmp_path.rglob("*")) == before
    assert blobs.output(TXID, 1) == SPARSE[1]


@pytest.mark.parametrize("spoil", [lambda blob: blob[:-1], lambda blob: b"", lambda blob: b"other format" * 9])
def test_a_spoilt_blob_is_an_error_of_the_disk(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    blobs = BlobStore(tmp_path)
    blobs.put_outputs(TXID, {0: Output(1, b"x")})
    [path] = tmp_path.rglob("*.blob")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(OSError, match="blob"):
        blobs.output(TXID, 0)


def test_a_blob_is_read_by_its_written_description(tmp_path: Path) -> None:
    BlobStore(tmp_path).put_outputs(TXID, {1: Output(5, b"\x51")})
    [path] = tmp_path.rglob("*.blob")
    header = b"UXB\x01" + b"\0" + b"\x02\0\0\0"
    offsets = b"\xff" * 8 + bytes(8)
    assert path.read_bytes() == header + offsets + b"\x05" + bytes(7) + b"\x01\x51"
