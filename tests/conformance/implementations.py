"""What is compared: implementations of the rules, each called with a rule's name, its arguments and a record's bins."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Final, NamedTuple, Protocol

import msgpack

from store.lmdb.record import Damaged, Record, pack_bins
from store.lmdb.rules import RULES
from tests.lua import LuaError, Rules
from tests.lua.emulation import unpack
from tests.support.aerospike_server import server_client
from tests.support.served_rules import ServedRules

Bins = dict[str, Any]
Arguments = tuple[Any, ...]


class Outcome(NamedTuple):
    """bins: what the record holds after the call, None where there is none. is_written: whether the record was kept
    anew, be it as it was; None: nobody can see."""

    answer: Any
    bins: Bins | None
    is_written: bool | None


FAILED: Final = Outcome("the call fails as a whole", None, False)
DAMAGED: Final = Outcome("what is kept then is no record", None, True)

Call = Callable[[str, Arguments], Outcome]


class Implementation(Protocol):
    name: str

    def hold(self, bins: Bins | None) -> Call:
        """Calls on a record with these bins (None: there is no record): each finds it as it is given here."""


class InLua:
    """The Lua module, in this process. source: another module in its place."""

    name = "Lua"

    def __init__(self, source: bytes | None = None) -> None:
        self.rules = Rules(source)

    def hold(self, bins: Bins | None) -> Call:
        run, pack = self.rules.run, msgpack.packb
        head = None if bins is None else pack(bins)

        def call(function: str, args: Arguments) -> Outcome:
            try:
                answer, saved = run(function.encode(), pack(args), head)
            except LuaError:
                return FAILED
            if saved is None:
                return Outcome(unpack(answer), bins, False)
            return Outcome(unpack(answer), apply(bins, unpack(saved)), True)

        return call


class InPython:
    """The rules of the embedded store. Each call is on a record out of bytes; what it changes is turned into bytes, and
    back. rules: others in their place."""

    name = "Python"

    def __init__(self, rules: Mapping[str, Callable[..., Any]] = RULES) -> None:
        self._rules = rules

    def hold(self, bins: Bins | None) -> Call:
        rules = self._rules
        raw = b"" if bins is None else pack_bins(b"", bins)

        def call(function: str, args: Arguments) -> Outcome:
            record = None if bins is None else Record.unpack(b"", raw)
            try:
                answer = rules[function](record, *args)
                changed = record.pack(b"") if record is not None and record.is_changed else None
            except Exception:
                return FAILED
            if changed is None:
                return Outcome(answer, bins, False)
            try:
                return Outcome(answer, Record.unpack(b"", changed).read_bins(), True)
            except Damaged:
                return DAMAGED

        return call


class Served:
    """The Lua module, in a server, which keeps it."""

    name = "server"

    def __init__(self, source: bytes) -> None:
        self._opened = ExitStack()
        self._rules = ServedRules(self._opened.enter_context(server_client()), source)

    def hold(self, bins: Bins | None) -> Call:
        def call(function: str, args: Arguments) -> Outcome:
            try:
                answer, saved = self._rules.call(function, args, bins)
            except LuaError:
                return FAILED
            return Outcome(answer, apply(bins, saved) if saved else bins, None)

        return call


def apply(bins: Bins | None, saved: Mapping[str, Any]) -> Bins | None:
    """What a record holds after a call. saved: the bins that it wrote, None: removed."""
    return None if bins is None else {name: value for name, value in {**bins, **saved}.items() if value is not None}
