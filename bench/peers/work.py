"""The work that is asked for: what the null store of utxod answers."""

from collections.abc import Sequence
from typing import Any, Final

# The environment's variable by which a peer's workers learn where Redis listens.
REDIS: Final = "UTXOD_BENCH_REDIS"
# Of every peer, as `--workers 2` of utxod.
PROCESSES: Final = 2
# What a peer that is asked waits for at most.
ANSWER_SECONDS: Final = 30.0
RECORD: Final = {"totalUtxos": 2}


def answers(txids: Sequence[Any]) -> list[dict[str, Any]]:
    """One field of each record."""
    return [RECORD for _ in txids]
