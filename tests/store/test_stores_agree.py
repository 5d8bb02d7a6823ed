"""Both stores, driven with the same random operations: every answer and every record is the same."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from protocol import MinedBlock
from store import Mode, Read, RecordOperation, Remove, Result, RuleCall, Write, open_store
from store.layout import FROZEN, CreationOptions, Partial, child_key, create_records
from store.transaction import Output
from tests.support.aerospike_server import SERVER, SET, empty, server_url

pytestmark = [
    pytest.mark.aerospike,
    pytest.mark.skipif(not SERVER, reason="UTXOD_TEST_AEROSPIKE names no server: host[:port]/namespace"),
]

BUDGET = 10.0
BATCH_SIZE = 3
TXIDS = [bytes([n]) * 32 for n in (1, 2)]
OUTPUTS = {TXIDS[0]: 2, TXIDS[1]: 7}  # a record; a master and two children
SPENDERS = [bytes([100 + n]) * 32 + bytes([n, 0, 0, 0]) for n in range(3)]
MALFORMED = [FROZEN, b"short"]
WRITTEN: dict[str, Any] = {
    "creating": True,
    "deleteAtHeight": 100,
    "external": True,
    "deletedChildren": {SPENDERS[0][31::-1].hex(): True},
    "childStates": b"\0\0\1\0",
    "spentExtraRecs": 1,
}

txids = st.sampled_from(TXIDS)
there = [*TXIDS, child_key(TXIDS[1], 1), child_key(TXIDS[1], 2)]
keys = st.sampled_from([*there * 3, child_key(TXIDS[1], 3)])
heights = st.integers(90, 130)
retentions = st.sampled_from([0, 10])
offsets = st.sampled_from([*range(BATCH_SIZE)] * 4 + [-1, BATCH_SIZE])
spenders = st.sampled_from([*SPENDERS * 4, *MALFORMED])
flags = st.booleans()
lives = st.integers(0, 2)
seqs = st.one_of(st.integers(0, 4), st.sampled_from([32767, 32768, 65535, 65536, 65537]))


def output(vout: int) -> Output:
    return Output(1000 + vout, b"\x51")


def creation(txid: bytes, conflicting: bool, mined: bool, height: int) -> list[tuple[bytes, dict[str, Any]]]:
    outputs = {vout: output(vout) for vout in range(OUTPUTS[txid]) if vout != 4}
    options = CreationOptions(
        block_height=height,
        now_ms=0,
        utxo_batch_size=BATCH_SIZE,
        retention=10,
        conflicting=conflicting,
        mined=[MinedBlock(1, height, 0)] if mined else [],
    )
    return create_records(Partial(txid, outputs, is_coinbase=height == 100), options).records


HASHES = {
    key: utxos["utxos"] for txid in TXIDS for key, utxos in creation(txid, conflicting=False, mined=False, height=1)
}


def hash_at(key: bytes, offset: int) -> bytes:
    hashes = HASHES.get(key, [])
    return (hashes[offset] if 0 <= offset < len(hashes) else None) or b"h" * 32


class Stores(RuleBasedStateMachine):
    """The records stand in both; what one answers, the other must."""

    def __init__(self) -> None:
        super().__init__()
        empty(SET)
        self.directory = tempfile.TemporaryDirectory()
        self.embedded = open_store(
            f"lmdb://{Path(self.directory.name) / 'set'}?sync=false&utxo_batch_size={BATCH_SIZE}"
        )
        self.served = open_store(server_url(utxo_batch_size=BATCH_SIZE))
        for txid in TXIDS:
            self.create(txid, conflicting=False, mined=False, height=95)

    def both(self, *operations: RecordOperation) -> list[Result]:
        ours = self.embedded.batch_operate(operations, BUDGET)
        theirs = self.served.batch_operate(operations, BUDGET)
        for operation, our, their in zip(operations, ours, theirs, strict=True):
            said = (operation, our, their)
            assert (our.status, our.in_doubt, our.key) == (their.status, their.in_doubt, their.key), said
            assert canonical(our.value) == canonical(their.value), said
        return theirs

    def call(self, key: bytes, function: str, *args: Any) -> None:
        self.both(RuleCall(key, function, args))

    @rule(txid=txids, conflicting=flags, mined=flags, height=heights)
    def create(self, txid: bytes, conflicting: bool, mined: bool, height: int) -> None:
        self.both(*(Write(key, bins, Mode.CREATE) for key, bins in creation(txid, conflicting, mined, height)))

    @rule(
        key=keys,
        spends=st.lists(st.tuples(offsets, spenders, st.sampled_from([False, False, False, True])), max_size=4),
        ignore=st.tuples(flags, flags),
        height=heights,
        retention=retentions,
    )
    def spend(self, key: bytes, spends: list[Any], ignore: tuple[bool, bool], height: int, retention: int) -> None:
        items = [
            {
                "idx": idx,
                "offset": offset,
                "utxoHash": b"x" * 32 if is_wrong else hash_at(key, offset),
                "spendingData": spender,
            }
            for idx, (offset, spender, is_wrong) in enumerate(spends)
        ]
        self.call(key, "spendMulti", items, *ignore, height, retention)

    @rule(key=keys, offset=offsets, spender=spenders, height=heights, retention=retentions)
    def unspend(self, key: bytes, offset: int, spender: bytes, height: int, retention: int) -> None:
        self.call(key, "unspend", offset, hash_at(key, offset), spender, height, retention)

    @rule(key=keys, offset=offsets, spender=spenders, height=heights, retention=retentions, life=lives)
    def release(self, key: bytes, offset: int, spender: bytes, height: int, retention: int, life: int) -> None:
        self.call(key, "release", offset, hash_at(key, offset), spender, height, retention, life)

    @rule(key=keys, offset=offsets, spender=st.sampled_from(SPENDERS), lives=st.integers(1, 3), is_released=flags)
    def live_again(self, key: bytes, offset: int, spender: bytes, lives: int, is_released: bool) -> None:
        """Spent, joined and given back, so often."""
        target = (offset, hash_at(key, offset), spender)
        for life in range(lives):
            self.call(key, "spend", *target, True, True, 120, 10)
            self.call(key, "spend", *target, True, True, 120, 10)
            if is_released:
                self.call(key, "release", *target, 120, 10, life)
                self.call(key, "release", *target, 120, 10, life)
            else:
                self.call(key, "unspend", *target, 120, 10)

    @rule(key=keys, offset=offsets, spender=spenders, height=heights)
    def spend_one(self, key: bytes, offset: int, spender: bytes, height: int) -> None:
        self.call(key, "spend", offset, hash_at(key, offset), spender, False, False, height, 10)

    @rule(key=keys, function=st.sampled_from(["freeze", "unfreeze"]), offset=offsets)
    def freeze(self, key: bytes, function: str, offset: int) -> None:
        self.call(key, function, offset, hash_at(key, offset))

    @rule(key=keys, offset=offsets, height=heights, size=st.sampled_from([0, 1, 300, 66_000]))
    def reassign(self, key: bytes, offset: int, height: int, size: int) -> None:
        utxo_hash = hash_at(key, offset)
        self.call(key, "reassign", offset, utxo_hash, utxo_hash, 1000 + size, b"\x51" * size, height, 3)

    @rule(key=keys, block=st.integers(1, 3), height=heights, retention=retentions, longest=flags, unset=flags)
    def set_mined(self, key: bytes, block: int, height: int, retention: int, longest: bool, unset: bool) -> None:
        self.call(key, "setMined", block, height, 7, 120, retention, longest, unset)

    @rule(key=keys, value=flags, height=heights, retention=retentions)
    def set_conflicting(self, key: bytes, value: bool, height: int, retention: int) -> None:
        self.call(key, "setConflicting", value, height, retention)

    @rule(key=keys, value=flags, height=heights, retention=retentions, seq=st.none() | st.integers(0, 5))
    def set_locked(self, key: bytes, value: bool, height: int, retention: int, seq: int | None) -> None:
        self.call(key, "setLocked", value, height, retention, *([] if seq is None else [seq]))

    @rule(
        key=st.sampled_from([TXIDS[1]] * 3 + [*there]),
        notes=st.lists(st.tuples(st.sampled_from([1, 2, 1, 2, 3, 0]), seqs), max_size=4),
        height=heights,
        retention=retentions,
    )
    def note_child(self, key: bytes, notes: list[tuple[int, int]], height: int, retention: int) -> None:
        self.call(key, "noteChild", [list(note) for note in notes], height, retention)

    @rule(key=keys, height=heights)
    def tell_state(self, key: bytes, height: int) -> None:
        self.call(key, "tellState", height, 10)

    @rule(key=keys, delta=st.integers(-2, 3), height=heights, retention=retentions)
    def increment(self, key: bytes, delta: int, height: int, retention: int) -> None:
        self.call(key, "incrementSpentExtraRecs", delta, height, retention)

    @rule(key=keys, height=heights)
    def preserve(self, key: bytes, height: int) -> None:
        self.call(key, "preserveUntil", height)

    @rule(key=keys, child=st.sampled_from([*TXIDS, b"c" * 32, b"short"]))
    def note(self, key: bytes, child: bytes) -> None:
        self.call(key, "noteConflicting", child)

    @rule(
        key=keys,
        mode=st.sampled_from([Mode.UPDATE, Mode.UPSERT]),
        name=st.sampled_from(list(WRITTEN)),
        is_removed=flags,
        condition=st.sampled_from([None, {"locked": False}, {"creating": None}, {"creating": True, "spentUtxos": 0}]),
    )
    def write(self, key: bytes, mode: Mode, name: str, is_removed: bool, condition: Any) -> None:
        value = None if is_removed else WRITTEN[name]
        if mode is Mode.UPDATE or condition:
            # What an upsert would make of nothing is no record of ours.
            is_there = self.embedded.batch_operate([Read(key, [])], BUDGET)[0].status == "OK"
            if mode is Mode.UPSERT and not is_there and "creating" in condition and condition["creating"] is None:
                return
            self.both(Write(key, {name: value}, mode, condition))

    @rule(key=keys, condition=st.sampled_from([{"conflicting": True}, {"locked": True, "spentUtxos": 1}]))
    def remove(self, key: bytes, condition: Any) -> None:
        self.both(Remove(key, condition))

    @rule(key=keys, heights=st.lists(heights, min_size=2, max_size=4))
    def several_of_one_key(self, key: bytes, heights: list[int]) -> None:
        self.both(*(RuleCall(key, "preserveUntil", (height,)) for height in heights), Read(key, ["preserveUntil"]))

    @invariant()
    def records_are_the_same(self) -> None:
        self.both(*(Read(key) for key in HASHES))
        self.both(*(Read(key, ["utxos", "locked", "nosuch"]) for key in HASHES))

    def teardown(self) -> None:
        self.embedded.close()
        self.served.close()
        self.directory.cleanup()
        empty(SET)


def canonical(value: Any) -> str:
    """Tells 5 from 5.0 and True from 1, but not the order of a map; a message is for people."""
    if isinstance(value, dict):
        return str(sorted((str(key), canonical(item)) for key, item in value.items() if key != "message"))
    if isinstance(value, list):
        return str([canonical(item) for item in value])
    return repr(value)


def test_both_stores_answer_alike_and_keep_alike() -> None:
    limits = settings(
        max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    run_state_machine_as_test(Stores, settings=limits)
