"""The rules of a UTXO set, in Lua (utxo.lua): a module that Aerospike's servers run. store/lmdb/rules/ has the same
rules in Python, for the embedded store."""

from importlib.resources import files


def rules_source() -> bytes:
    """The Lua module of the rules."""
    return (files(__package__) / "utxo.lua").read_bytes()
