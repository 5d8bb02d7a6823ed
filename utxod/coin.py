"""`utxod coin`: an output, what it is worth, whom it pays, and whether it can be spent, or why not."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from protocol import Client, TxNotFound, Utxo

from .generate import COIN
from .record_kinds import split_by_kind
from .rendering import blocks_in_words
from .scripts import describe_script

# Of the transaction, and of its spender.
_FIELDS: Final = ("isCoinbase", "blockHeights", "unminedSince")
# Of a script that is longer, what it begins with is shown.
_SHOWN_SCRIPT_BYTES: Final = 520

_WORDS: Final = {
    "UNSPENT": "unspent",
    "FROZEN": "frozen: nobody can spend it until it is unfrozen or reassigned",
    "CREATING": "being created: nobody can spend it before all of its transaction is there",
    "CONFLICTING": "conflicting: its transaction is marked so, and nobody can spend it",
    "LOCKED": "locked: its transaction is, and nobody can spend it",
}


class Coin(NamedTuple):
    """txid: wire order. height: that it was judged at; None: at none. source: bins of its transaction's record.
    spender: those of the record of the transaction that has spent it; None where there is no such record."""

    txid: bytes
    vout: int
    height: int | None
    utxo: Utxo
    source: Mapping[str, Any]
    spender: Mapping[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """The same keys for every coin."""
        utxo, script = self.utxo, describe_script(self.utxo.locking_script)
        return {
            "txid": self.txid[::-1].hex(),
            "vout": self.vout,
            "satoshis": utxo.satoshis,
            "coins": coins(utxo.satoshis),
            "script": utxo.locking_script.hex(),
            "script_type": script.kind,
            "address": script.address,
            "utxo_hash": utxo.utxo_hash.hex(),
            "state": utxo.state,
            "spendable_from": utxo.spendable_from,
            "spender": self._spender_as_json(),
            "is_coinbase": self.source.get("isCoinbase", False),
            "block_heights": self.source.get("blockHeights", []),
            "unmined_since": self.source.get("unminedSince"),
        }

    def _spender_as_json(self) -> dict[str, Any] | None:
        if self.utxo.spending_txid is None:
            return None
        bins = self.spender or {}
        return {
            "txid": self.utxo.spending_txid[::-1].hex(),
            "vin": self.utxo.spending_vin,
            "in_the_set": self.spender is not None,
            "block_heights": bins.get("blockHeights", []),
            "unmined_since": bins.get("unminedSince"),
        }

    def as_text(self) -> dict[str, list[str]]:
        """Lines for a person, by what they are about."""
        script = describe_script(self.utxo.locking_script)
        lines = {
            "output": [f"{self.txid[::-1].hex()}:{self.vout}"],
            "value": [f"{coins(self.utxo.satoshis)} coins ({self.utxo.satoshis:,} satoshis)"],
            "state": [state_in_words(self.utxo, self.height)],
        }
        if self.utxo.state == "SPENT":
            gone = "not in the set: not created yet, or abandoned, or pruned"
            lines["spender"] = [gone if self.spender is None else blocks_in_words(self.spender)]
        kind = f"{script}, pays to {script.address}" if script.address else str(script)
        lines["script"] = [kind, _shortened(self.utxo.locking_script)]
        lines["utxo hash"] = [self.utxo.utxo_hash.hex()]
        lines["coinbase" if self.source.get("isCoinbase") else "transaction"] = [blocks_in_words(self.source)]
        return lines


def look_at_coin(client: Client, txid: bytes, vout: int, height: int | None) -> Coin:
    """txid: wire order. height: that it is judged at, or None. Raises UtxodError."""
    utxo = client.utxo(txid, vout, block_height=height)
    spender: Mapping[str, Any] | None = None
    if utxo.spending_txid is not None:
        try:
            spender, _ = split_by_kind(client.get(utxo.spending_txid, _FIELDS))
        except TxNotFound:
            spender = None
    source, _ = split_by_kind(client.get(txid, _FIELDS))
    return Coin(txid, vout, height, utxo, source, spender)


def state_in_words(utxo: Utxo, height: int | None) -> str:
    """height: that it was judged at; None: at none."""
    if utxo.state == "SPENT":
        spender = b"" if utxo.spending_txid is None else utxo.spending_txid
        return f"spent by input {utxo.spending_vin} of {spender[::-1].hex()}"
    if utxo.spendable_from is None:
        return _WORDS.get(utxo.state, utxo.state)
    why = "a coinbase's" if utxo.state == "IMMATURE" else "reassigned"
    if height is None:
        return f"unspent, and {why}: may be spent from height {utxo.spendable_from} on"
    kind = "immature" if utxo.state == "IMMATURE" else "frozen"
    return f"{kind} at height {height}, as {why}: may be spent from height {utxo.spendable_from} on"


def coins(satoshis: int) -> str:
    """With all of its decimals, whatever the amount."""
    return f"{satoshis // COIN}.{satoshis % COIN:08d}"


def _shortened(script: bytes) -> str:
    if len(script) <= _SHOWN_SCRIPT_BYTES:
        return script.hex() or "empty: anybody may spend it"
    return f"{script[:32].hex()}... ({len(script):,} bytes; --json has them all)"
