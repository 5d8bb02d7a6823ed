"""utxod coin: each state of an output as a person and as a program reads it, asked of a real daemon."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from protocol import Spend, utxo_hash
from store import Mode, Write
from store.transaction import Output, Transaction
from tests.support.dispatching import call_rule, hash_of
from tests.support.looked_at import HEIGHT, LookedAt
from utxod.commands import cli
from utxod.demo import first_transactions
from utxod.generate import COIN

KEYS = {
    "txid", "vout", "satoshis", "coins", "script", "script_type", "address", "utxo_hash", "state", "spendable_from",
    "spender", "is_coinbase", "block_heights", "unmined_since",
}  # fmt: skip


class Served(LookedAt):
    command = "coin"
    keys = KEYS


@pytest.fixture(scope="module")
def served(store_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served.serving(tmp_path_factory.mktemp("coin"), store_kind) as served:
        yield served


def name_of(transaction: Transaction, vout: int) -> str:
    return f"{transaction.txid[::-1].hex()}:{vout}"


def test_the_first_payment_is_told_with_its_spender(served: Served) -> None:
    for height, transaction in first_transactions():
        served.client.accept(transaction.raw, block_height=height, mined=[(height, height, 0)])
    (_, coinbase), (_, payment), (_, change) = first_transactions()
    assert served.told(name_of(coinbase, 0)) == {
        "txid": "0437cd7f8525ceed2324359c2d0ba26006d92d856a9c20fa0241106ee5a597c9",
        "vout": 0,
        "satoshis": 5_000_000_000,
        "coins": "50.00000000",
        "script": coinbase.locking_scripts[0].hex(),
        "script_type": "P2PK",
        "address": None,
        "utxo_hash": hash_of(coinbase, 0).hex(),
        "state": "SPENT",
        "spendable_from": None,
        "spender": {
            "txid": "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16",
            "vin": 0,
            "in_the_set": True,
            "block_heights": [170],
            "unmined_since": None,
        },
        "is_coinbase": True,
        "block_heights": [9],
        "unmined_since": None,
    }
    text = served.text(name_of(payment, 1))
    assert f"spent by input 0 of {change.txid[::-1].hex()}" in text
    assert "spender mined at height 181" in text
    assert "40.00000000 coins (4,000,000,000 satoshis)" in text
    assert "transaction mined at height 170" in text
    assert "state unspent script P2PK" in served.text(name_of(payment, 0))


def test_a_spender_that_is_not_in_the_set_is_said_to_be_none(served: Served) -> None:
    payment, spender = served.payment(), b"s" * 32
    served.client.spend(Spend(payment.txid, 3, hash_of(payment, 3), spender, 7, HEIGHT))
    told = served.told(name_of(payment, 3))
    assert told["spender"] == {
        "txid": spender.hex(),
        "vin": 7,
        "in_the_set": False,
        "block_heights": [],
        "unmined_since": None,
    }
    assert "spender not in the set" in served.text(name_of(payment, 3))


def test_an_unmined_one_says_since_when_and_what_it_pays(served: Served) -> None:
    payment = served.payment()
    told = served.told(name_of(payment, 2))
    assert (told["state"], told["unmined_since"], told["block_heights"]) == ("UNSPENT", HEIGHT, [])
    assert (told["script_type"], told["address"][0]) == ("P2PKH", "1")
    text = served.text(name_of(payment, 2))
    assert f"P2PKH, pays to {told['address']}" in text
    assert f"in no block, since height {HEIGHT}" in text


MARKS: dict[str, tuple[dict[str, Any], str]] = {
    "LOCKED": ({"locked": True}, "locked: its transaction is"),
    "CONFLICTING": ({"conflicting": True}, "conflicting: its transaction is"),
    "CREATING": ({"creating": True}, "being created"),
}


@pytest.mark.parametrize("vout", [0, 3], ids=["in the master", "in a child"])
@pytest.mark.parametrize("state", MARKS)
def test_a_mark_of_its_transaction_is_told(served: Served, state: str, vout: int) -> None:
    payment = served.payment()
    bins, words = MARKS[state]
    served.store.batch_operate([Write(payment.txid, bins, Mode.UPDATE)], 5.0)
    assert served.told(name_of(payment, vout))["state"] == state
    assert f"state {words}" in served.text(name_of(payment, vout))


def test_a_frozen_output_is_told(served: Served) -> None:
    payment = served.payment()
    call_rule(served.store, payment, 3, "freeze")
    assert served.told(name_of(payment, 3))["state"] == "FROZEN"
    assert "state frozen: nobody" in served.text(name_of(payment, 3))
    assert served.told(name_of(payment, 2))["state"] == "UNSPENT"


@pytest.mark.parametrize("vout", [0, 3], ids=["in the master", "in a child"])
def test_a_reassigned_output_is_told_as_it_is_now(served: Served, vout: int) -> None:
    payment = served.payment()
    moved = Output(payment.outputs[vout].satoshis, bytes.fromhex("a914") + bytes(20) + b"\x87")
    hashed = utxo_hash(payment.txid, vout, moved.locking_script, moved.satoshis)
    call_rule(served.store, payment, vout, "freeze")
    call_rule(served.store, payment, vout, "reassign", hashed, *moved, HEIGHT, 100)
    told = served.told(name_of(payment, vout))
    assert (told["state"], told["spendable_from"], told["script_type"]) == ("FROZEN_UNTIL", HEIGHT + 100, "P2SH")
    assert told["utxo_hash"] == hashed.hex()
    assert "unspent, and reassigned: may be spent from height 300 on" in served.text(name_of(payment, vout))
    at = [name_of(payment, vout), "--height"]
    assert "frozen at height 299, as reassigned: may be spent from height 300 on" in served.text(*at, "299")
    assert served.told(*at, "300")["state"] == "UNSPENT"


def test_a_coinbase_is_judged_at_the_height_that_is_given(served: Served) -> None:
    coinbase = served.generate.coinbase([COIN])
    served.client.create(coinbase.raw, block_height=HEIGHT)
    name = name_of(coinbase, 0)
    assert "unspent, and a coinbase's: may be spent from height 300 on" in served.text(name)
    assert "immature at height 299, as a coinbase's: may be spent from height 300 on" in served.text(
        name, "--height", "299"
    )
    assert "state unspent script" in served.text(name, "--height", "300")
    states = [served.told(name, "--height", str(height))["state"] for height in (0, 299, 300, (1 << 32) - 1)]
    assert states == ["IMMATURE", "IMMATURE", "UNSPENT", "UNSPENT"]


@pytest.mark.parametrize(
    ("satoshis", "expected"), [(0, "0.00000000"), (1, "0.00000001"), (21 * 10**14, "21000000.00000000")]
)
def test_an_amount_is_told_to_the_last_satoshi(served: Served, satoshis: int, expected: str) -> None:
    txid = (satoshis + 1).to_bytes(32, "little")
    served.client.create_partial(txid, {0: (satoshis, b"\x51")}, block_height=1)
    told = served.told(f"{txid[::-1].hex()}:0")
    assert (told["satoshis"], told["coins"]) == (satoshis, expected)


@pytest.mark.parametrize(
    ("script", "words"),
    [(b"", "empty: anybody may spend it"), (b"\x51" * 20_000, "(20,000 bytes; --json has them all)")],
)
def test_a_script_is_shown_as_far_as_somebody_wants_to_read_it(served: Served, script: bytes, words: str) -> None:
    txid = bytes([len(script) % 251 + 1]) * 32
    served.client.create_partial(txid, {0: (5, script)}, block_height=700_000)
    name = f"{txid[::-1].hex()}:0"
    assert words in served.text(name)
    assert len(served.text(name)) < 1_000
    assert served.told(name)["script"] == script.hex()


def test_what_is_not_there_is_said_and_the_exit_code_is_3(served: Served) -> None:
    payment = served.payment()
    absent = {"00" * 32 + ":0": "TX_NOT_FOUND", name_of(payment, 4): "UTXO_NOT_FOUND"}
    for name, code in absent.items():
        result = served.run(name)
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr.startswith(f"Error: {code}: ")
        error = json.loads(served.run(name, "--json").stdout)["error"]
        assert (error["code"], error["executed"]) == (code, "no")


def test_damage_is_a_fault_and_no_absence(served: Served) -> None:
    payment = served.payment()
    served.store.blobs.delete(payment.txid)
    result = served.run(name_of(payment, 3))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: STORE_ERROR: output 3: blob of ")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("00" * 32, "wanted TXID:VOUT"),
        ("", "wanted TXID:VOUT"),
        ("00" * 32 + ":", "VOUT: '' is no number"),
        ("00" * 32 + ":x", "VOUT: 'x' is no number"),
        ("00" * 32 + ":-1", "VOUT: '-1' is no number"),
        ("00" * 32 + ":1.5", "VOUT: '1.5' is no number"),
        ("00" * 32 + ":4294967296", "from 0 to 4294967295"),
        ("00" * 32 + ":" + "9" * 5000, "from 0 to 4294967295"),
        ("00" * 32 + ":\N{SUPERSCRIPT TWO}", "is no number"),
        ("00" * 32 + ":1:2", "VOUT: '1:2' is no number"),
        ("00" * 31 + ":1", "a txid is 64 hexadecimal digits"),
        (":1", "a txid is 64 hexadecimal digits"),
    ],
)
def test_a_bad_argument_is_named_before_anything_is_asked(argument: str, said: str) -> None:
    result = CliRunner().invoke(cli, ["coin", argument, "--connect", "ipc:///nowhere"])
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize("height", ["-1", "4294967296", "x", "1.5"])
def test_a_height_that_is_none_is_a_wrong_use(height: str) -> None:
    result = CliRunner().invoke(cli, ["coin", "00" * 32 + ":0", "--height", height])
    assert result.exit_code == 2
    assert "--height" in result.output


def test_help_names_every_key() -> None:
    text = CliRunner().invoke(cli, ["coin", "--help"]).output
    assert all(key in text for key in KEYS)
