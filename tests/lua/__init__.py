"""The rules of store/rules/utxo.lua, run in this process as an Aerospike server would run them: what the rules of the
embedded store are held against."""

from tests.lua.emulation import LuaError, Rules

__all__ = ["LuaError", "Rules"]
