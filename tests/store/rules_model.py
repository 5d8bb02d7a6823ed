"""What the rules must make of a master and two children, in Python: test_rules_model.py holds it against them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from store.layout import FROZEN, child_key

TXID = b"t" * 32
CHILDREN = [child_key(TXID, 1), child_key(TXID, 2)]
OUTPUTS = 2
HASHES = [bytes([n]) * 32 for n in range(OUTPUTS)]
RETENTION = 10
MODULUS = 65536

Note = tuple[int, int]


class Coin:
    """An output: who holds it (None, a spender, or FROZEN), and in which life.

    claims: how many spends that were answered well, in each life and by spender, nobody has released."""

    def __init__(self, utxo_hash: bytes) -> None:
        self.hash = utxo_hash
        self.holder: bytes | None = None
        self.life = 0
        self.claims: Counter[int] = Counter()
        self.spendable_in = 0
        self.output: list[Any] | None = None  # of a reassigned one: satoshis, script

    @property
    def utxo(self) -> bytes:
        return self.hash + (self.holder or b"")

    @property
    def is_spent(self) -> bool:
        return self.holder not in (None, FROZEN)

    def free(self) -> None:
        self.holder = None
        self.life += 1


class Model:
    """A record. pruned: the txids in deletedChildren."""

    def __init__(self, seq: int = 0) -> None:
        self.coins = [Coin(utxo_hash) for utxo_hash in HASHES]
        self.reassigned = 0
        self.creating = self.locked = self.conflicting = False
        self.pruned: set[bytes] = set()
        self.lock_seq = 0
        self.seq = seq  # stateSeq; of a child
        self.matures = 0  # spendingHeight
        self.state = "NOTALLSPENT"  # lastSpentState; of a child

    @property
    def spent(self) -> int:
        return sum(coin.is_spent for coin in self.coins)

    @property
    def all_spent(self) -> bool:
        return self.spent == OUTPUTS + self.reassigned

    def forbids(self, height: int) -> str | None:
        """The code with which all spends of the record are refused."""
        reasons = {
            "CREATING": self.creating,
            "CONFLICTING": self.conflicting,
            "LOCKED": self.locked,
            "COINBASE_IMMATURE": height < self.matures,
        }
        return next((code for code, holds in reasons.items() if holds), None)

    def judge(self, coin: Coin, spender: bytes, height: int) -> str | None:
        """The code with which a spend is refused; None: it holds."""
        if height < coin.spendable_in:
            return "FROZEN_UNTIL"
        if spender[:32] in self.pruned:
            return "INVALID_SPEND"
        if coin.holder in (None, spender):
            return None
        return "FROZEN" if coin.holder == FROZEN else "SPENT"


class Master(Model):
    """heard: the newest stateSeq of each child; 0 also of one that it has not heard of, where it is not whole: it has
    not heard of all. has_states: whether there is the bin."""

    def __init__(self, seqs: Sequence[int]) -> None:
        super().__init__()
        self.blocks: dict[int, int] = {}  # id and height, in the order in which they came
        self.unmined_since: int | None = 100
        self.preserved_until: int | None = None
        self.dah: int | None = None
        self.heard = list(seqs)
        self.is_whole = self.has_states = True
        self.counter = 0  # spentExtraRecs
        self.lock_height = 0

    @property
    def is_done(self) -> bool:
        is_mined = bool(self.blocks) and self.unmined_since is None
        return self.all_spent and self.counter == len(CHILDREN) and is_mined

    def settle(self, height: int) -> None:
        """The delete-at-height rule."""
        if self.locked:
            self.lock_height = max(self.lock_height, height)
            return
        if self.preserved_until is not None:
            return
        if self.conflicting:
            self.dah = self.dah or height + RETENTION
        else:
            self.dah = max(self.dah or 0, height + RETENTION) if self.is_done else None

    def take(self, notes: Sequence[Note], height: int) -> str | None:
        """noteChild. Returns the signal that it gives whatever becomes of the delete-at-height, if there is one."""
        told: dict[int, int] = {}
        for index, seq in notes:
            told[index] = max(seq, told.get(index, 0))
        is_right = self.is_whole and sum(seq % 2 for seq in self.heard) == self.counter
        has_news = False
        for index, seq in told.items():
            before = self.heard[index - 1]
            if seq > before or (not is_right and before % MODULUS == 0):
                self.heard[index - 1] = seq
                has_news = True
        self.has_states = self.has_states or not is_right
        if not is_right and len(told) < len(CHILDREN):
            self.is_whole = False
            believed = min(self.counter, len(CHILDREN) - sum(1 - seq % 2 for seq in told.values()))
            if believed < self.counter:
                self.counter = believed
                self.settle(height)
            return "RECOUNT"
        self.is_whole = True
        self.counter = sum(seq % 2 for seq in self.heard)
        if has_news or not is_right:
            self.settle(height)
        if is_right and has_news:
            return None
        return "DAHUNSET" if self.dah is None else "DAHSET"
