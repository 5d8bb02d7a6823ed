"""What becomes of a transaction after it was created, through a real daemon, on a master and a child record each; and
what a worker leaves that dies in the middle, which asking again completes (P4, P5)."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from protocol import Client, MinedBlock, Reassignment, Rejection, Spend, UtxodError, utxo_hash
from store import Read
from store.layout import record_key
from store.transaction import Transaction
from tests.support.daemon import Daemon, Start
from tests.support.patience import SOON, until
from utxod.generate import Generator

HEIGHT = 200
BLOCK = MinedBlock(7, HEIGHT - 1, 0)
OPTIONS = "&utxo_batch_size=1"
# However long workers take to start on a busy machine, and however long one hangs.
SETTINGS = {"block_height_retention": 100, "broker.workerless_seconds": 60, "broker.grace_seconds": 60}


class Life:
    """A coinbase of two outputs; and a transaction of two that spends the second one."""

    def __init__(self, client: Client, *, locked: bool) -> None:
        generate = Generator()
        self.parent = generate.coinbase([10, 10])
        self.child = generate.payment([(self.parent, 1)])
        client.create(self.parent.raw, block_height=1)
        assert client.spend(generate.spend((self.parent, 1), self.child)) is True
        client.create(self.child.raw, block_height=HEIGHT, locked=locked)


def output(transaction: Transaction, vout: int) -> tuple[bytes, int, bytes]:
    satoshis, script = transaction.outputs[vout]
    return transaction.txid, vout, utxo_hash(transaction.txid, vout, script, satoshis)


def records(daemon: Daemon, transaction: Transaction, name: str) -> list[Any]:
    """What this bin holds in the master and in the child record; None where it is not there."""
    with daemon.store() as store:
        reads = [Read(record_key(transaction.txid, record), [name]) for record in range(2)]
        return [result.value.get(name) for result in store.batch_operate(reads, SOON)]


def quiet(daemon: Daemon) -> None:
    daemon.wait_until(lambda status: status["owed"] == 0, within=60)


def code_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(Rejection) as raised:
        call(*arguments)
    assert raised.value.executed == "no"
    return raised.value.code


def test_a_transaction_lives_through_blocks_alerts_and_conflicts(start: Start) -> None:
    daemon = start(SETTINGS, store_options=OPTIONS)
    with daemon.client(timeout=60) as client:
        life = Life(client, locked=True)
        txid = life.child.txid
        at = {"block_height": HEIGHT}

        assert client.set_mined(txid, BLOCK, **at) == [7]
        assert records(daemon, life.child, "locked") == [False, False]
        assert client.set_mined(txid, MinedBlock(8, HEIGHT, 0), on_longest_chain=False, **at) == [7, 8]
        assert client.set_mined(txid, BLOCK, unset=True, on_longest_chain=False, **at) == [8]
        assert client.mark_longest_chain(txid, True, **at) is True
        assert client.get(txid, ["unminedSince", "blockIDs"]) == {"blockIDs": [8]}

        for vout in range(2):
            frozen = output(life.child, vout)
            assert client.freeze(*frozen) is True
            assert code_of(client.spend, Spend(*frozen, bytes(32), 0, HEIGHT)) == "FROZEN"
            assert client.unfreeze(*frozen) is True
        moved = output(life.child, 1)
        client.freeze(*moved)
        new_hash = client.reassign(Reassignment(*moved, 3, b"\x51", HEIGHT, 10))
        assert new_hash == utxo_hash(txid, 1, b"\x51", 3)
        assert client.outpoint(txid, 1) == (3, b"\x51")
        assert client.spend(Spend(txid, 1, new_hash, b"s" * 32, 0, HEIGHT + 10)) is True

        for value in (True, False):
            conflict = client.set_conflicting(txid, value, **at)
            assert conflict == ([(life.parent.txid, 1)], [b"s" * 32])
            assert records(daemon, life.child, "conflicting") == [value, value]
            quiet(daemon)
            assert records(daemon, life.child, "deleteAtHeight") == [HEIGHT + 100 if value else None] * 2
        client.set_conflicting(txid, True, **at)
        assert client.preserve_until(txid, HEIGHT + 500) is True
        quiet(daemon)
        assert records(daemon, life.child, "deleteAtHeight") == [None, None]
        assert records(daemon, life.child, "preserveUntil") == [HEIGHT + 500, None]
    assert daemon.counter("in_doubt") == 0


Landed = Callable[[Daemon, Life], bool]
# What hangs when its worker is killed: the rule, the worker's pool, and how one sees that it has landed.
DEATHS: list[tuple[str, str, str, Landed]] = [
    ("set_mined", "setMined", "write", lambda daemon, life: records(daemon, life.child, "blockIDs")[0] == [7]),
    ("set_mined", "setLocked", "children", lambda daemon, life: not any(records(daemon, life.child, "locked"))),
    (
        "set_conflicting",
        "setConflicting",
        "write",
        lambda daemon, life: records(daemon, life.child, "conflicting") == [True, False],
    ),
    (
        "set_conflicting",
        "noteConflicting",
        "write",
        lambda daemon, life: records(daemon, life.parent, "conflictingCs")[0] is not None,
    ),
]


def ask(client: Client, operation: str, txid: bytes) -> Any:
    if operation == "set_mined":
        return client.set_mined(txid, BLOCK, block_height=HEIGHT)
    return client.set_conflicting(txid, True, block_height=HEIGHT)


@pytest.mark.parametrize("late", [False, True], ids=["before it has landed", "after"])
@pytest.mark.parametrize(("operation", "function", "pool", "landed"), DEATHS, ids=[death[1] for death in DEATHS])
def test_what_a_killed_worker_has_left_is_completed_by_asking_again(
    start: Start, operation: str, function: str, pool: str, landed: Landed, late: bool
) -> None:
    daemon = start(SETTINGS, store_options=OPTIONS)
    with daemon.client(timeout=60) as client, ThreadPoolExecutor(1) as caller:
        life = Life(client, locked=operation == "set_mined")
        quiet(daemon)
        daemon.faults.set(kind="hang", function=function, after=late)
        asked = caller.submit(ask, client, operation, life.child.txid)
        daemon.wait_until(lambda status: status["pools"][pool]["in_flight"] == 1, within=60)
        if late:
            until(lambda: landed(daemon, life), within=60)
        os.kill(daemon.workers(pool)[0], signal.SIGKILL)
        with pytest.raises(UtxodError) as raised:
            asked.result()
        assert (raised.value.code, raised.value.executed) == ("WORKER_CRASHED", "unknown")
        daemon.faults.clear()

        expected: Any = [7] if operation == "set_mined" else ([(life.parent.txid, 1)], [])
        assert ask(client, operation, life.child.txid) == expected
        quiet(daemon)
    if operation == "set_mined":
        assert records(daemon, life.child, "locked") == [False, False]
    else:
        assert records(daemon, life.child, "conflicting") == [True, True]
        assert records(daemon, life.child, "deleteAtHeight") == [HEIGHT + 100] * 2
        assert records(daemon, life.parent, "conflictingCs") == [[life.child.txid], None]
