"""The rules against a model of a few lines: random histories of one master and one child in the embedded store."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from store import Call, Mode, Read, Write, open_store
from store.layout import FROZEN, child_key

TXID = b"t" * 32
CHILD = child_key(TXID, 1)
OUTPUTS = 3
HASHES = [bytes([n]) * 32 for n in range(OUTPUTS)]
SPENDERS = [bytes([100 + n]) * 36 for n in range(3)]
RETENTION = 10

outputs = st.integers(0, OUTPUTS - 1)
spenders = st.sampled_from(SPENDERS)
keys = st.sampled_from([TXID, CHILD])


class Model:
    """A record: who holds each output (None, a spender, or FROZEN), its flags, and what it last signalled."""

    def __init__(self, is_child: bool) -> None:
        self.is_child = is_child
        self.hashes = list(HASHES)
        self.holders: list[bytes | None] = [None] * OUTPUTS
        self.spendable_in: dict[int, int] = {}
        self.reassigned = 0
        self.locked = self.conflicting = False
        self.state = "NOTALLSPENT"

    @property
    def spent(self) -> int:
        return sum(holder not in (None, FROZEN) for holder in self.holders)

    @property
    def all_spent(self) -> bool:
        return self.spent == OUTPUTS + self.reassigned

    def spend(self, offset: int, spender: bytes, height: int) -> str | None:
        """The code of the refusal, None where the spend holds now."""
        holder = self.holders[offset]
        if self.spendable_in.get(offset, -1) >= height:
            return "FROZEN_UNTIL"
        if holder is None:
            self.holders[offset] = spender
        elif holder == FROZEN:
            return "FROZEN"
        elif holder != spender:
            return "SPENT"
        return None


class Histories(RuleBasedStateMachine):
    @initialize()
    def create(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.store = open_store(f"lmdb://{Path(self.directory.name)}?sync=false")
        self.models = {TXID: Model(is_child=False), CHILD: Model(is_child=True)}
        self.height = 100
        self.mined = False
        self.spent_children = 0
        common: dict[str, Any] = {
            "utxos": HASHES,
            "recordUtxos": OUTPUTS,
            "spentUtxos": 0,
            "locked": False,
            "conflicting": False,
        }
        master = common | {"totalExtraRecs": 1, "spentExtraRecs": 0, "unminedSince": 100, "external": True}
        creation = [Write(TXID, master, Mode.CREATE), Write(CHILD, common, Mode.CREATE)]
        assert all(result.status == "OK" for result in self.store.batch_operate(creation, 5))

    def call(self, key: bytes, function: str, *args: Any) -> dict[str, Any]:
        """Calls a rule; a child's signal is followed up as a daemon would."""
        [result] = self.store.batch_operate([Call(key, function, args)], 5)
        assert result.status == "OK", result
        value: dict[str, Any] = result.value
        signal = value.get("signal")
        model = self.models[key]
        if model.is_child:
            assert signal in (None, "ALLSPENT", "NOTALLSPENT")
            if signal is not None:
                assert signal != model.state
                model.state = signal
                self.increment(1 if signal == "ALLSPENT" else -1)
        return value

    def increment(self, delta: int) -> None:
        self.spent_children += delta
        result = self.call(TXID, "incrementSpentExtraRecs", delta, self.height, RETENTION)
        assert (result["status"], result["childCount"]) == ("OK", 1)

    @rule(key=keys, spends=st.lists(st.tuples(outputs, spenders), max_size=4))
    def spend(self, key: bytes, spends: list[tuple[int, bytes]]) -> None:
        model = self.models[key]
        items = [
            {"idx": idx, "offset": offset, "utxoHash": model.hashes[offset], "spendingData": spender}
            for idx, (offset, spender) in enumerate(spends)
        ]
        result = self.call(key, "spendMulti", items, False, False, self.height, RETENTION)
        refusal = "CONFLICTING" if model.conflicting else "LOCKED" if model.locked else None
        if refusal:
            assert result["errorCode"] == refusal
            return
        expected_errors, applied = {}, []
        for idx, (offset, spender) in enumerate(spends):
            before = model.holders[offset]
            code = model.spend(offset, spender, self.height)
            if code:
                expected_errors[idx] = code
            elif before is None:
                applied.append(idx)
        assert {idx: error["errorCode"] for idx, error in result.get("errors", {}).items()} == expected_errors
        assert result["applied"] == applied
        assert result["status"] == ("ERROR" if expected_errors else "OK")

    @rule(key=keys, offset=outputs, spender=spenders)
    def unspend(self, key: bytes, offset: int, spender: bytes) -> None:
        model = self.models[key]
        holder = model.holders[offset]
        result = self.call(key, "unspend", offset, model.hashes[offset], spender, self.height, RETENTION)
        if holder == FROZEN:
            assert result["errorCode"] == "FROZEN"
        elif holder not in (None, spender):
            assert result["errorCode"] == "SPENT"
        else:
            assert result["applied"] == ([] if holder is None else [0])
            model.holders[offset] = None

    @rule(key=keys, offset=outputs)
    def freeze(self, key: bytes, offset: int) -> None:
        model = self.models[key]
        holder = model.holders[offset]
        result = self.call(key, "freeze", offset, model.hashes[offset])
        expected = None if holder is None else "ALREADY_FROZEN" if holder == FROZEN else "SPENT"
        assert result.get("errorCode") == expected
        if expected is None:
            model.holders[offset] = FROZEN

    @rule(key=keys, offset=outputs, after=st.none() | st.integers(0, 5))
    def unfreeze_or_reassign(self, key: bytes, offset: int, after: int | None) -> None:
        model = self.models[key]
        holder, old = model.holders[offset], model.hashes[offset]
        new = bytes([len(old), model.reassigned, offset]) + bytes(29)
        if after is None:
            result = self.call(key, "unfreeze", offset, old)
        else:
            result = self.call(key, "reassign", offset, old, new, self.height, after)
        expected = None if holder == FROZEN else "UTXO_INVALID_SIZE" if holder is None else "UTXO_NOT_FROZEN"
        assert result.get("errorCode") == expected
        if expected is None:
            model.holders[offset] = None
            if after is not None:
                model.hashes[offset] = new
                model.reassigned += 1
                model.spendable_in[offset] = self.height + after

    @rule(key=keys, value=st.booleans())
    def lock(self, key: bytes, value: bool) -> None:
        assert self.call(key, "setLocked", value)["status"] == "OK"
        self.models[key].locked = value

    @rule(key=keys, value=st.booleans())
    def conflict(self, key: bytes, value: bool) -> None:
        assert self.call(key, "setConflicting", value, self.height, RETENTION)["status"] == "OK"
        self.models[key].conflicting = value

    @rule(unset=st.booleans())
    def mine(self, unset: bool) -> None:
        assert self.call(TXID, "setMined", 7, self.height, 0, self.height, RETENTION, True, unset)["status"] == "OK"
        self.mined = not unset
        self.models[TXID].locked = False

    @rule(blocks=st.integers(1, 5))
    def pass_time(self, blocks: int) -> None:
        self.height += blocks

    @invariant()
    def the_records_are_as_the_model_says(self) -> None:
        if not hasattr(self, "store"):
            return
        for key, model in self.models.items():
            bins = self.store.batch_operate([Read(key)], 5)[0].value
            held = zip(model.hashes, model.holders, strict=True)
            assert bins["utxos"] == [utxo if holder is None else utxo + holder for utxo, holder in held]
            assert bins["spentUtxos"] == model.spent
            assert bins["recordUtxos"] == OUTPUTS + model.reassigned
            assert (bins["locked"], bins["conflicting"]) == (model.locked, model.conflicting)
            assert len(bins.get("reassignments", [])) == model.reassigned
        self.check_master()
        assert (self.models[CHILD].state == "ALLSPENT") == self.models[CHILD].all_spent

    def check_master(self) -> None:
        """What is done has a height at which it goes; what holds a live output has none."""
        bins = self.store.batch_operate([Read(TXID)], 5)[0].value
        model = self.models[TXID]
        assert bins["spentExtraRecs"] == self.spent_children == self.models[CHILD].all_spent
        done = model.all_spent and self.spent_children == 1 and self.mined
        if not done and not model.conflicting:
            assert "deleteAtHeight" not in bins

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.directory.cleanup()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
