"""What may go wrong in one run of daemons on one set, and how often: drawn from the run's seed."""

from random import Random
from typing import Final

MS: Final = 1000

# Chances: of a step (crash: of its worker; doubt: it goes unanswered), of a batch (hang, store_error), of an answer
# (lost_reply, late_reply, twice), of a tick (kill: of a daemon).
_FAULTS: Final = {
    "crash": 0.02,
    "doubt": 0.02,
    "hang": 0.005,
    "store_error": 0.02,
    "lost_reply": 0.03,
    "late_reply": 0.1,
    "twice": 0.05,
    "kill": 0.06,
}


class Storm:
    """rages: now. ends_with_kills: every daemon is killed at its end. struck: what has come so far."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        strength = rng.choice((0.0, 0.3, 1.0, 1.0, 2.0))
        share = rng.choice((0.3, 0.6, 1.0))
        self._chances = {name: chance * strength for name, chance in _FAULTS.items() if rng.random() < share}
        self._slowest = rng.choice((1, 5, 10)) * MS
        self._stalls = rng.choice((0.0, 0.02, 0.1))
        self.ends_with_kills = strength > 0 and rng.random() < 0.3
        self.rages = False
        self.struck: set[str] = set()

    def strikes(self, fault: str) -> bool:
        chance = self._chances.get(fault, 0.0)
        if self.rages and chance and self._rng.random() < chance:
            self.struck.add(fault)
            return True
        return False

    def step(self) -> int:
        """How long a record takes, in microseconds."""
        slow = 20 if self._rng.random() < self._stalls else 1
        return 20 + int(self._rng.random() ** 3 * self._slowest) * slow
