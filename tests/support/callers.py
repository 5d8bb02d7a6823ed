"""Callers: calls from many threads at once, each with what became of it and when."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from protocol import Client, UtxodError

HEIGHT = 1
OUTPUT = {0: (1, b"\x51")}


def txid(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Callers:
    """Calls from many threads. Each future gives (code, executed, when it was answered)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pool = ThreadPoolExecutor(64)

    def __enter__(self) -> "Callers":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def create(self, number: int, **options: Any) -> "Future[tuple[str, str, float]]":
        return self._submit(self._client.create_partial, txid(number), OUTPUT, block_height=HEIGHT, **options)

    def get(self, number: int, **options: Any) -> "Future[tuple[str, str, float]]":
        return self._submit(self._client.get, txid(number), **options)

    def lock(self, number: int) -> "Future[tuple[str, str, float]]":
        return self._submit(self._client.set_locked, txid(number), True)

    def _submit(self, method: Any, *arguments: Any, **options: Any) -> "Future[tuple[str, str, float]]":
        def call() -> tuple[str, str, float]:
            try:
                method(*arguments, **options)
            except UtxodError as error:
                return error.code, error.executed, time.monotonic()
            return "OK", "", time.monotonic()

        return self._pool.submit(call)
