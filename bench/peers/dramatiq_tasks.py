"""Dramatiq: its actors, and how they are asked. Its workers load this module."""

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from .work import ANSWER_SECONDS, PROCESSES, REDIS, answers

_URL: Final = f"unix://{os.environ[REDIS]}"

broker: Final = RedisBroker(url=_URL)
broker.add_middleware(Results(backend=RedisBackend(url=_URL)))
dramatiq.set_broker(broker)
actor: Final = dramatiq.actor(answers, store_results=True)

WORKER: Final = [
    *(sys.executable, "-m", "dramatiq", "bench.peers.dramatiq_tasks"),
    *("--processes", str(PROCESSES), "--threads", "1"),
]


def ask(txids: Sequence[bytes]) -> Any:
    """The answers; txids as hex, since Dramatiq writes JSON."""
    message = actor.send([txid.hex() for txid in txids])
    return message.get_result(block=True, timeout=int(ANSWER_SECONDS * 1000))
