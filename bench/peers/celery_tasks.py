"""Celery: its tasks, and how they are asked. Its workers load this module."""

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from celery import Celery

from .work import ANSWER_SECONDS, PROCESSES, REDIS, answers

_URL: Final = f"redis+socket://{os.environ[REDIS]}"
_CALLERS: Final = 64

app: Final = Celery("bench", broker=_URL, backend=_URL)
app.conf.broker_pool_limit = _CALLERS
app.conf.result_expires = 60
task: Final = app.task(answers, name="answers")

WORKER: Final = [
    *(sys.executable, "-m", "celery", "-A", "bench.peers.celery_tasks", "worker"),
    *(f"--concurrency={PROCESSES}", "--loglevel=WARNING"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
]


def ask(txids: Sequence[bytes]) -> Any:
    """The answers; txids as hex, since Celery writes JSON."""
    return task.delay([txid.hex() for txid in txids]).get(timeout=ANSWER_SECONDS)
