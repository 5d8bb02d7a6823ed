"""The list of what is in doubt: a file that outlives the daemon, from which `reconcile` starts.

A line of JSON each: the store, why, and either the txid of a master whose owed work failed, or a request (operation and
body, hexadecimal) whose worker was lost, and maybe follow-up work with it.
"""

import json
import logging
from pathlib import Path
from typing import Final

from .actions import InDoubt, LostRequest

log = logging.getLogger("utxod.doubts")

FILE_NAME: Final = "in-doubt.jsonl"


class DoubtList:
    """directory: made when the first line is written. store: the set that the lines are about."""

    def __init__(self, directory: Path, store: str) -> None:
        self._path = directory / FILE_NAME
        self._store = store

    def add(self, doubt: InDoubt | LostRequest) -> None:
        if isinstance(doubt, InDoubt):
            what = {"txid": doubt.key[::-1].hex(), "operation": doubt.operation}
            log.error("transaction %s is in doubt: %s failed: %s", what["txid"], doubt.operation, doubt.reason)
        else:
            what = {"operation": doubt.operation, "request": bytes(doubt.body).hex()}
            log.error("a request to %s is in doubt: %s", doubt.operation, doubt.reason)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps({"store": self._store, **what, "reason": doubt.reason}) + "\n")
        except OSError as error:
            log.error("that could not be written to %s: %s", self._path, error)
