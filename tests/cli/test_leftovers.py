"""utxod leftovers: what is left of an earlier life is named, and removed when somebody says so, and nothing else."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from store import Mode, Read, RecordOperation, Remove, Result, Status, Write, open_store
from store.layout import ABANDONED, CreationOptions, Partial, child_key, create_records, lock_key
from store.transaction import Output
from tests.support.aerospike_server import AEROSPIKE
from utxod.commands import cli
from utxod.leftovers import LeftoversError, remove_leftovers

TXID = bytes(range(32))
SHOWN = TXID[::-1].hex()
CHILDREN = [child_key(TXID, child) for child in (1, 2)]


@pytest.fixture
def url(store_url: str) -> str:
    """Of a set with a transaction of three records in it."""
    url = f"{store_url}&utxo_batch_size=512"
    source = Partial(TXID, dict.fromkeys((0, 600, 1200), Output(1, b"\x51")))
    creation = create_records(source, CreationOptions(1, 0, utxo_batch_size=512))
    operate(url, *(Write(key, bins, Mode.CREATE) for key, bins in creation.records))
    return url


def operate(url: str, *operations: RecordOperation) -> list[Result]:
    with contextlib.closing(open_store(url)) as store:
        return store.batch_operate(operations, 5)


def leftovers(url: str, *arguments: str) -> Any:
    return CliRunner().invoke(cli, ["leftovers", SHOWN, "--store", url, *arguments], catch_exceptions=False)


def there(url: str) -> list[bool]:
    return [result.status is Status.OK for result in operate(url, *(Read(key) for key in (TXID, *CHILDREN)))]


def test_children_without_a_master_are_named_and_removed_when_somebody_says_so(url: str) -> None:
    operate(url, Remove(TXID))
    named = leftovers(url)
    assert named.exit_code == 0
    assert named.output.splitlines()[:2] == [key.hex() for key in CHILDREN]
    assert "--remove" in named.output
    removed = leftovers(url, "--remove")
    assert "2 of 2 records removed" in removed.output
    assert "none" in leftovers(url).output
    assert there(url) == [False] * 3
    assert operate(url, Read(lock_key(TXID)))[0].status is Status.NOT_FOUND


@pytest.mark.parametrize("arguments", [(), ("--remove",)], ids=["looked for", "removed"])
def test_while_its_creation_is_barred_it_is_said_to_be_abandoned_and_not_there(url: str, arguments: Any) -> None:
    operate(url, Remove(TXID), Write(TXID, {ABANDONED: True}, Mode.CREATE))
    result = leftovers(url, *arguments)
    assert result.exit_code == 1
    assert "being abandoned, and not in the set: ask again" in result.output
    assert there(url) == [True] * 3
    operate(url, Remove(TXID))
    assert leftovers(url, *arguments).exit_code == 0


def test_a_transaction_that_is_in_the_set_keeps_its_children(url: str) -> None:
    result = leftovers(url, "--remove")
    assert result.exit_code == 1
    assert "its child records are its own" in result.output
    assert there(url) == [True] * 3


def test_what_a_creation_has_begun_is_no_leftover(url: str) -> None:
    operate(url, Remove(TXID), Write(CHILDREN[0], {"creating": True}, Mode.UPDATE))
    assert leftovers(url).output.splitlines()[0] == CHILDREN[1].hex()
    assert leftovers(url, "--remove").exit_code == 0
    assert there(url) == [False, True, False]


def test_a_creation_that_comes_between_keeps_its_children(store_kind: str, url: str) -> None:
    """Found before it; to be removed after it."""
    with contextlib.closing(open_store(url)) as store, pytest.raises(LeftoversError, match="its own"):
        remove_leftovers(store, TXID, CHILDREN)
    assert there(url) == [True] * 3


@pytest.mark.parametrize("store_kind", [AEROSPIKE], indirect=True)
def test_a_creation_that_holds_its_lock_is_not_disturbed(url: str) -> None:
    operate(url, Remove(TXID))
    operate(url, Write(lock_key(TXID), {"token": b"theirs"}, Mode.CREATE, ttl=60))
    result = leftovers(url, "--remove")
    assert result.exit_code == 1
    assert "somebody is creating the transaction" in result.output
    assert there(url) == [False, True, True]


def test_a_txid_that_is_none_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["leftovers", "12ab", "--store", f"lmdb://{tmp_path}/set"])
    assert result.exit_code == 2
    assert "64 hexadecimal digits" in result.output
