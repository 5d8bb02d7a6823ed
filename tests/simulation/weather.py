"""What may go wrong in one run, and how often: drawn from the run's seed, so that some are calm and some are not."""

from dataclasses import dataclass
from random import Random
from typing import Final

from broker.settings import BrokerSettings

# Chances that fair weather does not have at all; a storm has several of them.
_FAULTS: Final = {
    "crash": 0.04,
    "hang": 0.02,
    "slow": 0.04,
    "twice": 0.05,
    "nonsense": 0.03,
    "stop": 0.01,
    "store_error": 0.05,
    "reject": 0.1,
    "poison": 0.03,
    "late": 0.04,
    "malformed": 0.05,
    "vanish": 0.05,
    "burst": 0.08,
    "flood": 0.15,
    "wedge": 0.03,
    "upheaval": 0.05,
    "idle_crash": 0.03,
    "restart": 0.02,
    "stall": 0.03,
}


@dataclass(slots=True)
class Weather:
    """Chances: of a dispatch (crash, hang, slow, twice, nonsense, stop, store_error), of an item (reject, poison), of a
    message (late, malformed), of a submitter's turn (vanish, burst, flood), of a tick (wedge: of the store; upheaval:
    scaling, retiring, a rolling restart; idle_crash; restart: of the daemon; stall: of its loop)."""

    crash: float = 0.0
    hang: float = 0.0
    slow: float = 0.0
    twice: float = 0.0
    nonsense: float = 0.0
    stop: float = 0.0
    store_error: float = 0.0
    reject: float = 0.0
    poison: float = 0.0
    late: float = 0.0
    malformed: float = 0.0
    vanish: float = 0.0
    burst: float = 0.0
    flood: float = 0.0
    wedge: float = 0.0
    upheaval: float = 0.0
    idle_crash: float = 0.0
    restart: float = 0.0
    stall: float = 0.0

    def clear(self) -> None:
        """Every fault is over."""
        for name in _FAULTS:
            setattr(self, name, 0.0)


def forecast(rng: Random) -> Weather:
    strength = rng.choice((0.3, 1.0, 1.0, 2.0, 4.0))
    share = rng.choice((0.3, 0.6, 1.0))
    return Weather(**{name: chance * strength for name, chance in _FAULTS.items() if rng.random() < share})


def small_settings(rng: Random) -> BrokerSettings:
    """Bounds so narrow that a short run meets them all."""
    return BrokerSettings(
        sweep_seconds=0.05,
        batch_limit=rng.choice((1, 4, 8, 16)),
        max_items=12,
        max_body_bytes=400,
        max_timeout_seconds=3.0,
        queue_items=rng.choice((10, 30, 100)),
        queue_bytes=rng.choice((1_000, 4_000, 20_000)),
        owed_items=rng.choice((2, 5, 50)),
        budget_seconds=0.3,
        grace_seconds=0.05,
        workerless_seconds=rng.choice((0.1, 0.4)),
        probe_seconds=0.1,
    )
