"""One simulated run of daemons that share a set of records: clock, network, records and callers, driven by one seed.

Each step of a record is held against what was promised. A run is a few storms; after each everybody who has to asks
again, as a caller does who was answered `unknown`, and nothing may be left: what is acknowledged stands, what is held
was named, counters and locks are right.
"""

import heapq
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, Final

from broker.decoding import from_submitter
from protocol import MinedBlock, codes, wire
from protocol.wire import Error
from store import RecordOperation, Result, RuleCall
from store.layout import CreationOptions, Partial, child_key, create_records
from store.transaction import Output
from tests.simulation.callers import HIGH, MIXES, Asked, Caller, Coin, Spender, coins_of, lost
from tests.simulation.daemons import Daemon
from tests.simulation.promises import Promises, check_counters, check_locks, check_marks
from tests.simulation.records import Bins, Steps
from tests.simulation.replay import Replayer
from tests.simulation.storm import Storm
from tests.simulation.tasks import Violation

MS: Final = 1000
SECOND: Final = 1000 * MS
_SWEEP: Final = 50 * MS
_TRIES: Final = 60


class SharedSetWorld:
    """steps: of the rules; a planted bug may be in them. trace: called with each event, None for silence.

    taken: steps so far. records: the set. large: its transactions that have children; counting: those of them that know
    their children's states, so that `increment` asks these. storm: what goes wrong. pending:
    requests that wait for their answer, by id. closing: nobody asks of himself any more. doubted: masters of which
    a daemon knows that a note may be lost. doubtful_locks: those of which an answer said so.
    """

    def __init__(self, seed: int, steps: Steps, trace: Callable[[str], None] | None = None) -> None:
        self.rng = Random(seed)
        self.now = 1
        self.taken = 0
        self.closing = False
        self.doubted: set[bytes] = set()
        self.doubtful_locks: set[bytes] = set()
        self._unhealed: set[bytes] = set()
        self.pending: dict[bytes, Asked] = {}
        self.promises = Promises()
        self.storm = Storm(self.rng)
        self.utxo_batch_size = self.rng.choice((1, 1, 2))
        self.replayer = Replayer(utxo_batch_size=self.utxo_batch_size)
        self._steps = steps
        self._trace = trace
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = count()
        self._requests = count(1)
        self._last: dict[int, Error | None] = {}
        self.records: dict[bytes, Bins] = {}
        self.large: list[bytes] = []
        self.counting: list[bytes] = []
        self.spenders = self._populate()
        self.daemons = [Daemon(self, number) for number in range(self.rng.choice((1, 2, 2)))]
        self.wishes = self.rng.choice(MIXES)
        self.callers = [Caller(self) for _ in range(self.rng.randint(2, 4))]

    def _populate(self) -> list[Spender]:
        """Two transactions with children, one of them mined and maybe written by another program, and a coinbase that
        matures meanwhile; and what spends them."""
        coins: list[Coin] = []
        for number, outputs in enumerate((1, 2, 3)):
            mined = [MinedBlock(1, 100, 0)] if number else []
            txid = bytes([number + 1]) * 32
            source = Partial(txid, {vout: Output(1 + vout, b"\x76") for vout in range(outputs)}, is_coinbase=not number)
            where = CreationOptions(100, 0, utxo_batch_size=self.utxo_batch_size, mined=mined)
            created = create_records(source, where)
            self.records |= dict(created.records)
            if len(created.records) > 1:
                self.large.append(txid)
                if self.rng.random() < 0.2:  # as another program leaves it
                    self.records[txid] = {k: v for k, v in self.records[txid].items() if k != "childStates"}
                else:
                    self.counting.append(txid)
            coins += coins_of(self.records, txid, self.utxo_batch_size)
        return [
            Spender(bytes([100 + number]) * 32, tuple(self.rng.sample(coins, self.rng.randint(1, 3))))
            for number in range(self.rng.randint(1, 4))
        ]

    def run(self) -> int:
        """Runs to the end; returns the steps taken. Raises Violation."""
        self.after(_SWEEP, self._sweep)
        for _ in range(self.rng.randint(1, 6)):
            self._storm()
            self._settle()
            self.promises.check_named(self.records)
            self._resolve()
            self.promises.named.clear()
            self.promises.check_named(self.records)
            self._check_masters()
        return self.taken

    def _storm(self) -> None:
        self.note("a storm begins")
        self.closing = False
        self.storm.rages = True
        for caller in self.callers:
            self.after(self.rng.randint(1, 10 * MS), caller.turn)
        self._until(self.now + int(self.rng.uniform(0.02, 0.15) * SECOND), lambda: False)
        self.note("the storm is over")
        if self.storm.ends_with_kills:
            for daemon in self.daemons:
                self._kill(daemon)
        self.storm.rages = False
        self.closing = True

    # ---- after a storm

    def _settle(self) -> None:
        self._until(self.now + 20 * SECOND, self._is_settled)
        if not self._is_settled():
            raise Violation(f"not settled: {self.pending}")

    def _is_settled(self) -> bool:
        """Nothing is to come but the next sweep."""
        return len(self._heap) == 1 and not self.pending and all(daemon.is_idle() for daemon in self.daemons)

    def _resolve(self) -> None:
        """Who was ever told that something may be held asks again, until he knows."""
        for caller in self.callers:
            caller.doubtful |= caller.ever_doubtful
            caller.ever_doubtful.clear()
        for _ in range(_TRIES):
            doubtful = [(caller, spender) for caller in self.callers for spender in sorted(caller.doubtful)]
            if not doubtful:
                return
            for caller, spender in doubtful:
                caller.resolve(spender)
                self._settle()
            self._until(self.now + SECOND // 10, lambda: False)
        raise Violation("asked again and again, and it is still not known")

    def _check_masters(self) -> None:
        """As they are, where no daemon knows of anything lost; and after asking again, in any case: but for the
        children's delete-at-height, which nobody trusts and nothing heals."""
        self._unhealed |= self.doubted | self.doubtful_locks
        for txid in self.large:
            children = [child_key(txid, n) for n in range(1, self.records[txid]["totalExtraRecs"] + 1)]
            if txid not in self.doubtful_locks:
                check_locks(self.records, txid, children)
            if txid not in self.doubted:
                check_counters(self.records, txid, children)
            if txid not in self._unhealed:
                check_marks(self.records, txid, children)
            self._ask_again(txid)
            check_locks(self.records, txid, children)
            check_counters(self.records, txid, children)
        self.doubted.clear()
        self.doubtful_locks.clear()

    def _ask_again(self, txid: bytes) -> None:
        """Each coin as it is; or that the children be counted; and the lock as it is."""
        caller = self.callers[0]
        if txid in self.counting and self.rng.random() < 0.3:
            self._ask("increment", [[txid, 1, HIGH]])
        else:
            for coin in coins_of(self.records, txid, self.utxo_batch_size):
                holder = caller.holder(coin)
                spender = next((known for known in self.spenders if coin in known.coins and known.txid == holder), None)
                any_spender = Spender(b"\xaa" * 32, (coin,))
                self._ask("spend" if spender else "unspend", (spender or any_spender).items(HIGH, [coin]))
        self._ask("set_locked", [[txid, bool(self.records[txid]["locked"])]])

    def _ask(self, operation: str, items: list[list[Any]]) -> None:
        """Until it is no fault that is answered, as that of a pool whose breaker is open."""
        for _ in range(_TRIES):
            self.callers[0].ask(operation, items, timeout_ms=1500)
            self._settle()
            if all(error is None or error.code in codes.REJECTIONS for error in self._last.values()):
                return
            self._until(self.now + SECOND // 10, lambda: False)
        raise Violation(f"asked again and again: {self._last}")

    # ---- the clock

    def after(self, delay: int, handler: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self._heap, (self.now + delay, next(self._sequence), handler, args))

    def latency(self) -> int:
        return 20 + int(self.rng.random() * 300)

    def note(self, *what: Any) -> None:
        if self._trace is not None:
            self._trace(f"{self.now / SECOND:10.6f} {' '.join(map(str, what))}")

    def _until(self, limit: int, done: Callable[[], bool]) -> None:
        heap = self._heap
        while heap and heap[0][0] <= limit and not done():
            self.now, _, handler, args = heapq.heappop(heap)
            handler(*args)
            for daemon in self.daemons:
                daemon.turn()
        self.now = max(self.now, limit) if not done() else self.now

    def _sweep(self) -> None:
        self.after(_SWEEP, self._sweep)
        for daemon in self.daemons:
            while daemon.core.sweep(self.now):
                pass
            if self.storm.strikes("kill"):
                self._kill(daemon)

    def _kill(self, daemon: Daemon) -> None:
        """What it owed is lost, and nobody knows what that was; its callers are told so."""
        daemon.kill()
        self.doubted |= set(self.large)
        for request, asked in list(self.pending.items()):
            if asked.daemon == daemon.number:
                self._tell(request, lost(len(asked.items)))

    # ---- the records

    def take(self, operation: str, record: RecordOperation) -> Result:
        """A step, held against what was promised."""
        before = self.records.get(record.key)
        result, after = self._steps.take(record, before)
        self.taken += 1
        if self._trace is not None:
            self.note("   ", operation, _in_words(record), "->", _in_order(result))
        if after is not before:
            self.promises.stepped(operation, record.key, before, after)
            if after is None:
                del self.records[record.key]
            else:
                self.records[record.key] = after
        return result

    def land(self, operation: str, record: RecordOperation) -> None:
        self.note("lands late:")
        self.take(operation, record)

    # ---- the network

    def request_id(self) -> bytes:
        return next(self._requests).to_bytes(16, "big")

    def deliver(self, asked: Asked, frames: list[bytes]) -> None:
        daemon = self.daemons[asked.daemon]
        if daemon.epoch == asked.epoch:
            daemon.core.handle(from_submitter(asked.daemon, frames), self.now)

    def answered(self, daemon: int, epoch: int, frames: list[Any]) -> None:
        """An answer has come."""
        request = bytes(frames[0])[4:]
        asked = self.pending.get(request)
        if self.daemons[daemon].epoch != epoch:
            return
        if asked is None:
            raise Violation(f"an answer to {request.hex()}, which has none to get")
        reply = wire.unpack_reply_header(bytes(frames[1]))
        self._tell(request, {n: reply.error or reply.errors.get(n) for n in range(len(asked.items))})

    def _tell(self, request: bytes, errors: dict[int, Error | None]) -> None:
        asked = self.pending.pop(request)
        self._last = errors
        self.note("answer", request.hex()[-4:], asked.operation, [e and (e.code, e.executed) for e in errors.values()])
        asked.caller.answered(request, asked, errors)


def _in_words(record: RecordOperation) -> str:
    what, args = (record.function, record.args) if isinstance(record, RuleCall) else (type(record).__name__, "")
    return f"{what} {record.key.hex()[62:]} {args}"


def _in_order(result: Result) -> Any:
    """In words that do not depend on the order in which a rule's map comes."""
    return _sorted(result.value) if isinstance(result.value, dict) else result.status.value


def _sorted(value: Any) -> Any:
    """With maps as lists, also those in maps."""
    return sorted((key, _sorted(item)) for key, item in value.items()) if isinstance(value, dict) else value
