"""A node, its set and its callers: every step asks the real operations and holds them against the model."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from random import SystemRandom
from typing import Any, Final, NamedTuple

from protocol.codes import NO
from protocol.worker_wire import FollowUp
from store import RuleCall
from store.layout import record_key
from tests.model import asks as ask_of
from tests.model import records as kinds
from tests.model.asks import Ask, Hold, shown
from tests.model.coinset import Coinset
from tests.model.heights import Heights
from tests.model.ledger import Ledger
from tests.model.observation import always, quiet, state_of
from tests.model.records import FROZEN, PER_RECORD, State
from tests.model.subject import Fault, Subject
from tests.model.telling import line_of
from tests.model.transactions import NO_OUTPOINT, Outpoint, Output, Tx, make_tx
from tests.model.verdict import Verdict, difference, part_of
from tests.support.dispatching import Outcome

MATURE: Final = 1  # height of coinbases that may be spent from about the beginning on
BEGINNING: Final = 101
_LOG: Final = 40
_NOBODY: Final = b"\x07" * 32
_runs = count(SystemRandom().randrange(1 << 30))  # a set on a server may have been used before


class Block(NamedTuple):
    id: int
    height: int
    txids: tuple[bytes, ...]


class World:
    """height: of the tip of the active chain. stale: transactions of which a word to master or children may be lost.
    torn: those whose children may be locked otherwise than they are.
    said: the outputs that answers say may be held, and by whom. stands: what was acknowledged, by output. has_failed:
    nothing more is to be held against the model."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.subject.pending.clear()
        self.model = Coinset(subject.is_atomic)
        self.heights = Heights(self.model)
        self.ledger = Ledger(subject, self.model.known)
        self.height = BEGINNING
        self.chain: list[Block] = []
        self.side: list[Block] = []
        self.history: list[Sequence[Ask]] = []
        self.stale: set[bytes] = set()
        self.torn: set[bytes] = set()
        self.said: set[Hold] = set()
        self.stands: dict[Outpoint, bytes] = {}
        self.has_failed = False
        self._log: list[Any] = []
        self._tags = count(next(_runs) << 32)
        self._tag_of: dict[bytes, int] = {}

    # ---- what there is

    def there(self) -> list[bytes]:
        return [txid for txid in self.model.known if self.model.is_there(txid)]

    def settled(self) -> list[bytes]:
        return [txid for txid in self.there() if self._is_settled(txid)]

    def _is_settled(self, txid: bytes) -> bool:
        """In the set, and not half created."""
        return self.model.is_there(txid) and not self.model.get(kinds.CREATING, txid)

    def free_coins(self) -> list[Outpoint]:
        """That nobody holds."""
        return [coin for txid in self.settled() for coin in self.model.coins(txid) if not self.model.holder(coin)]

    def is_spendable(self, coin: Outpoint) -> bool:
        txid, vout = coin
        record, height = vout // PER_RECORD, self.height
        marks = (self.model.get(kind, txid, record) for kind in (kinds.CONFLICTING, kinds.LOCKED))
        heights = self.model.get(kinds.MATURES, txid, record), self.model.get(kinds.SPENDABLE, txid, vout)
        return not any(marks) and all((least or 0) <= height for least in heights)

    def holders(self) -> list[kinds.Holder]:
        """Who holds anything."""
        state = self.model.state
        return [held for (kind, _, _), held in state.items() if kind == kinds.HOLDER and held != FROZEN]

    def blocks_of(self, txid: bytes) -> list[int]:
        return [block[0] for block in self.model.get(kinds.BLOCKS, txid) or ()]

    def settled_of(self, block: Block) -> list[bytes]:
        settled = set(self.settled())
        return [txid for txid in block.txids if txid in settled]

    def done(self) -> list[Tx]:
        """All spent and mined."""
        model = self.model
        return [model.known[txid] for txid in self.settled() if model.is_on_chain(txid) and model.is_all_spent(txid)]

    def outpoints(self) -> list[Outpoint]:
        """All, and one too many of each transaction."""
        return [(txid, vout) for txid, tx in self.model.known.items() for vout in range(len(tx.outputs) + 1)]

    def output(self, outpoint: Outpoint) -> Output:
        txid, vout = outpoint
        tx = self.model.known.get(txid)
        return self.model.output(txid, vout) if tx and vout < len(tx.outputs) else Output(1, b"\x51")

    def make(self, inputs: Sequence[Outpoint], shape: int) -> Tx:
        """shape: how many outputs, and which of them are data."""
        tag = next(self._tags)
        outputs = 1 + shape % 6
        total = sum(self.output(outpoint).satoshis for outpoint in inputs) if inputs else 5000
        scripts = [b"\x76\xa9" + tag.to_bytes(8, "little") + bytes([vout]) for vout in range(outputs)]
        match shape // 6 % 6:
            case 1:
                scripts[-1] = b"\x00\x6adata"
            case 2:
                scripts[-2:] = [b"\x6adata", b"\x00\x6adata"][-len(scripts[-2:]) :]
            case 3:
                scripts = [b"\x00\x6adata"] * outputs
        made = [Output(total // outputs, script) for script in scripts]
        tx = make_tx(inputs or [NO_OUTPOINT], made, tag)
        self.model.known[tx.txid] = tx
        self.model.forms[tx.txid] = {tx.raw}
        self._tag_of[tx.txid] = tag
        return tx

    def accept(
        self,
        tx: Tx,
        is_extended: bool,
        height: int,
        mined: Sequence[Sequence[int]] = (),
        flags: int = 0,
        wrong: int | None = None,
    ) -> Ask:
        """wrong: an input that is shown with another output than it spends."""
        spent = [self.output(outpoint) for outpoint in tx.spends] if is_extended else None
        if spent and wrong is not None:
            spent[wrong] = Output(spent[wrong].satoshis + 1, spent[wrong].script)
        ask = ask_of.accept(tx, self._tag_of[tx.txid], spent, height, mined, flags)
        self.model.forms[tx.txid].add(ask.items[0][0])
        return ask

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Says with a failure what went before."""
        try:
            yield
        except AssertionError as failure:
            if self.has_failed:
                raise
            self.has_failed = True
            raise AssertionError("\n".join([str(failure), "\nbefore:", *map(line_of, self._log[-_LOG:])])) from None
        except BaseException:
            self.has_failed = True
            raise

    # ---- steps

    def step(self, asks: Sequence[Ask], fault: Fault | None = None, *, prompt: bool = True) -> list[list[Outcome]]:
        """The outcomes of each. prompt: owed follow-ups are done at once."""
        self._log.append(("asked", asks, fault))
        unquiet = self._unquiet()
        with self._told():
            requests, flags = [ask.items for ask in asks], [ask.flags for ask in asks]
            found = iter(self.subject.ask(asks[0].operation, requests, flags, fault))
            outcomes = [[next(found) for _ in ask.items] for ask in asks]
            self._log.append(("answered", outcomes))
            had_fault = self.subject.shaken.had_fault
            touched = dict.fromkeys(txid for ask in asks for txid in ask.touches)
            verdict = Verdict(self.model, asks, outcomes, self.observe(touched))
            verdict.check(had_fault)
            self.said.update(verdict.said())
            if had_fault:
                self.stale.update(touched)
                self.torn.update(touched)
            self._remember(asks, outcomes)
            self._check_coins(touched)
        if prompt:
            self.deliver()
        unquiet |= self._unquiet()
        self.heights.look(asks, outcomes, unquiet)
        with self._told():
            for txid in touched:
                if txid in self.model.known and txid not in unquiet and self._is_settled(txid):
                    self._check_height(txid)
            wrong = self.ledger.look(asks, outcomes, unquiet, had_fault=had_fault)
            assert not wrong, wrong
        return outcomes

    def _unquiet(self) -> set[bytes]:
        """Where something is still to be done, or in doubt."""
        return self.stale | self.torn | {owed.key[:32] for owed in self.subject.pending}

    def insist(self, asks: Sequence[Ask], fault: Fault | None = None, *, prompt: bool = True) -> None:
        """Callers that ask again until they know."""
        outcomes = self.step(asks, fault, prompt=prompt)
        if any(outcome.error is not None for each in outcomes for outcome in each):
            self.time_passes()
            self.step(asks)

    def observe(self, txids: Collection[bytes]) -> State:
        state: State = {}
        for txid in txids:
            if txid in self.model.known:
                records = self.subject.records(txid, self.model.records(txid))
                wrong = always(records[:-1])
                with self._told():
                    assert not wrong, f"{shown(txid)}: {wrong}"
                state |= state_of(txid, records)
        return state

    def _remember(self, asks: Iterable[Ask], outcomes: Sequence[Sequence[Outcome]]) -> None:
        """What is acknowledged from now on, and what no more."""
        for ask, own in zip(asks, outcomes, strict=True):
            executed = {outcome.executed for outcome in own}
            if ask.operation in ("unspend", "abandon") and executed != {NO}:
                for txid in ask.touches:
                    self.stands = {
                        coin: spender
                        for coin, spender in self.stands.items()
                        if coin[0] != txid or self.model.holder(coin)
                    }
            elif executed == {None}:
                if ask.operation == "set_locked" and not self.subject.shaken.had_fault:
                    self.torn.discard(ask.touches[0])
                for coin, spender in ask.holds:
                    if self._is_held(coin, spender):
                        self.stands[coin] = spender

    def _is_held(self, coin: Outpoint, spender: bytes) -> bool:
        held = self.model.holder(coin)
        return bool(held) and held[0] == spender

    def _check_coins(self, touched: Collection[bytes]) -> None:
        for coin, spender in self.stands.items():
            assert coin[0] not in touched or self._is_held(coin, spender), (
                f"acknowledged and undone: {shown(coin)} of {shown(spender)}"
            )
        self.said = {(coin, spender) for coin, spender in self.said if self._is_held(coin, spender)}
        for (kind, txid, vout), held in part_of(self.model.state, touched).items():
            if kind == kinds.HOLDER and held != FROZEN:
                is_known = self.model.get(kinds.RECORD, held[0]) or ((txid, vout), held[0]) in self.said
                pruned = self.model.get(kinds.PRUNED, txid, vout // PER_RECORD) or ()
                assert is_known or held[0] in pruned, f"{shown([txid, vout])} names {shown(held)}, of whom nobody knows"

    # ---- follow-ups

    def deliver(self, order: int = 0, fault: Fault | None = None, *, keep: bool = False) -> None:
        """Does what is owed, in any order. keep: it will be done once more."""
        self.subject.shaken.plan(fault)
        pending = self.subject.pending
        self.subject.pending = list(pending) if keep else []
        if order and len(pending) > 1:
            turn = order % len(pending)
            pending = [*pending[turn:], *pending[:turn]]
            pending = pending[::-1] if order % 2 else pending
        while pending:
            same = [follow_up for follow_up in pending if follow_up.operation == pending[0].operation][:4]
            pending = [follow_up for follow_up in pending if not any(follow_up is done for done in same)]
            self._log.append(("followed", same, fault))
            error = self.subject.follow(*same)
            if error is not None and not self.subject.shaken.had_fault:
                with self._told():
                    raise AssertionError(f"{same[0].operation} failed: {error}")
            if self.subject.shaken.had_fault:
                self._doubt(same)
            with self._told():
                self._check_locks(same)

    def _check_locks(self, follow_ups: Iterable[FollowUp]) -> None:
        """A lock of children that comes late changes nothing where a newer one was answered."""
        for txid in {owed.key[:32] for owed in follow_ups if owed.operation == "lock_children"}:
            found, known = self.observe([txid]), part_of(self.model.state, [txid])
            changed = {key for key in found.keys() | known.keys() if found.get(key) != known.get(key)}
            is_allowed = txid in self.torn and all(key[0] == kinds.LOCKED and key[2] for key in changed)
            assert not changed or is_allowed, f"late: {difference(found, known)}"
            for key in known:
                del self.model.state[key]
            self.model.state |= found

    def lose(self, number: int) -> None:
        """A daemon is killed, and what it owed is lost."""
        lost = self.subject.pending if number % 2 else self.subject.pending[:1]
        self.subject.pending = self.subject.pending[len(lost) :]
        self._log.append(("lost", lost))
        self._doubt(lost)

    def _doubt(self, follow_ups: Iterable[FollowUp]) -> None:
        self.stale |= {follow_up.key[:32] for follow_up in follow_ups}

    # ---- what comes from elsewhere

    def time_passes(self) -> None:
        """Creation locks, and the marks of what is abandoned, come to their end."""
        state = self.model.state
        ended = [key for key in state if key[0] in (kinds.LOCK, kinds.BARRED)]
        self.subject.remove([txid if kind == kinds.BARRED else txid + b"\xff" * 4 for kind, txid, _ in ended])
        for key in ended:
            del state[key]
        if ended:
            self._log.append(("time passed", [key[1] for key in ended]))

    def prune(self, tx: Tx) -> None:
        """As another program would: marked in its parents, then its records are removed."""
        self._log.append(("pruned", [tx.txid]))
        for txid, vout in tx.spends:
            if self._is_held((txid, vout), tx.txid):
                record, offset = divmod(vout, PER_RECORD)
                call = RuleCall(record_key(txid, record), "addDeletedChildren", ([[offset, tx.txid]],))
                (result,) = self.subject.call([call])
                assert result.status == "OK", result
                assert result.value["status"] == "OK", result
                marks = self.model.get(kinds.PRUNED, txid, record) or frozenset()
                self.model.put(kinds.PRUNED, txid, record, marks | {tx.txid})
        self.subject.remove([record_key(tx.txid, record) for record in range(self.model.records(tx.txid))])
        self.subject.pending = [owed for owed in self.subject.pending if owed.key[:32] != tx.txid]
        for key in part_of(self.model.state, [tx.txid]):
            del self.model.state[key]
        self.heights.forget(tx.txid)
        self.ledger.forget(tx.txid)
        self.stands = {coin: spender for coin, spender in self.stands.items() if coin[0] != tx.txid}

    # ---- quiet

    def settle(self) -> None:
        """All follow-ups are done, all that was in doubt is asked again: then everything is as it must be."""
        self.deliver()
        self.time_passes()
        self._heal()
        self.deliver()
        with self._told():
            wrong = self._difference()
            assert not wrong, wrong
            for txid in self.settled():
                self._check_quiet(txid)
            wrong = self.ledger.wrong(list(self.model.known))
            assert not wrong, wrong

    def _heal(self) -> None:
        for txid in [txid for txid in self.there() if self.model.get(kinds.CREATING, txid)]:
            self.step([ask_of.create(self.model.known[txid], self.height + 1, (), 0)])
        for txid in [txid for txid in self.settled() if txid in self.stale]:
            is_conflicting = bool(self.model.get(kinds.CONFLICTING, txid))
            self.step([ask_of.set_conflicting(self.model.known[txid], txid, is_conflicting, self.height + 1)])
            self.step([ask_of.plain("set_locked", txid, bool(self.model.get(kinds.LOCKED, txid)))])
            if self.model.records(txid) > 1 and not self._tells_again(txid):
                self.step([ask_of.plain("increment", txid, 0, self.height + 1)])
        self.stale.clear()

    def _tells_again(self, txid: bytes) -> bool:
        """Has the children tell their master again, by asking for what is so already. Whether all can be asked."""
        coins = dict(reversed([(vout // PER_RECORD, (txid, vout)) for _, vout in self.model.coins(txid)]))
        asks = [self._ask_what_is_so(coin) for record, coin in coins.items() if record]
        if not asks or None in asks:
            return False
        for ask in asks:
            assert ask is not None
            self.step([ask])
        return True

    def _ask_what_is_so(self, coin: Outpoint) -> Ask | None:
        held, height = self.model.holder(coin), self.height + kinds.MATURITY
        pruned = self.model.get(kinds.PRUNED, coin[0], coin[1] // PER_RECORD) or ()
        if held == FROZEN or (held and held[0] in pruned):
            return None
        item = [*coin, self.model.utxo_hash(*coin), *(held or (_NOBODY, 0)), height, 3]
        return ask_of.spend(item) if held else ask_of.unspend(item)

    def _difference(self) -> str:
        return difference(self.observe(self.model.known), self.model.state)

    def _check_quiet(self, txid: bytes) -> None:
        *found, _ = self.subject.records(txid, self.model.records(txid))
        records = [record for record in found if record is not None]
        assert len(records) == len(found), f"{shown(txid)}: records are missing"
        wrong = quiet(records)
        assert not wrong, f"{shown(txid)}: {wrong}"
        self._check_height(txid)

    def _check_height(self, txid: bytes) -> None:
        *found, _ = self.subject.records(txid, self.model.records(txid))
        heights = [record.get("deleteAtHeight") for record in found if record is not None]
        is_due = self.model.is_due(txid)
        assert (heights[0] is not None) == is_due, f"{shown(txid)}: delete-at-height {heights}, due: {is_due}"
        assert len(set(heights)) == 1, f"{shown(txid)}: the records' delete-at-heights: {heights}"
        if heights[0] is not None:
            wrong = self.heights.wrong(txid, heights[0])
            assert not wrong, wrong
