"""A Lua state with rules in it (emulation.lua, values.lua).

Python and Lua exchange nothing but MessagePack, once per call in each direction.
"""

from importlib.resources import files
from typing import Any

import msgpack
from lupa.lua54 import LuaError, LuaRuntime

from store.rules import rules_source

__all__ = ["LuaError", "Rules"]

Bins = dict[str, Any]


def _source(path: str) -> bytes:
    return (files(__package__) / path).read_bytes()


class Rules:
    """A Lua state with the rules loaded. source: another module in their place, for tests. Do not use it from two
    threads at once."""

    def __init__(self, source: bytes | None = None) -> None:
        runtime = LuaRuntime(encoding=None, unpack_returned_tuples=True, register_eval=False, register_builtins=False)
        values = runtime.compile(_source("values.lua"))()
        chunk = runtime.compile(_source("emulation.lua"))
        # Called with packed values only: run(function, arguments, head, utxos, inputs, outputs).
        self.run: Any
        self.run, names = chunk(values, rules_source() if source is None else source)
        self.names = sorted(name.decode() for name in names.values())

    def call(self, function: str, args: tuple[Any, ...], bins: Bins | None) -> tuple[Any, Bins]:
        """The rule's result, and the bins it saved (None: removed), on a record with these bins; None: no record.
        Raises LuaError."""
        head = None if bins is None else msgpack.packb(bins)
        result, saved = self.run(function.encode(), msgpack.packb(args), head)
        return unpack(result), {} if saved is None else unpack(saved)


def unpack(packed: bytes) -> Any:
    return msgpack.unpackb(packed, strict_map_key=False)
