"""The rules against a model in Python: random histories of a master and two children in the embedded store. What
children have to tell their master (notes of their state) and masters their children (locks) is lost, doubled, delayed
and overtaken; another program writes in between; and whoever asks again finds all as it must be."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from store.layout import FROZEN
from tests.store.records_and_model import RecordsAndModel
from tests.store.rules_model import CHILDREN, OUTPUTS, RETENTION, TXID

# Two transactions, one of them with two inputs.
SPENDERS = [bytes([100]) * 32 + b"\0\0\0\0", bytes([101]) * 32 + b"\0\0\0\0", bytes([100]) * 32 + b"\1\0\0\0"]

outputs = st.integers(0, OUTPUTS - 1)
spenders = st.sampled_from(SPENDERS)
keys = st.sampled_from([TXID, *CHILDREN])
children = st.integers(1, len(CHILDREN))
flags = st.booleans()
seldom = st.sampled_from([False, False, False, True])
positions = st.integers(0, 1000)


class Histories(RecordsAndModel):
    # Spends, and what takes them back.

    @rule(key=keys, spends=st.lists(st.tuples(outputs, spenders), max_size=4))
    def spend(self, key: bytes, spends: list[tuple[int, bytes]]) -> None:
        model = self.models[key]
        items = [
            {"idx": 5 + idx, "offset": offset, "utxoHash": model.coins[offset].hash, "spendingData": spender}
            for idx, (offset, spender) in enumerate(spends)
        ]
        result = self.call(key, "spendMulti", items, False, False, self.height, RETENTION)
        refusal = model.forbids(self.height)
        errors, applied, mine, lives = {}, [], [], {}
        for idx, (offset, spender) in enumerate(spends, start=5):
            coin = model.coins[offset]
            code = refusal or model.judge(coin, spender, self.height)
            if code:
                errors[idx] = code
                if coin.holder == spender:
                    mine.append(idx)
                continue
            if coin.holder is None:
                coin.holder = spender
                applied.append(idx)
            if coin.life:
                lives[idx] = coin.life
            coin.claims[coin.life] += 1
            self.claims.append((key, offset, coin.hash, spender, coin.life))
        assert result.get("mine", []) == mine
        assert "mine" not in result or mine
        assert result.get("errorCode") == refusal
        if refusal is None:
            assert {idx: error["errorCode"] for idx, error in result.get("errors", {}).items()} == errors
            assert result["applied"] == applied
            assert result.get("lives", {}) == lives
            assert result["status"] == ("ERROR" if errors else "OK")
            self.conclude(key, result)

    @rule(key=keys, offset=outputs, spender=spenders)
    def unspend(self, key: bytes, offset: int, spender: bytes) -> None:
        model = self.models[key]
        coin = model.coins[offset]
        result = self.call(key, "unspend", offset, coin.hash, spender, self.height, RETENTION)
        if spender[:32] in model.pruned:
            assert result["errorCode"] == "INVALID_SPEND"
        elif coin.holder == FROZEN:
            assert result["errorCode"] == "FROZEN"
        elif coin.holder not in (None, spender):
            assert result["errorCode"] == "SPENT"
        else:
            assert result["applied"] == ([] if coin.holder is None else [0])
            if coin.holder is not None:
                coin.free()
            self.conclude(key, result)

    @precondition(lambda self: self.claims)
    @rule(position=positions)
    def release(self, position: int) -> None:
        """What an attempt gives back, once, late or at once: it never takes what somebody else relies on."""
        key, offset, utxo_hash, spender, life = self.claims.pop(position % len(self.claims))
        model = self.models[key]
        coin = model.coins[offset]
        result = self.call(key, "release", offset, utxo_hash, spender, self.height, RETENTION, life)
        if coin.hash != utxo_hash:
            assert result["errorCode"] == "UTXO_HASH_MISMATCH"  # it was reassigned meanwhile
            return
        is_its = coin.holder == spender and coin.life == life
        coin.claims[life] -= 1
        is_last = coin.claims[life] == 0
        if is_its and is_last and spender[:32] in model.pruned:
            assert result["errorCode"] == "INVALID_SPEND"
            return
        assert (result["status"], "held" in result) == ("OK", is_its and not is_last)
        assert result["applied"] == ([0] if is_its and is_last else [])
        if is_its and is_last:
            coin.free()
        self.conclude(key, result)

    @rule(key=keys, spender=spenders)
    def spend_all(self, key: bytes, spender: bytes) -> None:
        model = self.models[key]
        self.spend(
            key, [(offset, coin.holder if coin.is_spent else spender) for offset, coin in enumerate(model.coins)]
        )

    @rule(key=keys, offset=outputs)
    def unspend_as_its_owner(self, key: bytes, offset: int) -> None:
        coin = self.models[key].coins[offset]
        if coin.is_spent:
            self.unspend(key, offset, coin.holder)

    @precondition(lambda self: any(coin.spendable_in > self.height for _, _, coin in self.all_coins()))
    @rule(position=positions, too_early=flags, spender=spenders)
    def spend_what_was_reassigned_at_its_height(self, position: int, too_early: bool, spender: bytes) -> None:
        waiting = [each for each in self.all_coins() if each[2].spendable_in > self.height]
        key, offset, coin = waiting[position % len(waiting)]
        self.height = coin.spendable_in - too_early
        self.spend(key, [(offset, spender)])

    @precondition(lambda self: self.claims)
    @rule(position=positions)
    def unspend_and_ask_anew(self, position: int) -> None:
        """Whoever answered late, or gives back late, of the life before finds the output in another."""
        key, offset, _, spender, _ = self.claims[position % len(self.claims)]
        self.unspend(key, offset, spender)
        self.spend(key, [(offset, spender)])

    @precondition(lambda self: any(coin.is_spent for _, _, coin in self.all_coins()))
    @rule(position=positions)
    def prune_a_spender(self, position: int) -> None:
        """A transaction that spends is pruned, and marked wherever it does."""
        holders = sorted({coin.holder[:32] for _, _, coin in self.all_coins() if coin.holder and coin.is_spent})
        txid = holders[position % len(holders)]
        for key, model in self.models.items():
            marks = [[offset, txid] for offset in range(OUTPUTS)]
            assert self.call(key, "addDeletedChildren", marks, goes_on=False) == {"status": "OK"}
            if any(coin.is_spent and (coin.holder or b"").startswith(txid) for coin in model.coins):
                model.pruned.add(txid)

    @precondition(lambda self: any(model.pruned for model in self.models.values()))
    @rule(position=positions, offset=outputs, takes_back=flags)
    def a_pruned_spender_asks(self, position: int, offset: int, takes_back: bool) -> None:
        asking = [
            (key, spender) for key, model in self.models.items() for spender in SPENDERS if spender[:32] in model.pruned
        ]
        key, spender = asking[position % len(asking)]
        if takes_back:
            self.unspend(key, offset, spender)
        else:
            self.spend(key, [(offset, spender)])

    # Alerts.

    @rule(key=keys, offset=outputs)
    def freeze(self, key: bytes, offset: int) -> None:
        coin = self.models[key].coins[offset]
        result = self.call(key, "freeze", offset, coin.hash, goes_on=False)
        expected = None if coin.holder is None else "ALREADY_FROZEN" if coin.holder == FROZEN else "SPENT"
        assert result.get("errorCode") == expected
        if expected is None:
            coin.holder = FROZEN

    @rule(key=keys, offset=outputs, after=st.none() | st.integers(0, 5))
    def unfreeze_or_reassign(self, key: bytes, offset: int, after: int | None) -> None:
        model = self.models[key]
        coin = model.coins[offset]
        new, script = bytes([90, model.reassigned, offset]) + bytes(29), bytes([model.reassigned])
        if after is None:
            result = self.call(key, "unfreeze", offset, coin.hash, goes_on=False)
        else:
            reassignment = (offset, coin.hash, new, 1000 + model.reassigned, script, self.height, after)
            result = self.call(key, "reassign", *reassignment, goes_on=False)
        expected = None if coin.holder == FROZEN else "UTXO_INVALID_SIZE" if coin.holder is None else "UTXO_NOT_FROZEN"
        assert result.get("errorCode") == expected
        if expected is None:
            coin.holder = None
            if after is not None:
                coin.output = [1000 + model.reassigned, script]
                coin.hash, coin.spendable_in = new, self.height + after
                model.reassigned += 1

    @rule(key=keys, offset=outputs, after=st.integers(0, 5))
    def reassign_what_had_an_owner(self, key: bytes, offset: int, after: int) -> None:
        self.unspend_as_its_owner(key, offset)
        self.freeze(key, offset)
        self.unfreeze_or_reassign(key, offset, after)

    # Flags and blocks.

    @rule(value=seldom, later=st.integers(-200, 5))
    def lock(self, value: bool, later: int) -> None:
        """later: what is said of the height may be behind what the record knows."""
        height = max(self.height + later, 0)
        result = self.call(TXID, "setLocked", value, height, RETENTION)
        self.master.lock_seq += 1
        assert (result["status"], result["childCount"], result["lockSeq"]) == ("OK", 2, self.master.lock_seq)
        master = self.master
        master.locked = value
        self.locks.append((value, master.lock_seq))
        if value:
            master.lock_height = max(master.lock_height, (master.dah or 0) - RETENTION)
            master.dah = None
        else:
            height = max(height, master.unmined_since or 0, *master.blocks.values(), master.lock_height)
            master.lock_height = 0
        self.conclude(TXID, result, height)

    @precondition(lambda self: self.locks)
    @rule(index=children, position=positions)
    def lock_arrives_at_a_child(self, index: int, position: int) -> None:
        """One of those that were ever sent, in any order and any number of times."""
        self.tell_lock(index, *self.locks[position % len(self.locks)])

    @rule(key=keys, value=seldom)
    def conflict(self, key: bytes, value: bool) -> None:
        result = self.call(key, "setConflicting", value, self.height, RETENTION)
        self.models[key].conflicting = value
        self.conclude(key, result)

    @rule(block=st.integers(1, 3), back=st.integers(0, 20), longest=flags, unset=flags)
    def mine(self, block: int, back: int, longest: bool, unset: bool) -> None:
        master, height = self.master, self.height - back
        result = self.call(TXID, "setMined", block, height, 10 + block, self.height, RETENTION, longest, unset)
        if master.creating:
            assert result["errorCode"] == "CREATING"
            return
        if unset:
            was_listed = master.blocks.pop(block, None) is not None
            is_off = not master.blocks or (was_listed and not longest)
            if is_off and master.unmined_since is None:
                master.unmined_since = self.height
        else:
            master.blocks.setdefault(block, height)
            if longest:
                master.unmined_since = None
            counted_from = max(height, master.lock_height)
            master.locked, master.lock_height = False, 0
            master.lock_seq += 1
            self.locks.append((False, master.lock_seq))
        assert (result["blockIDs"], result["lockSeq"]) == (list(master.blocks), master.lock_seq)
        self.conclude(TXID, result, height if unset else counted_from)

    @rule(longest=flags)
    def move_the_longest_chain(self, longest: bool) -> None:
        master = self.master
        result = self.call(TXID, "markLongestChain", longest, self.height, RETENTION)
        if longest and not master.blocks:
            assert result["errorCode"] == "INVALID_PARAMETER"
            return
        if longest:
            master.unmined_since = None
        elif master.unmined_since is None:
            master.unmined_since = self.height
        self.conclude(TXID, result)

    @rule(key=keys, value=seldom)
    def create_or_finish(self, key: bytes, value: bool) -> None:
        self.models[key].creating = value
        self.write(key, creating=value or None)

    @rule(blocks=st.integers(0, 5))
    def preserve(self, blocks: int) -> None:
        self.master.preserved_until = self.height + blocks
        result = self.call(TXID, "preserveUntil", self.master.preserved_until)
        self.master.dah = None
        self.check_signal(result)

    @rule()
    def expire_preservation(self) -> None:
        result = self.call(TXID, "expirePreservation", self.height, RETENTION)
        until = self.master.preserved_until
        if until is not None and until <= self.height:
            self.master.preserved_until = None
            self.conclude(TXID, result)
        else:
            assert result == {"status": "OK"}

    @rule(blocks=st.integers(1, 5))
    def pass_time(self, blocks: int) -> None:
        self.height += blocks

    # Notes.

    @precondition(lambda self: self.notes)
    @rule(position=positions, fate=st.sampled_from(["arrives", "will arrive once more", "is lost"]))
    def note_arrives(self, position: int, fate: str) -> None:
        at = position % len(self.notes)
        notes = self.notes[at] if fate == "will arrive once more" else self.notes.pop(at)
        if fate != "is lost" and self.tell_master(notes):
            self.notes.append([self.ask(key) for key in CHILDREN])  # the recount, which will arrive at some time

    @rule(key=st.sampled_from(CHILDREN))
    def asking_again_puts_the_master_right(self, key: bytes) -> None:
        if self.tell_master([self.ask(key)]):
            assert not self.tell_master([self.ask(each) for each in CHILDREN])
        index = CHILDREN.index(key)
        assert (self.master.heard[index] % 2 == 1) == self.models[key].all_spent

    @rule(spender=spenders, back=st.integers(1, 20))
    def all_is_done(self, spender: bytes, back: int) -> None:
        """All is let go, spent, told and mined, unless a spender was pruned or an output reassigned: so that the rest
        of a history is about the last steps."""
        if self.master.preserved_until is not None:
            self.height = max(self.height, self.master.preserved_until)
        self.expire_preservation()
        self.lock(value=False, later=0)
        for index in range(1, len(CHILDREN) + 1):
            self.tell_lock(index, *self.locks[-1])
        for key, model in self.models.items():
            self.create_or_finish(key, value=False)
            self.conflict(key, value=False)
            for offset, coin in enumerate(model.coins):
                if coin.holder == FROZEN:
                    self.unfreeze_or_reassign(key, offset, None)
            self.spend_all(key, spender)
        for key in CHILDREN:
            self.asking_again_puts_the_master_right(key)
        self.mine(block=1, back=back, longest=True, unset=False)

    # Another program.

    @rule(delta=st.integers(-1, 2))
    def increment(self, delta: int) -> None:
        result = self.call(TXID, "incrementSpentExtraRecs", delta, self.height, RETENTION)
        master = self.master
        if master.has_states:
            assert result == {"status": "OK", "signal": "RECOUNT", "childCount": len(CHILDREN)}
        elif not 0 <= master.counter + delta <= len(CHILDREN):
            assert result["errorCode"] == "INVALID_PARAMETER"
        else:
            master.counter += delta
            self.conclude(TXID, result)

    @rule(counter=st.none() | st.integers(0, len(CHILDREN)))
    def another_program_writes_the_counter_or_loses_the_child_states(self, counter: int | None) -> None:
        if counter is None:
            self.master.heard = [0] * len(CHILDREN)
            self.master.is_whole = self.master.has_states = False
            self.write(TXID, childStates=None)
        else:
            self.master.counter = counter
            self.write(TXID, spentExtraRecs=counter)

    @rule(key=st.sampled_from(CHILDREN), offset=outputs, spender=spenders)
    def another_program_spends_of_a_child_or_takes_its_own_back(self, key: bytes, offset: int, spender: bytes) -> None:
        """And knows of no stateSeq and no lives."""
        model = self.models[key]
        coin = model.coins[offset]
        if coin.holder is None:
            coin.holder = spender
            coin.claims[coin.life] += 1  # its own
        elif (
            coin.is_spent
            and coin.claims[coin.life] == 1
            and not any(claim[:2] == (key, offset) for claim in self.claims)
        ):
            coin.holder = None
            coin.claims[coin.life] -= 1
        model.state = "ALLSPENT" if model.all_spent else "NOTALLSPENT"
        utxos = [each.utxo for each in model.coins]
        self.write(key, utxos=utxos, spentUtxos=model.spent, lastSpentState=model.state)

    # The end: all that is under way arrives.

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        try:
            for index in range(1, len(CHILDREN) + 1):
                if self.locks:
                    self.tell_lock(index, *self.locks[-1])
                    assert self.models[CHILDREN[index - 1]].locked == self.master.locked
            for key in CHILDREN:
                self.asking_again_puts_the_master_right(key)
            assert self.master.counter == sum(self.models[key].all_spent for key in CHILDREN)
            self.check_master()
        finally:
            self.store.close()
            self.directory.cleanup()


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
