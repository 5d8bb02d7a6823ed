"""The state machine: hypothesis chooses what callers, the node, the alert system and misfortune do next."""

from collections.abc import Callable
from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.model import asks as ask_of
from tests.model import records as kinds
from tests.model.choices import Batch, Choices
from tests.model.records import ON_CHAIN, UNSETS
from tests.model.subject import KINDS, Fault, Subject
from tests.model.transactions import Tx
from tests.model.world import MATURE, Block, World

seeds = st.integers(0, (1 << 32) - 1)
masks = st.integers(0, 255)
faults = st.one_of(
    st.none(), st.none(), st.none(), st.builds(Fault, st.sampled_from(KINDS), st.integers(0, 6), masks, masks)
)
prompts = st.sampled_from([True, True, True, False])


class Machine(RuleBasedStateMachine):
    """subject: what is held against the model. ended: called after each run, with whether it was good."""

    subject: Subject
    ended: Callable[[bool], None] = staticmethod(lambda is_good: None)

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.subject)
        for shape in (3, 5, 1, 9, 2):
            self._coinbase(shape, MATURE, 1)

    def _coinbase(self, shape: int, height: int, block_id: int, fault: Fault | None = None) -> Tx:
        tx = self.world.make([], shape)
        self.world.insist([ask_of.create(tx, height, [(block_id, height, 0)], 0)], fault)
        return tx

    def _ask(self, batch: Batch, fault: Fault | None, prompt: bool) -> None:
        if batch:
            self.world.history.append(batch)
            self.world.step(batch, fault, prompt=prompt)

    # ---- callers

    @rule(seed=seeds, fault=faults, prompt=prompts)
    def accept(self, seed: int, fault: Fault | None, prompt: bool) -> None:
        self._ask(Choices(self.world, Random(seed)).accepts(), fault, prompt)

    @rule(seed=seeds, fault=faults, prompt=prompts)
    def accept_more(self, seed: int, fault: Fault | None, prompt: bool) -> None:
        """Not every run has every rule: this makes it likelier that there is one of the two."""
        self.accept(seed, fault, prompt)

    @rule(seed=seeds, fault=faults, prompt=prompts)
    def spend(self, seed: int, fault: Fault | None, prompt: bool) -> None:
        choices = Choices(self.world, Random(seed))
        kind = choices.chance.choice([choices.creates, choices.spends, choices.spends, choices.whole_spends])
        self._ask(kind(), fault, prompt)

    @rule(seed=seeds, fault=faults, prompt=prompts)
    def take_back(self, seed: int, fault: Fault | None, prompt: bool) -> None:
        choices = Choices(self.world, Random(seed))
        self._ask(choices.chance.choice([choices.unspends, choices.abandons])(), fault, prompt)

    @precondition(lambda self: self.world.history)
    @rule(seed=seeds, fault=faults, prompt=prompts)
    def ask_again(self, seed: int, fault: Fault | None, prompt: bool) -> None:
        self._ask(list(Random(seed).choice(self.world.history[-8:])), fault, prompt)

    @rule(seed=seeds, fault=faults)
    def look(self, seed: int, fault: Fault | None) -> None:
        batch = Choices(self.world, Random(seed)).looks()
        if batch:
            self.world.step(batch, fault)

    # ---- blocks

    @rule(seed=seeds, many=st.integers(0, 6), fault=faults, prompt=prompts)
    def mine(self, seed: int, many: int, fault: Fault | None, prompt: bool) -> None:
        world = self.world
        choices = Choices(world, Random(seed))
        world.height += 1
        block_id = 1000 + len(world.chain) + 16 * len(world.history)
        coinbase = self._coinbase(choices.shape(), world.height, block_id)
        unmined = [txid for txid in world.settled() if not world.model.get(kinds.BLOCKS, txid)]
        block = Block(block_id, world.height, (coinbase.txid, *unmined[-many:]))
        world.chain.append(block)
        batch = [choices.set_mined(txid, block) for txid in block.txids]
        world.history.append(batch)
        world.insist(batch, fault, prompt=prompt)

    @precondition(lambda self: self.world.chain)
    @rule(unset=st.booleans(), seed=seeds, fault=faults, prompt=prompts)
    def disconnect(self, unset: bool, seed: int, fault: Fault | None, prompt: bool) -> None:
        """The last block of the active chain is none of it any more."""
        world, choices = self.world, Choices(self.world, Random(seed))
        block = world.chain.pop()
        world.side.append(block)
        world.height -= 1
        there = world.settled_of(block)
        batch = [
            choices.set_mined(txid, block, UNSETS)
            if unset
            else ask_of.plain("mark_longest_chain", txid, False, world.height)
            for txid in there
        ]
        if batch:
            world.insist(batch, fault, prompt=prompt)

    @precondition(lambda self: self.world.side)
    @rule(seed=seeds, fault=faults, prompt=prompts)
    def connect(self, seed: int, fault: Fault | None, prompt: bool) -> None:
        """A block of a branch becomes part of the active chain, at its own height."""
        world, choices = self.world, Choices(self.world, Random(seed))
        block = choices.chance.choice(world.side)
        if block.height != world.height + 1:
            return
        world.side.remove(block)
        world.chain.append(block)
        world.height += 1
        there = world.settled_of(block)
        listed = all(block.id in world.blocks_of(txid) for txid in there)
        batch = [
            ask_of.plain("mark_longest_chain", txid, True, world.height)
            if listed and choices.once_in(2)
            else choices.set_mined(txid, block, ON_CHAIN)
            for txid in there
        ]
        for operation in ("mark_longest_chain", "set_mined"):
            asks = [ask for ask in batch if ask.operation == operation]
            if asks:
                world.insist(asks, fault, prompt=prompt)

    @rule(seed=seeds, fault=faults, prompt=prompts)
    def mark(self, seed: int, fault: Fault | None, prompt: bool) -> None:
        """The alert system; and other marks, whatever the chain is."""
        choices = Choices(self.world, Random(seed))
        kinds = (
            choices.alerts,
            choices.alerts,
            choices.alerts,
            choices.marks,
            choices.marks,
            choices.sets_mined,
            choices.marks_of_chain,
        )
        self._ask(choices.chance.choice(kinds)(), fault, prompt)

    # ---- misfortune, and what mends it

    @precondition(lambda self: self.subject.pending)
    @rule(order=masks, keep=st.booleans(), fault=faults)
    def deliver(self, order: int, keep: bool, fault: Fault | None) -> None:
        self.world.deliver(order, fault, keep=keep)

    @precondition(lambda self: self.subject.pending)
    @rule(number=masks)
    def lose(self, number: int) -> None:
        self.world.lose(number)

    @rule()
    def time_passes(self) -> None:
        self.world.time_passes()

    @rule(seed=seeds)
    def prune(self, seed: int) -> None:
        """What is all spent, or whatever is mined: another program does not ask whether that is right."""
        chance, world = Random(seed), self.world
        mined = [world.model.known[txid] for txid in world.settled() if world.model.is_on_chain(txid)]
        done = world.done() if chance.randrange(2) else []
        if done or mined:
            world.prune(chance.choice(done or mined[-6:]))

    @rule()
    def settle(self) -> None:
        self.world.settle()

    def teardown(self) -> None:
        try:
            if not self.world.has_failed:
                self.world.settle()
        finally:
            self.ended(not self.world.has_failed)
