"""The state machine: hypothesis chooses what callers, the node, the alert system and misfortune do next."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.model import asks as ask_of
from tests.model import coinset
from tests.model.asks import Ask
from tests.model.coinset import ON_CHAIN, UNSETS
from tests.model.subject import KINDS, Fault, Subject
from tests.model.transactions import Outpoint, Tx
from tests.model.world import MATURE, Block, World
from workers.runtime.operations import OPERATION_BY_NAME

numbers = st.integers(0, 255)
picks = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4)
faults = st.one_of(
    st.none(),
    st.none(),
    st.none(),
    st.builds(Fault, st.sampled_from(KINDS), st.integers(0, 5), numbers, numbers),
)
prompts = st.sampled_from([True, True, True, False])
flags = st.booleans()


def has(operation: str) -> bool:
    return operation in OPERATION_BY_NAME


class Machine(RuleBasedStateMachine):
    """subject: what is held against the model."""

    subject: Subject
    ended: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.subject)
        for shape in (3, 0, 1, 9, 2):
            self._coinbase(shape, MATURE)

    def _coinbase(self, shape: int, height: int, block: int = 1, **options: Any) -> Tx:
        tx = self.world.make([], shape)
        self.world.insist([ask_of.create(tx, height, [(block, height, 0)], 0)], **options)
        return tx

    # ---- choices

    def tx(self, number: int) -> Tx:
        """Mostly one of the last."""
        known = list(self.world.model.known.values())
        return known[-1 - number % min(len(known), 12)] if number % 3 else known[number % len(known)]

    def settled(self, number: int) -> Tx:
        """One that is in the set, if there is any."""
        there = self.world.settled()
        if not there or number % 16 == 15:
            txid = self.tx(number).txid
            is_begun = self.world.model.get(coinset.CREATING, txid)
            return self.world.model.known[there[0] if is_begun and there else txid]
        return self.world.model.known[there[-1 - number % min(len(there), 12)]]

    def coin(self, number: int, other: int) -> Outpoint:
        """Mostly one that nobody holds."""
        coins = self.world.free_coins() if other % 4 else []
        coins = coins or self.world.outpoints()
        return coins[-1 - number % min(len(coins), 24)]

    def held(self, number: int, other: int) -> Outpoint:
        """Mostly one that somebody holds."""
        state = self.world.model.state
        coins = [(txid, vout) for kind, txid, vout in state if kind == coinset.HOLDER] if other % 8 else []
        return coins[number % len(coins)] if coins else self.coin(number, other)

    def judged_at(self, number: int) -> int:
        """A height."""
        return self.world.height + 1 - (number % 8 == 7) + (number % 8 == 6)

    def spend_of(self, coin: Outpoint, spender: bytes, vin: int, number: int, own_flags: int = 0) -> list[Any]:
        utxo_hash = self.world.model.utxo_hash(*coin) if number % 32 != 31 else bytes([number]) * 32
        return [*coin, utxo_hash, spender, vin, self.judged_at(number), own_flags]

    def payment(self, pick: tuple[int, int], before: Sequence[Tx]) -> Tx:
        """A new transaction, of new coins, of a rival's, or of one's in the same batch."""
        number, other = pick
        inputs = [self.coin(number + 7 * place, other) for place in range(1 + other % 3)]
        if before and other % 2:
            inputs[0] = before[-1].txid, number % len(before[-1].outputs)
        elif other % 8 == 6:
            rival = self.tx(number)
            inputs = [*rival.spends[:2], *inputs][: max(1, 1 + other % 3)]
        return self.world.make(list(dict.fromkeys(inputs)), number)

    # ---- transactions

    @rule(shape=numbers, fault=faults, matures=flags)
    def coinbase(self, shape: int, fault: Fault | None, matures: bool) -> None:
        self._coinbase(shape, MATURE if matures else self.world.height, 100 + shape, fault=fault)

    @precondition(lambda self: has("accept"))
    @rule(chosen=picks, order=numbers, fault=faults, prompt=prompts)
    def accept(self, chosen: list[tuple[int, int]], order: int, fault: Fault | None, prompt: bool) -> None:
        made: list[Tx] = []
        batch: list[Ask] = []
        for number, other in chosen:
            tx = self.tx(number) if other % 8 == 7 else self.payment((number, other), made)
            made.append(tx)
            batch.append(self._accept(tx, number, other))
        turn = order % len(batch)
        batch = [*batch[turn:], *batch[:turn]]
        self._ask(batch[::-1] if order % 2 else batch, fault, prompt)

    def _accept(self, tx: Tx, number: int, other: int) -> Ask:
        own_flags = {17: 1, 33: 2, 49: 3, 65: 8, 81: 16, 97: 24}.get(number % 128, 0)
        mined = [(200 + other, self.world.height, number)] if other % 16 == 5 else []
        height = self.world.height if tx.is_coinbase else self.judged_at(number)
        return self.world.accept(tx, other % 5 < 3, height, mined, own_flags)

    @rule(pick=st.tuples(numbers, numbers), fault=faults, prompt=prompts)
    def create(self, pick: tuple[int, int], fault: Fault | None, prompt: bool) -> None:
        """As a caller does that spends first, or after, or never."""
        number, other = pick
        tx = self.tx(number) if other % 4 == 3 else self.payment(pick, [])
        height = self.world.height if tx.is_coinbase else self.judged_at(number)
        self._ask([ask_of.create(tx, height, [], other % 4 if other % 16 < 4 else 0)], fault, prompt)

    @rule(chosen=picks, own_flags=st.sampled_from([0, 0, 0, 1, 2, 3]), fault=faults, prompt=prompts)
    def spend(self, chosen: list[tuple[int, int]], own_flags: int, fault: Fault | None, prompt: bool) -> None:
        batch = []
        for number, other in chosen:
            tx = self.tx(other)
            coin, vin = (tx.spends[0], 0) if tx.spends and number % 2 else (self.coin(number, other), number % 2)
            batch.append(ask_of.spend(self.spend_of(coin, tx.txid, vin, number, own_flags)))
        self._ask(batch, fault, prompt)

    @rule(chosen=picks, fault=faults, prompt=prompts)
    def spend_transactions(self, chosen: list[tuple[int, int]], fault: Fault | None, prompt: bool) -> None:
        batch = []
        for number, other in chosen[:2]:
            tx = self.tx(number) if other % 2 else self.payment((number, other), [])
            if tx.spends:
                items = [self.spend_of(coin, tx.txid, vin, other) for vin, coin in enumerate(tx.spends)]
                batch.append(ask_of.spend_transaction(items))
        self._ask(batch, fault, prompt)

    @precondition(lambda self: has("unspend"))
    @rule(chosen=picks, fault=faults, prompt=prompts)
    def unspend(self, chosen: list[tuple[int, int]], fault: Fault | None, prompt: bool) -> None:
        batch = []
        for number, other in chosen:
            coin = self.held(number, other)
            holder = self.world.model.holder(coin)
            spender, vin = holder if isinstance(holder, tuple) and other % 16 else (self.tx(other).txid, 0)
            batch.append(ask_of.unspend(self.spend_of(coin, spender, vin, number)))
        self._ask(batch, fault, prompt)

    @precondition(lambda self: has("abandon") and has("unspend"))
    @rule(chosen=picks, fault=faults, prompt=prompts)
    def abandon(self, chosen: list[tuple[int, int]], fault: Fault | None, prompt: bool) -> None:
        batch = []
        for number, other in chosen:
            holder = self.world.model.holder(self.held(number, other))
            spender = self.world.model.known.get(holder[0]) if isinstance(holder, tuple) else None
            spender = spender or self.tx(other)
            outpoints = list(dict.fromkeys([*spender.spends, self.held(number, 1)]))
            batch.append(ask_of.abandon(spender.txid, outpoints, self.judged_at(number)))
        self._ask(batch, fault, prompt)

    @rule(number=numbers, fault=faults, prompt=prompts)
    def ask_again(self, number: int, fault: Fault | None, prompt: bool) -> None:
        history = self.world.history
        if history:
            self._ask(history[-1 - number % min(len(history), 8)], fault, prompt)

    def _ask(self, batch: Sequence[Ask], fault: Fault | None, prompt: bool) -> None:
        if batch:
            self.world.history.append(batch)
            self.world.step(batch, fault, prompt=prompt)

    # ---- blocks

    @precondition(lambda self: has("set_mined"))
    @rule(number=numbers, many=st.integers(0, 6), fault=faults, prompt=prompts)
    def mine(self, number: int, many: int, fault: Fault | None, prompt: bool) -> None:
        world = self.world
        world.height += 1
        block_id = 1000 + len(world.history) * 256 + number
        coinbase = self._coinbase(number, world.height, block_id)
        unmined = [txid for txid in world.settled() if not world.model.get(coinset.BLOCKS, txid)]
        txids = unmined[-many:] if many else []
        block = Block(block_id, world.height, (coinbase.txid, *txids))
        world.chain.append(block)
        world.history.append([self._set_mined(txid, block, ON_CHAIN) for txid in txids or block.txids])
        world.insist(world.history[-1], fault, prompt=prompt)

    def _set_mined(self, txid: bytes, block: Block, own_flags: int) -> Ask:
        height = self.world.height
        return ask_of.plain("set_mined", txid, block.id, block.height, 3, height, own_flags)

    @precondition(lambda self: has("set_mined") and has("mark_longest_chain") and self.world.chain)
    @rule(unset=flags, fault=faults, prompt=prompts)
    def disconnect(self, unset: bool, fault: Fault | None, prompt: bool) -> None:
        """The last block of the active chain is none of it any more."""
        world = self.world
        block = world.chain.pop()
        world.side.append(block)
        world.height -= 1
        there = [txid for txid in block.txids if txid in world.settled()]
        if unset:
            batch = [self._set_mined(txid, block, UNSETS) for txid in there]
        else:
            batch = [ask_of.plain("mark_longest_chain", txid, False, world.height) for txid in there]
        if batch:
            world.insist(batch, fault, prompt=prompt)

    @precondition(lambda self: has("set_mined") and has("mark_longest_chain") and self.world.side)
    @rule(number=numbers, fault=faults, prompt=prompts)
    def connect(self, number: int, fault: Fault | None, prompt: bool) -> None:
        """A block of a branch becomes part of the active chain, at its own height."""
        world = self.world
        block = world.side[number % len(world.side)]
        if block.height != world.height + 1:
            return
        world.side.remove(block)
        world.chain.append(block)
        world.height += 1
        there = [txid for txid in block.txids if txid in world.settled()]
        listed = all(any(each[0] == block.id for each in world.model.get(coinset.BLOCKS, txid) or ()) for txid in there)
        if listed and number % 2:
            batch = [ask_of.plain("mark_longest_chain", txid, True, world.height) for txid in there]
        else:
            batch = [self._set_mined(txid, block, ON_CHAIN) for txid in there]
        if batch:
            world.insist(batch, fault, prompt=prompt)

    @precondition(lambda self: has("set_mined"))
    @rule(chosen=picks, own_flags=st.integers(0, 3), fault=faults, prompt=prompts)
    def set_mined_anyhow(
        self, chosen: list[tuple[int, int]], own_flags: int, fault: Fault | None, prompt: bool
    ) -> None:
        batch = []
        for number, other in chosen:
            txid = self.settled(number).txid
            listed = self.world.model.get(coinset.BLOCKS, txid) or ()
            block_id = listed[0][0] if listed and other % 2 else 300 + other % 4
            block = Block(block_id, self.world.height - other % 2, ())
            batch.append(self._set_mined(txid, block, own_flags))
        self._ask(batch, fault, prompt)

    @precondition(lambda self: has("mark_longest_chain"))
    @rule(chosen=picks, fault=faults, prompt=prompts)
    def mark_longest_chain(self, chosen: list[tuple[int, int]], fault: Fault | None, prompt: bool) -> None:
        self._ask(
            [
                ask_of.plain("mark_longest_chain", self.settled(number).txid, other % 2 == 1, self.judged_at(other))
                for number, other in chosen
            ],
            fault,
            prompt,
        )

    # ---- alerts and marks

    @precondition(lambda self: has("freeze"))
    @rule(chosen=picks, kind=st.sampled_from(["freeze", "unfreeze", "reassign"]), fault=faults, prompt=prompts)
    def alert(self, chosen: list[tuple[int, int]], kind: str, fault: Fault | None, prompt: bool) -> None:
        model = self.world.model
        frozen = [key[1:] for key, held in model.state.items() if key[0] == coinset.HOLDER and held == coinset.FROZEN]
        batch = []
        for number, other in chosen:
            coin = self.coin(number, other)
            if kind != "freeze" and frozen and other % 8:
                coin = frozen[number % len(frozen)]
            utxo_hash = model.utxo_hash(*coin) if number % 32 != 31 else bytes(32)
            item: list[Any] = [*coin, utxo_hash]
            if kind == "reassign":
                item += [1000 + number, b"\x76re" + bytes([number, other]), self.world.height, other % 4]
            batch.append(ask_of.plain(kind, *item))
        self._ask(batch, fault, prompt)

    @rule(
        chosen=picks,
        kind=st.sampled_from(["set_locked", "set_conflicting", "preserve_until", "increment"]),
        value=flags,
        fault=faults,
        prompt=prompts,
    )
    def mark(
        self, chosen: list[tuple[int, int]], kind: str, value: bool, fault: Fault | None, prompt: bool
    ) -> None:
        if not has(kind):
            return
        batch = []
        for number, other in chosen[: 1 if kind == "set_conflicting" else 4]:
            tx, height = self.settled(number), self.judged_at(other)
            if kind == "set_conflicting":
                batch.append(ask_of.set_conflicting(tx, tx.txid, value, height))
            elif kind == "set_locked":
                batch.append(ask_of.plain(kind, tx.txid, value))
            elif kind == "preserve_until" and other % 4 == 0:
                batch.append(ask_of.plain(kind, tx.txid, height + other))
            elif kind == "increment" and self.world.model.records(tx.txid) > 1:
                batch.append(ask_of.plain(kind, tx.txid, 0, height))
        self._ask(batch, fault, prompt)

    # ---- what is seen

    @rule(chosen=picks, kind=st.sampled_from(["utxo", "get", "outpoint", "raw"]), fault=faults)
    def see(self, chosen: list[tuple[int, int]], kind: str, fault: Fault | None) -> None:
        batch = []
        for number, other in chosen:
            coin = self.held(number, other) if other % 2 else self.coin(number, other)
            if self.world.model.get(coinset.CREATING, coin[0]) and kind != "utxo":
                continue
            if kind == "utxo" and has("utxo"):
                batch.append(ask_of.plain("utxo", *coin, [None, self.judged_at(other)][other // 8 % 2]))
            elif kind == "get":
                batch.append(ask_of.get(coin[0]))
            elif kind == "raw":
                batch.append(ask_of.raw_of(coin[0]))
            elif kind == "outpoint":
                batch.append(ask_of.plain("outpoint", *coin))
        if batch:
            self.world.step(batch, fault)

    # ---- misfortune

    @rule(order=numbers, keep=flags, fault=faults)
    def deliver(self, order: int, keep: bool, fault: Fault | None) -> None:
        self.world.deliver(order, fault, keep=keep)

    @precondition(lambda self: self.subject.pending)
    @rule(number=numbers)
    def lose(self, number: int) -> None:
        self.world.lose(number)

    @rule()
    def time_passes(self) -> None:
        self.world.time_passes()

    @precondition(lambda self: has("set_mined"))
    @rule(number=numbers)
    def prune(self, number: int) -> None:
        model = self.world.model
        done = [txid for txid in self.world.settled() if model.is_on_chain(txid) and model.is_all_spent(txid)]
        if done:
            self.world.prune(model.known[done[number % len(done)]])

    @rule()
    def settle(self) -> None:
        self.world.settle()

    def teardown(self) -> None:
        if not self.world.has_failed:
            self.world.settle()
        self.ended()
