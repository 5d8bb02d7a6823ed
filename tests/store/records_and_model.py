"""A master and two children in the embedded store, beside the model of both: every call of a rule keeps what they have
to tell each other, and after every step the records are as the model says."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from store import Mode, Read, RuleCall, Write, open_store
from tests.store.rules_model import CHILDREN, HASHES, MODULUS, OUTPUTS, RETENTION, TXID, Coin, Master, Model, Note


class RecordsAndModel(RuleBasedStateMachine):
    """claims: spends that were answered well, and that who asked has not given back. notes, locks: under way to the
    master, and to its children."""

    @initialize(seq=st.sampled_from([0, MODULUS - 2, 3 * MODULUS - 4]), matures=st.sampled_from([0, 0, 102]))
    def create(self, seq: int, matures: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.store = open_store(f"lmdb://{Path(self.directory.name)}?sync=false")
        self.master = Master([seq] * len(CHILDREN))
        self.models: dict[bytes, Model] = {TXID: self.master} | {key: Model(seq) for key in CHILDREN}
        self.height = 100
        for model in self.models.values():
            model.matures = matures
        self.claims: list[tuple[bytes, int, bytes, bytes, int]] = []  # key, offset, hash, spender, life
        self.notes: list[list[Note]] = []
        self.locks: list[tuple[bool, int]] = []
        common: dict[str, Any] = {
            "utxos": HASHES,
            "recordUtxos": OUTPUTS,
            "spentUtxos": 0,
            "locked": False,
            "conflicting": False,
        }
        if matures:
            common["spendingHeight"] = matures
        master = common | {"totalExtraRecs": len(CHILDREN), "spentExtraRecs": 0, "unminedSince": 100, "external": True}
        master["childStates"] = (seq % MODULUS).to_bytes(2, "little") * len(CHILDREN)
        child = common | ({"stateSeq": seq} if seq else {})
        creation = [Write(TXID, master, Mode.CREATE), *(Write(key, child, Mode.CREATE) for key in CHILDREN)]
        assert all(result.status == "OK" for result in self.store.batch_operate(creation, 30))

    def call(self, key: bytes, function: str, *args: Any, goes_on: bool = True) -> dict[str, Any]:
        """Calls a rule, and keeps what a child has to tell. goes_on: whether it ends with the delete-at-height rule."""
        dah = self.master.dah
        [result] = self.store.batch_operate([RuleCall(key, function, args)], 30)
        assert result.status == "OK", result
        value: dict[str, Any] = result.value
        assert None not in value.values()
        model = self.models[key]
        if model is self.master:
            assert "stateSeq" not in value
            self.dah_before = dah
        elif goes_on and "errorCode" not in value:
            self.notes.append([(CHILDREN.index(key) + 1, value["stateSeq"])])
        return value

    def all_coins(self) -> list[tuple[bytes, int, Coin]]:
        return [(key, at, coin) for key, model in self.models.items() for at, coin in enumerate(model.coins)]

    def conclude(self, key: bytes, value: dict[str, Any], height: int | None = None) -> None:
        """What a rule that goes through the delete-at-height rule leaves, once the model is as it must be."""
        model = self.models[key]
        if model is self.master:
            self.master.settle(self.height if height is None else height)
            self.check_signal(value)
            return
        if (model.seq % 2 == 1) != model.all_spent:
            model.seq += 1
        before, model.state = model.state, "ALLSPENT" if model.all_spent else "NOTALLSPENT"
        assert value["stateSeq"] == model.seq
        assert value.get("signal") == (None if model.state == before else model.state)

    def check_signal(self, value: dict[str, Any]) -> None:
        before, after = self.dah_before, self.master.dah
        assert value.get("signal") == (None if before == after else "DAHUNSET" if after is None else "DAHSET")
        assert "signal" not in value or value["childCount"] == len(CHILDREN)

    def write(self, key: bytes, **bins: Any) -> None:
        assert self.store.batch_operate([Write(key, bins, Mode.UPDATE)], 30)[0].status == "OK"

    # What they tell each other.

    def ask(self, key: bytes) -> Note:
        """A child's state, by a rule that changes nothing."""
        model = self.models[key]
        result = self.call(key, "tellState", self.height, RETENTION)
        self.conclude(key, result)
        return CHILDREN.index(key) + 1, model.seq

    def tell_master(self, notes: Sequence[Note]) -> bool:
        """Whether the master asks for a recount."""
        result = self.call(TXID, "noteChild", [list(note) for note in notes], self.height, RETENTION)
        signal = self.master.take(notes, self.height)
        assert (result["status"], result["childCount"]) == ("OK", len(CHILDREN))
        if signal:
            assert result["signal"] == signal
        else:
            self.check_signal(result)
        return signal == "RECOUNT"

    def tell_lock(self, index: int, value: bool, seq: int) -> None:
        key = CHILDREN[index - 1]
        model = self.models[key]
        result = self.call(key, "setLocked", value, self.height, RETENTION, seq)
        if seq > model.lock_seq:
            model.lock_seq, model.locked = seq, value
        self.conclude(key, result)

    # What always holds.

    @invariant()
    def the_records_are_as_the_model_says(self) -> None:
        if not hasattr(self, "store"):
            return
        for key, model in self.models.items():
            bins = self.store.batch_operate([Read(key)], 30)[0].value
            assert bins["utxos"] == [coin.utxo for coin in model.coins]
            assert bins["spentUtxos"] == model.spent
            assert bins["recordUtxos"] == OUTPUTS + model.reassigned
            assert (bins["locked"], bins["conflicting"]) == (model.locked, model.conflicting)
            assert bins.get("lockSeq", 0) == model.lock_seq
            assert len(bins.get("reassignments", [])) == model.reassigned
            assert bins.get("deletedChildren", {}) == {spender[::-1].hex(): True for spender in model.pruned}
            reassigned = {offset: coin.output for offset, coin in enumerate(model.coins) if coin.output}
            assert bins.get("reassigned", {}) == reassigned
            assert bins.get("stateSeq", 0) == model.seq
            for offset, coin in enumerate(model.coins):
                life, count = bins.get("joined", {}).get(offset, [0, 0])
                assert life == coin.life
                assert count == (max(coin.claims[life] - 1, 0) if coin.is_spent else 0)
        self.check_master()

    def check_master(self) -> None:
        bins = self.store.batch_operate([Read(TXID)], 30)[0].value
        master = self.master
        heard = b"".join((seq % MODULUS).to_bytes(2, "little") for seq in master.heard)
        states = heard + bytes(not master.is_whole) if master.has_states else None
        assert (bins.get("childStates"), bins["spentExtraRecs"]) == (states, master.counter)
        assert bins.get("lockHeight", 0) == master.lock_height
        assert bins.get("deleteAtHeight") == master.dah
        assert bins.get("unminedSince") == master.unmined_since
        assert bins.get("preserveUntil") == master.preserved_until
        assert bins.get("blockIDs", []) == list(master.blocks)
        assert bins.get("blockHeights", []) == list(master.blocks.values())
        assert bins.get("subtreeIdxs", []) == [10 + block for block in master.blocks]

    @invariant()
    def what_was_acknowledged_stands(self) -> None:
        """P12: a spend that was answered well, and that neither its own attempt nor an unspend took back, holds."""
        for key, offset, _, spender, life in getattr(self, "claims", []):
            coin = self.models[key].coins[offset]
            assert coin.life > life or coin.holder == spender
