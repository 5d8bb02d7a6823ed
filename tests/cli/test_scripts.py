"""What a locking script is called, and the address that it pays to; held against another program's."""

import os
from hashlib import sha256
from pathlib import Path

import bitcoin.base58
import pytest
from bitcoin.core.script import CScript
from bitcoin.wallet import CBitcoinAddress
from hypothesis import given
from hypothesis import strategies as st

from store.transaction import iter_block
from utxod.demo import first_transactions
from utxod.scripts import Script, base58check, describe_script

REAL_BLOCKS = Path(os.environ.get("UTXOD_BLOCKS", Path(__file__).resolve().parents[2].parent / "shared" / "blocks"))

KEY, LONG_KEY = b"\x21\x02" + b"k" * 32, b"\x41\x04" + b"o" * 64
OP_1, OP_2, OP_3, OP_16, CHECKSIG, CHECKMULTISIG = b"\x51", b"\x52", b"\x53", b"\x60", b"\xac", b"\xae"
TO_KEY_HASH = b"\x76\xa9\x14" + b"h" * 20 + b"\x88\xac"
TO_SCRIPT_HASH = b"\xa9\x14" + b"h" * 20 + b"\x87"

KNOWN = {
    "76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",  # of the first block
    "76a914000000000000000000000000000000000000000088ac": "1111111111111111111114oLvT2",
    "a914000000000000000000000000000000000000000087": "31h1vYVSYuKP6AhS86fbRdMw9XHieotbST",
}


@pytest.mark.parametrize("script", KNOWN)
def test_an_address_is_the_one_that_is_known(script):
    assert describe_script(bytes.fromhex(script)).address == KNOWN[script]


@given(st.binary(max_size=40))
def test_base58check_is_what_another_program_makes_of_the_bytes(payload):
    whole = payload + sha256(sha256(payload).digest()).digest()[:4]
    assert base58check(payload) == bitcoin.base58.encode(whole)


def test_the_first_payments_pay_to_keys():
    scripts = [script for _, transaction in first_transactions() for script in transaction.locking_scripts]
    assert [describe_script(script) for script in scripts] == [Script("P2PK")] * 5


@pytest.mark.skipif(not REAL_BLOCKS.is_dir(), reason="the real blocks are not beside the checkout (or UTXOD_BLOCKS)")
def test_of_real_blocks_every_address_is_another_programs():
    kinds = set()
    for path in sorted(REAL_BLOCKS.glob("*.bin")):
        for transaction in iter_block(path.read_bytes()):
            for script in transaction.locking_scripts:
                told = describe_script(script)
                kinds.add(told.kind)
                if told.address is not None:
                    assert told.address == str(CBitcoinAddress.from_scriptPubKey(CScript(script)))
    assert kinds >= {"P2PKH", "P2SH"}


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        (KEY + CHECKSIG, "P2PK", "P2PK"),
        (LONG_KEY + CHECKSIG, "P2PK", "P2PK"),
        (OP_1 + KEY + OP_1 + CHECKMULTISIG, "multisig", "multisig, 1 of 1"),
        (OP_2 + KEY + LONG_KEY + KEY + OP_3 + CHECKMULTISIG, "multisig", "multisig, 2 of 3"),
        (OP_16 + KEY * 16 + OP_16 + CHECKMULTISIG, "multisig", "multisig, 16 of 16"),
        (b"\x6a", "data", "data (OP_RETURN)"),
        (b"\x00\x6a\x04data", "data", "data (OP_RETURN)"),
        (b"", "non-standard", "non-standard"),
        (OP_1, "non-standard", "non-standard"),
        (CHECKSIG, "non-standard", "non-standard"),
        (CHECKMULTISIG, "non-standard", "non-standard"),
        (OP_1 + CHECKMULTISIG, "non-standard", "non-standard"),
        (b"\x00" + CHECKSIG, "non-standard", "non-standard"),
        (KEY * 2 + CHECKSIG, "non-standard", "non-standard"),
        (KEY[:-1] + CHECKSIG, "non-standard", "non-standard"),
        (b"\x21\x05" + b"k" * 32 + CHECKSIG, "non-standard", "non-standard"),
        (OP_3 + KEY * 2 + OP_2 + CHECKMULTISIG, "non-standard", "non-standard"),
        (OP_2 + KEY * 3 + OP_2 + CHECKMULTISIG, "non-standard", "non-standard"),
        (b"\x00" + KEY + OP_1 + CHECKMULTISIG, "non-standard", "non-standard"),
        (TO_KEY_HASH + b"\x51", "non-standard", "non-standard"),
        (TO_KEY_HASH[:-1], "non-standard", "non-standard"),
        (TO_SCRIPT_HASH + b"\x51", "non-standard", "non-standard"),
    ],
)
def test_a_script_is_what_it_pays_to(script, kind, words):
    told = describe_script(script)
    assert (told.kind, str(told)) == (kind, words)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_script_of_some_kind(script):
    assert describe_script(script).kind in {"P2PKH", "P2PK", "P2SH", "multisig", "data", "non-standard"}
