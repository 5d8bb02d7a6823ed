"""The rules of a UTXO set, in Lua (utxo.lua): a module that Aerospike's servers run, and the embedded store
emulates."""

from importlib.resources import files


def rules_source() -> bytes:
    """The Lua module of the rules."""
    return (files(__package__) / "utxo.lua").read_bytes()
