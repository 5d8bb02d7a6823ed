"""Rules that run inside an Aerospike server, with the same `call` as those of the emulation."""

import contextlib
import os
from typing import Any

from aerospike import exception

from store.aerospike.rules_module import register_module
from tests.lua import LuaError
from tests.support.aerospike_server import NAMESPACE, SET

_MARK = "¶"  # a record has at least one bin


class ServedRules:
    """source: a module of rules; `remove` takes it off the server."""

    def __init__(self, client: Any, source: bytes) -> None:
        self._client = client
        self._module = register_module(client, source, 10)

    def call(self, function: str, args: tuple[Any, ...], bins: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """As the emulation's."""
        key = (NAMESPACE, SET, bytearray(os.urandom(32)))
        if bins is not None:
            self._client.put(key, bins | {_MARK: 1})
        try:
            result = self._client.apply(key, self._module, function, list(args))
            return result, self._saved(key, bins or {})
        except exception.UDFError as error:
            raise LuaError(error.msg) from error
        finally:
            with contextlib.suppress(exception.RecordNotFound):
                self._client.remove(key)

    def remove(self) -> None:
        self._client.info_random_node(f"udf-remove:filename={self._module}.lua;")

    def _saved(self, key: Any, before: dict[str, Any]) -> dict[str, Any]:
        try:
            after = self._client.get(key)[2]
        except exception.RecordNotFound:
            return {}
        names = [*after, *(name for name in before if name not in after)]
        return {
            name: after.get(name) for name in names if name != _MARK and repr(after.get(name)) != repr(before.get(name))
        }
