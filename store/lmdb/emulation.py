"""The rules of store/rules/utxo.lua, run in this process as an Aerospike server would run them (emulation.lua,
values.lua).

Python and Lua exchange nothing but MessagePack, once per call in each direction.
"""

from importlib.resources import files
from typing import Any

import msgpack
from lupa.lua54 import LuaError, LuaRuntime

from store.rules import rules_source

from .codec import unpack

__all__ = ["LuaError", "Rules"]


def _source(path: str) -> bytes:
    return (files(__package__) / path).read_bytes()


class Rules:
    """A Lua state with the rules loaded. source: another module in their place, for tests. Do not use it from two
    threads at once."""

    def __init__(self, source: bytes | None = None) -> None:
        runtime = LuaRuntime(encoding=None, unpack_returned_tuples=True, register_eval=False, register_builtins=False)
        values = runtime.compile(_source("values.lua"))()
        # Called with packed values only: run(function, arguments, head, utxos, inputs, outputs).
        self.run: Any = runtime.compile(_source("emulation.lua"))(values, rules_source() if source is None else source)

    def call(self, function: str, args: tuple[Any, ...], bins: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """The rule's result, and the bins it saved (None: removed), on a record with these bins; None: no record.
        Raises LuaError."""
        head = None if bins is None else msgpack.packb(bins)
        result, saved = self.run(function.encode(), msgpack.packb(args), head)
        return unpack(result), {} if saved is None else unpack(saved)
