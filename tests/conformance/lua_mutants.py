"""Mutants of the Lua module: each has another token, or lacks a statement."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from store.rules import rules_source
from tests.conformance.implementations import InLua
from tests.conformance.mutants import Mutant, reach, tell

_TOKEN: Final = re.compile(
    r"""(?P<comment>--[^\n]*)|(?P<text>"[^"\n]*")|(?P<number>0x[0-9A-Fa-f]+|\d+)|(?P<name>[A-Za-z_][\w.]*)"""
    r"""|(?P<operator>==|~=|<=|>=|//|[-+*%<>#])|(?P<other>[^\w"]|.)"""
)
_INSTEAD: Final[dict[str, tuple[str, ...]]] = {
    "==": ("~=",), "~=": ("==",), "<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<"),
    "+": ("-",), "-": ("+",), "*": ("+",), "%": ("*",), "//": ("*",),
    "and": ("or",), "or": ("and",), "not": ("",), "true": ("false",), "false": ("true",), "nil": ("0",),
    "math.max": ("math.min",), "math.min": ("math.max",), "HASH_BYTES": ("SPENT_BYTES",), "FROZEN": ('""',),
    "currentBlockHeight": ("blockHeightRetention",), "blockHeightRetention": ("currentBlockHeight",),
    "ignoreConflicting": ("ignoreLocked",), "ignoreLocked": ("ignoreConflicting",),
}  # fmt: skip
# Alone on its line, and not the first mention of a local.
_STATEMENT: Final = re.compile(r"^ +(?!local |return\b|if |for |else|end\b|--)\w[^\n]*(?<![,({])$", re.M)
_FUNCTION: Final = re.compile(r"^(?:local )?function (\w+)(.*?)^end$", re.M | re.S)
_CONSTANT: Final = re.compile(r"^local (\w+) = ([^\n]*)$", re.M)


def lua_mutants() -> Iterator[Mutant]:
    source = rules_source().decode()
    owners = [(match.start(), match.end(), match[1]) for match in _FUNCTION.finditer(source)]
    owners += [(match.start(), match.end(), match[1]) for match in _CONSTANT.finditer(source)]
    bodies = {match[1]: match[2] for pattern in (_FUNCTION, _CONSTANT) for match in pattern.finditer(source)}
    reached = reach(bodies, {name: name for name in InLua().rules.names})
    for start, end, other in [*_tokens(source), *_statements(source)]:
        owner = next((name for first, last, name in owners if first <= start < last), None)
        if owner is None or f"function {owner}" in source[source.rfind("\n", 0, start) : start]:
            continue
        changed = source[:start] + other + source[end:]
        change = tell(_line_at(source, start), _line_at(changed, start))
        line = source.count("\n", 0, start) + 1
        yield Mutant("utxo.lua", line, owner, change, reached[owner], partial(InLua, changed.encode()))


def _tokens(source: str) -> Iterator[tuple[int, int, str]]:
    for match in _TOKEN.finditer(source):
        kind, text = match.lastgroup, match[0]
        others = _INSTEAD.get(text, ())
        if kind == "number":
            others = (str(int(text, 0) + 1), str(int(text, 0) - 1))
        elif kind == "text":
            others = ('"changed"',) if len(text) > 2 else ('"x"',)
        if source.endswith("error(", 0, match.start()) or (text == "nil" and source[match.end()] == ","):
            continue  # how a failure is worded, and what stands before a refusal, tells nobody anything
        for other in others:
            yield match.start(), match.end(), other


def _statements(source: str) -> Iterator[tuple[int, int, str]]:
    for match in _STATEMENT.finditer(source):
        yield match.start(), match.end(), ""


def _line_at(source: str, position: int) -> str:
    start = source.rfind("\n", 0, position) + 1
    return source[start : source.find("\n", start)]
