"""One record under the rules, of either implementation: what a rule saves is what the next one finds."""

from typing import Any

from tests.lua import Rules

RETENTION = 288
RULES = Rules()

HASHES = [bytes([index + 1]) * 32 for index in range(4)]
OURS = b"\x0a" * 32 + b"\x01\0\0\0"
THEIRS = b"\x0b" * 31 + b"\x0c" + b"\x02\x01\0\0"
OURS_HEX = "0a" * 32 + "01000000"
THEIRS_HEX = "0c" + "0b" * 31 + "02010000"
FROZEN = b"\xff" * 36
OURS_PRUNED = {"0a" * 32: True}  # a deletedChildren


class Ruled:
    """bins: those of a master of two unspent outputs, changed by what is given (None: no such bin)."""

    def __init__(self, **bins: Any) -> None:
        master = {
            "utxos": HASHES[:2],
            "recordUtxos": 2,
            "spentUtxos": 0,
            "totalExtraRecs": 0,
            "spentExtraRecs": 0,
            "conflicting": False,
            "locked": False,
            "unminedSince": 900,
        }
        self.bins: dict[str, Any] | None = {k: v for k, v in (master | bins).items() if v is not None}

    @classmethod
    def child(cls, **bins: Any) -> "Ruled":
        return cls(**({"totalExtraRecs": None, "spentExtraRecs": None, "unminedSince": None} | bins))

    @classmethod
    def mined(cls, **bins: Any) -> "Ruled":
        blocks = {"unminedSince": None, "blockIDs": [7], "blockHeights": [950], "subtreeIdxs": [0]}
        return cls(**(blocks | bins))

    @classmethod
    def missing(cls) -> "Ruled":
        record = cls()
        record.bins = None
        return record

    def __getitem__(self, name: str) -> Any:
        """The value of a bin, None where there is no such bin."""
        assert self.bins is not None
        return self.bins.get(name)

    def call(self, function: str, *args: Any) -> dict[str, Any]:
        result, saved = RULES.call(function, args, self.bins)
        if self.bins is None:
            assert saved == {}
        else:
            after = self.bins | saved
            self.bins = {name: value for name, value in after.items() if value is not None}
        assert isinstance(result, dict)
        assert None not in result.values(), "a map stores nil: what is not there must not be assigned"
        assert result["status"] == "OK" or saved == {} or "errors" in result, "a refusal changes nothing"
        return result

    @property
    def joined(self) -> dict[int, list[int]]:
        """By offset: life, and how many attempts rely on its spend beside the one that applied it."""
        return dict(self["joined"] or {})

    def unspend(self, offset: int = 0, data: bytes = OURS, current: int = 1000) -> dict[str, Any]:
        return self.call("unspend", offset, HASHES[offset], data, current, RETENTION)

    def release(self, life: int = 0, data: bytes = OURS, offset: int = 0, current: int = 1000) -> dict[str, Any]:
        return self.call("release", offset, HASHES[offset], data, current, RETENTION, life)

    def lock(self, value: bool, *seq: int, current: int = 1000) -> dict[str, Any]:
        return self.call("setLocked", value, current, RETENTION, *seq)

    def note(self, *notes: tuple[int, int], current: int = 1000, retention: int = RETENTION) -> dict[str, Any]:
        """noteChild; each a child's index and its stateSeq."""
        return self.call("noteChild", [list(note) for note in notes], current, retention)

    def tell(self) -> dict[str, Any]:
        return self.call("tellState", 1000, RETENTION)

    def increment(self, delta: Any, current: int = 1000, retention: int = RETENTION) -> dict[str, Any]:
        return self.call("incrementSpentExtraRecs", delta, current, retention)

    def spend(self, *spends: tuple[int, bytes], current: int = 1000, ignore: tuple[bool, bool] = (False, False)) -> Any:
        """spendMulti of (offset, spending data), each with the hash that stands there, and 10 + its position as idx."""
        items = [
            {"idx": 10 + position, "offset": offset, "utxoHash": HASHES[offset % 4], "spendingData": data}
            for position, (offset, data) in enumerate(spends)
        ]
        return self.call("spendMulti", items, *ignore, current, RETENTION)


def refused(result: dict[str, Any], code: str) -> bool:
    return bool(result["status"] == "ERROR" and result["errorCode"] == code and result["message"])
