"""utxod show: a record as a person and as a program reads it, and everything odd about it, asked of a real daemon."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from click.testing import CliRunner

from protocol import Spend, utxo_hash
from store import Mode, Read, Remove, RuleCall, Write
from store.layout import child_key
from store.transaction import Output, Transaction, parse_transaction
from tests.support.dispatching import call_rule, hash_of
from tests.support.looked_at import HEIGHT, LookedAt
from utxod.commands import cli
from utxod.generate import COIN
from utxod.record_kinds import split_by_kind
from utxod.show import _FIELDS

KEYS = {
    "txid", "is_coinbase", "is_partial", "size", "fee", "created_at", "outputs", "looked_at", "states", "blocks",
    "unmined_since", "on_longest_chain", "spendable_from", "creating", "conflicting", "locked", "preserve_until",
    "delete_at_height", "external", "child_records", "child_records_spent", "conflicting_children",
    "conflicting_children_more", "pruned_spenders", "reassignments", "odd",
}  # fmt: skip
BLOCKS = [(11, HEIGHT, 3)]
GONE = b"s" * 32  # a spender that is not in the set


class Served(LookedAt):
    command = "show"
    keys = KEYS

    def odd(self, txid: bytes) -> list[str]:
        """What is odd; the text for people says the same."""
        odd: list[str] = self.told(txid)["odd"]
        text = self.text(txid)
        assert all(each in text for each in odd)
        assert odd or text.endswith("odd nothing")
        return odd

    def coinbase(self, outputs: int = 4) -> Transaction:
        made = self.generate.coinbase([COIN] * outputs)
        self.client.create(made.raw, block_height=HEIGHT, mined=BLOCKS)
        return made

    def payment(self, outputs: int = 4, **options: Any) -> Transaction:
        """In a block."""
        return super().payment(outputs, **({"mined": BLOCKS} | options))

    def spend(self, transaction: Transaction, *vouts: int, spender: bytes | None = None) -> None:
        """By one transaction, which is in the set unless it is named."""
        if spender is None:
            spender = self.payment(1).txid
        for vout in vouts:
            self.client.spend(Spend(transaction.txid, vout, hash_of(transaction, vout), spender, vout, HEIGHT))

    def put(self, key: bytes, **bins: Any) -> None:
        self.store.batch_operate([Write(key, bins, Mode.UPDATE)], 5.0)

    def bins(self, key: bytes) -> dict[str, Any]:
        bins: dict[str, Any] = self.store.batch_operate([Read(key)], 5.0)[0].value
        return bins


@pytest.fixture(scope="module")
def served(store_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served.serving(tmp_path_factory.mktemp("show"), store_kind) as served:
        yield served


# ---- what it is


def test_a_transaction_is_told_whole(served: Served) -> None:
    payment = served.payment()
    served.spend(payment, 3)
    told = served.told(payment.txid)
    first = {"spending_txid": None, "spending_vin": None, "spendable_from": None}
    spender = told["states"]["SPENT"]["first"].pop("spending_txid")
    created_at = told.pop("created_at")
    assert abs(datetime.fromisoformat(created_at).timestamp() - time.time()) < 3600
    assert len(bytes.fromhex(spender)) == 32
    assert told == {
        "txid": payment.txid[::-1].hex(),
        "is_coinbase": False,
        "is_partial": False,
        "size": len(payment.raw),
        "fee": None,
        "outputs": 4,
        "looked_at": 4,
        "states": {
            "UNSPENT": {"count": 3, "first": {"vout": 0, "satoshis": payment.outputs[0].satoshis, **first}},
            "SPENT": {
                "count": 1,
                "first": {
                    "vout": 3,
                    "satoshis": payment.outputs[3].satoshis,
                    "spending_vin": 3,
                    "spendable_from": None,
                },
            },
        },
        "blocks": [{"id": 11, "height": HEIGHT, "subtree": 3}],
        "unmined_since": None,
        "on_longest_chain": True,
        "spendable_from": None,
        "creating": False,
        "conflicting": False,
        "locked": False,
        "preserve_until": None,
        "delete_at_height": None,
        "external": True,
        "child_records": 1,
        "child_records_spent": 0,
        "conflicting_children": [],
        "conflicting_children_more": 0,
        "pruned_spenders": 0,
        "reassignments": [],
        "odd": [],
    }
    text = served.text(payment.txid)
    assert f"a transaction of {len(payment.raw)} bytes" in text
    assert "block 11 at height 200, subtree 3 on the longest chain" in text
    assert "outputs 4 3 unspent, the first is output 0 (2.50000000 coins) 1 spent, the first is output 3" in text
    assert f"by input 3 of {spender}" in text
    assert "2 records, 1 of them child records (0 all spent), and a file" in text


def test_a_coinbase_says_from_when_on_it_may_be_spent(served: Served) -> None:
    coinbase = served.coinbase()
    told = served.told(coinbase.txid)
    assert (told["is_coinbase"], told["spendable_from"], list(told["states"])) == (True, HEIGHT + 100, ["IMMATURE"])
    assert "4 unspent, and a coinbase's, the first is output 0 (1.00000000 coins): may be spent from height 300 on" in (
        served.text(coinbase.txid)
    )
    assert list(served.told(coinbase.txid, "--height", "300")["states"]) == ["UNSPENT"]
    assert "4 immature at height 299" in served.text(coinbase.txid, "--height", "299")


def test_a_fee_is_told_where_the_inputs_are_known(served: Served) -> None:
    spent, paid = Output(1_000, b"\x51"), Output(900, b"\x51")
    extended = b"\1\0\0\0\0\0\0\0\0\xef\1" + b"p" * 32 + bytes(4) + b"\0" + b"\xff" * 4
    raw = extended + spent.serialise() + b"\1" + paid.serialise() + bytes(4)
    served.client.create(raw, block_height=HEIGHT)
    txid = parse_transaction(raw).txid
    assert served.told(txid)["fee"] == 100
    assert "fee 100 satoshis" in served.text(txid)
    assert "in no block, since height 200" in served.text(txid)
    assert served.odd(txid) == []


def test_of_a_partial_one_what_nobody_told_of_is_no_utxo(served: Served) -> None:
    txid = b"p" * 32
    served.client.create_partial(txid, {1: (5, b"\x51"), 4: (6, b"\x51")}, block_height=HEIGHT)
    told = served.told(txid)
    assert (told["is_partial"], told["size"], told["outputs"]) == (True, None, 5)
    assert {state: group["count"] for state, group in told["states"].items()} == {"NO_UTXO": 3, "UNSPENT": 2}
    assert told["states"]["NO_UTXO"]["first"] == {"vout": 0}
    assert "a transaction of which only some outputs are known" in served.text(txid)
    assert "3 no UTXO, the first is output 0" in served.text(txid)
    assert told["odd"] == []


def test_a_finished_one_is_to_be_deleted_and_that_is_not_odd(served: Served) -> None:
    payment = served.payment()
    served.spend(payment, 0, 1, 2, 3)
    served.daemon.wait_until(lambda _: served.told(payment.txid)["delete_at_height"])
    told = served.told(payment.txid)
    assert (list(told["states"]), told["child_records_spent"], told["odd"]) == (["SPENT"], 1, [])
    assert f"to be deleted at height {told['delete_at_height']}" in served.text(payment.txid)


def test_conflicting_children_are_listed_as_far_as_somebody_wants_to_read(served: Served) -> None:
    payment = served.payment()
    children = [bytes([number]) * 32 for number in range(12)]
    for child in children:
        served.store.batch_operate([RuleCall(payment.txid, "noteConflicting", (child,))], 5.0)
    assert served.told(payment.txid)["conflicting_children"] == [child.hex() for child in children]
    text = served.text(payment.txid)
    assert children[9].hex() in text
    assert children[10].hex() not in text
    assert "... and 2 more" in text


def test_of_many_outputs_so_many_are_looked_at_as_were_asked_for(served: Served) -> None:
    payment = served.payment(2_500)
    served.spend(payment, 2_499, 7)
    for most, looked_at, spent in ((0, 0, 0), (1, 1, 0), (8, 8, 1), (1_000, 1_000, 1), (9_999, 2_500, 2)):
        told = served.told(payment.txid, "--outputs", str(most))
        assert (told["looked_at"], told["odd"]) == (looked_at, [])
        assert sum(group["count"] for group in told["states"].values()) == looked_at
        assert told["states"].get("SPENT", {"count": 0})["count"] == spent
    assert "2,500, of which the first 1,000 were looked at" in served.text(payment.txid)
    assert len(served.run(payment.txid, "--outputs", "9999").stdout.splitlines()) < 20


def test_what_is_still_being_created_is_told_without_the_records_that_are_to_come(served: Served) -> None:
    payment = served.payment()
    served.put(payment.txid, creating=True)
    served.store.batch_operate([Remove(child_key(payment.txid, 1))], 5.0)
    told = served.told(payment.txid)
    assert (told["creating"], told["odd"]) == (True, [])
    assert {state: group["count"] for state, group in told["states"].items()} == {"CREATING": 4}
    assert "4 being created, the first is output 0" in served.text(payment.txid)


# ---- what is odd about it


Damage = Callable[[Served, Transaction], object]


def bins(**bins: Any) -> Damage:
    """In the master record."""
    return lambda served, payment: served.put(payment.txid, **bins)


def aged(served: Served, payment: Transaction) -> None:
    served.put(payment.txid, creating=True, createdAt=time.time_ns() // 1_000_000 - 90_000_000)


def frozen(served: Served, payment: Transaction) -> None:
    call_rule(served.store, payment, 1, "freeze")


def reassigned(served: Served, payment: Transaction) -> None:
    moved = Output(payment.outputs[1].satoshis, b"\x52")
    hashed = utxo_hash(payment.txid, 1, moved.locking_script, moved.satoshis)
    call_rule(served.store, payment, 1, "freeze")
    call_rule(served.store, payment, 1, "reassign", hashed, *moved, HEIGHT, 0)


def miscounted(served: Served, payment: Transaction) -> None:
    """As another program's counter that has drifted."""
    served.put(payment.txid, spentExtraRecs=1, childStates=None)


