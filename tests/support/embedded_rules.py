"""The rules of the embedded store, with the same `call` as those of the emulation."""

from typing import Any

from store.lmdb.record import Record, pack_bins
from store.lmdb.rules import RULES


class EmbeddedRules:
    def call(self, function: str, args: tuple[Any, ...], bins: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """As the emulation's, but that it raises what the rule raises. The record comes out of bytes, and goes into
        them."""
        if bins is None:
            return RULES[function](None, *args), {}
        record = Record.unpack(b"", pack_bins(b"", bins))
        answer = RULES[function](record, *args)
        if not record.is_changed:
            return answer, {}
        after = Record.unpack(b"", record.pack(b"")).read_bins()
        names = [name for name in {**bins, **after} if repr(after.get(name)) != repr(bins.get(name))]
        return answer, {name: after.get(name) for name in names}
