"""The null store: keeps nothing, and answers as if all were well. For measuring everything but the store."""

from collections.abc import Sequence
from typing import Any, Final

from .interface import BlobStore, Read, RecordOperation, Result, RuleCall, Status
from .layout import DEFAULT_GENESIS_HEIGHT, DEFAULT_UTXO_BATCH_SIZE, CreationOptions, Partial, create_records
from .transaction import Output, Transaction

_TXID: Final = bytes(range(32))
_OUTPUT: Final = Output(5_000_000_000, bytes.fromhex("76a914") + bytes(20) + bytes.fromhex("88ac"))
_CHILD_COUNT_RULES: Final = frozenset({"setLocked", "setMined", "incrementSpentExtraRecs"})


class NullBlobStore:
    """Keeps nothing, finds nothing."""

    def put_new(self, source: Transaction | Partial) -> bool:
        return True

    def replace(self, source: Transaction | Partial) -> None:
        pass

    def has_whole(self, txid: bytes) -> bool:
        return False

    def get(self, txid: bytes) -> bytes | None:
        return None

    def output(self, txid: bytes, vout: int) -> Output | None:
        return None

    def delete(self, txid: bytes) -> bool:
        return False


class NullStore:
    """Every read finds the same small master record of two outputs, every write, removal and call succeeds. Results are
    shared: they are not to be changed."""

    utxo_batch_size: Final = DEFAULT_UTXO_BATCH_SIZE
    genesis_height: Final = DEFAULT_GENESIS_HEIGHT
    is_atomic: Final = True

    def __init__(self) -> None:
        self.blobs: BlobStore = NullBlobStore()
        creation = create_records(Partial(_TXID, {0: _OUTPUT, 1: _OUTPUT}), CreationOptions(block_height=0, now_ms=0))
        # Of one that is known as a whole, as far as `accept` looks.
        self._master = creation.master | {"sizeInBytes": 0}
        self._found: dict[tuple[str, ...] | None, Result] = {None: Result(Status.OK, self._master)}
        self._done = Result(Status.OK)
        self._spent = Result(Status.OK, {"status": "OK", "applied": [0]})

    def batch_operate(self, record_operations: Sequence[RecordOperation], budget: float) -> list[Result]:
        return [
            self._read(operation) if type(operation) is Read else self._answer(operation)
            for operation in record_operations
        ]

    def close(self) -> None:
        pass

    def _read(self, read: Read) -> Result:
        names = None if read.bins is None else tuple(read.bins)
        found = self._found.get(names)
        if found is None:
            value = {name: self._master[name] for name in read.bins or () if name in self._master}
            found = self._found[names] = Result(Status.OK, value)
        return found

    def _answer(self, operation: RecordOperation) -> Result:
        if type(operation) is not RuleCall:
            return self._done
        if operation.function in ("spend", "unspend"):
            return self._spent
        result: dict[str, Any] = {"status": "OK"}
        if operation.function == "spendMulti":
            result["applied"] = [spend["idx"] for spend in operation.args[0]]  # type: ignore[union-attr,index]
        elif operation.function in _CHILD_COUNT_RULES:
            result["childCount"] = 0
            if operation.function == "setMined":
                result["blockIDs"] = []
        return Result(Status.OK, result)