def unheard(served: Served, payment: Transaction) -> None:
    """As a note that was lost with its daemon."""
    served.spend(payment, 2, 3)
    served.daemon.wait_until(lambda _: served.bins(payment.txid)["spentExtraRecs"])
    served.put(payment.txid, spentExtraRecs=0, childStates=bytes(2))


def without_child(served: Served, payment: Transaction) -> None:
    served.store.batch_operate([Remove(child_key(payment.txid, 1))], 5.0)


def without_blob(served: Served, payment: Transaction) -> None:
    served.store.blobs.delete(payment.txid)


def spent_by_nobody(served: Served, payment: Transaction) -> None:
    served.spend(payment, 1, spender=GONE)


ODD: dict[str, tuple[Damage, list[str]]] = {
    "locked": (bins(locked=True), ["it is locked: nobody can spend"]),
    "creating for long": (aged, ["its creation was begun 90,000 seconds ago"]),
    "conflicting and mined": (bins(conflicting=True), ["it is conflicting, and mined on the longest chain"]),
    "off the chain": (bins(unminedSince=250), ["it is in a block, and off the longest chain since height 250"]),
    "in no block": (bins(blockIDs=None, blockHeights=None, subtreeIdxs=None), ["it is in no block, and does not say"]),
    "blocks askew": (bins(blockHeights=[HEIGHT, 201]), ["its lists of block ids, heights and subtrees are not"]),
    "to be deleted": (bins(deleteAtHeight=500), ["it is to be deleted at height 500, though 4 outputs"]),
    "preserved": (
        bins(deleteAtHeight=500, preserveUntil=900),
        ["though 4 outputs", "it is to be deleted at height 500, though it is preserved until height 900"],
    ),
    "locked too": (
        bins(deleteAtHeight=500, locked=True),
        ["though 4 outputs", "it is to be deleted at height 500, though it is locked", "it is locked"],
    ),
    "to be deleted, unmined": (
        bins(deleteAtHeight=500, unminedSince=250),
        ["it is in a block, and off", "though 4 outputs", "though it is not mined on the longest chain"],
    ),
    "spent count": (bins(spentUtxos=2), ["its master record counts 2 outputs as spent, and 0 are"]),
    "UTXO count": (bins(recordUtxos=3), ["its master record counts 3 UTXOs where there are 2"]),
    "no such child": (bins(totalUtxos=8), ["4 outputs can't be read", "its 8 outputs are in 1 child record"]),
    "children's count": (miscounted, ["it counts 1 child record as all spent, and 0 are"]),
    "a note lost": (unheard, ["it counts 0 child records as all spent, and 1 is"]),
    "more than there are": (
        bins(spentExtraRecs=5, childStates=None),
        ["it counts 5 of its 1 child record as all spent", "it counts 5 child records as all spent, and 0 are"],
    ),
    "heard otherwise": (
        bins(spentExtraRecs=1),
        ["it counts 1 child record as all spent, and has heard so of 0 of 1", "and 0 are"],
    ),
    "child record missing": (without_child, ["2 outputs can't be read; of the first it is said: output 2: its child"]),
    "blob missing": (without_blob, ["4 outputs can't be read; of the first it is said: output 0: blob of"]),
    "spender unknown": (spent_by_nobody, [f"output 1 is spent by {GONE.hex()}, which has neither a record nor a mark"]),
    "frozen": (frozen, ["1 output is frozen"]),
    "reassigned": (reassigned, ["outputs of its master record were reassigned (1 times): it is never pruned"]),
    "no date": (bins(createdAt=1 << 62), ["of its record can't be read, and is left out here: createdAt (see"]),
    "no hashes": (bins(conflictingCs=[5], childStates="ab"), ["is left out here: childStates, conflictingCs (see"]),
    "no reassignments": (bins(reassignments=[5]), ["is left out here: reassignments (see"]),
    "no script": (bins(reassignments=[{"offset": 0, "script": 5}]), ["is left out here: reassignments (see"]),
    "more conflicts": (bins(conflictingMore=5), ["it has more conflicting children than its record keeps"]),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_said_and_nothing_else(served: Served, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    damage, expected = ODD[name]
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)  # a program and a person look at the same moment
    payment = served.payment()
    assert served.odd(payment.txid) == []
    damage(served, payment)
    odd = served.odd(payment.txid)
    missing = [words for words in expected if not any(words in each for each in odd)]
    assert (missing, len(odd)) == ([], len(expected)), odd


def test_a_bin_of_another_kind_is_left_out_whichever_it_is() -> None:
    """A store that knows no kinds may hold it."""
    assert split_by_kind(dict.fromkeys(_FIELDS, "five")) == ({}, [*_FIELDS])
    assert split_by_kind({"blockIDs": [5, "five"], "deletedChildren": {}}) == ({"deletedChildren": {}}, ["blockIDs"])


def test_a_spender_that_was_pruned_is_not_odd(served: Served) -> None:
    payment = served.payment()
    served.spend(payment, 0, spender=GONE)
    served.put(payment.txid, deletedChildren={GONE.hex(): True})
    assert served.odd(payment.txid) == []
    assert served.told(payment.txid)["pruned_spenders"] == 1
    assert "1 of those that spent from it were pruned" in served.text(payment.txid)


def test_several_lost_spenders_are_counted_and_the_first_is_named(served: Served) -> None:
    payment = served.payment()
    served.spend(payment, 0, spender=GONE)
    served.spend(payment, 1, spender=b"t" * 32)
    (odd,) = served.odd(payment.txid)
    assert GONE.hex() in odd
    assert "(and 1 spender more like it)" in odd


def test_a_reassignment_is_told(served: Served) -> None:
    payment = served.payment()
    reassigned(served, payment)
    (told,) = served.told(payment.txid)["reassignments"]
    assert told == {"vout": 1, "satoshis": payment.outputs[1].satoshis, "script": "52", "block_height": HEIGHT}
    assert "reassigned output 1 at height 200: 2.50000000 coins" in served.text(payment.txid)


# ---- arguments and exits


def test_what_is_not_there_is_said_and_the_exit_code_is_3(served: Served) -> None:
    result = served.run("00" * 32)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("Error: TX_NOT_FOUND: ")
    error = json.loads(served.run("00" * 32, "--json").stdout)["error"]
    assert (error["code"], error["executed"]) == ("TX_NOT_FOUND", "no")


@pytest.mark.parametrize("number", ["-1", "x", "1.5", str((1 << 32) + 1)])
@pytest.mark.parametrize("option", ["--outputs", "--height"])
def test_a_number_that_is_none_is_a_wrong_use(option: str, number: str) -> None:
    result = CliRunner().invoke(cli, ["show", "00" * 32, option, number])
    assert result.exit_code == 2
    assert option in result.output


def test_help_names_every_key() -> None:
    text = CliRunner().invoke(cli, ["show", "--help"]).output
    assert all(key in text for key in KEYS)
