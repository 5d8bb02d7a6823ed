"""Record operations as the Aerospike client takes them (its batch records), and its answers as results.

Keys are blobs: their digests are those of any client whose keys are bytes. Where it is not certain that an operation
was not applied, its result is in doubt: only a code that the server gives before it touches a record makes it certain.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import aerospike
from aerospike_helpers import expressions as exp
from aerospike_helpers.batch import records as batch
from aerospike_helpers.operations import operations

from store.interface import Mode, Read, RecordOperation, Result, RuleCall, Status, StoreError, Value, Write

from .result_codes import (
    BATCH_FAILED,
    NO_NODE,
    NO_RESPONSE,
    OK,
    REFUSALS,
    STATUSES,
    TIMEOUT,
    UDF_FAILED,
    describe,
)

NOT_SENT: Final = None  # the result of a batch record that the client has not come to

_NO_NODE_TEXT: Final = "Aerospike: no node of the cluster is there (result code 1)"
_NO_MODULE: Final = "UDF: Execution Error 1"  # so it ends, where the node could not load the module
_NO_MODULE_TEXT: Final = (
    "Aerospike: the node does not have the rules, which are being registered again (result code 100)"
)
_EXPECTED: Final = frozenset({Status.NOT_FOUND, Status.EXISTS, Status.CONDITION_FALSE})

_EXISTS: Final = {
    Mode.CREATE: aerospike.POLICY_EXISTS_CREATE,
    Mode.UPDATE: aerospike.POLICY_EXISTS_UPDATE,
    Mode.UPSERT: aerospike.POLICY_EXISTS_IGNORE,
}


class Translator:
    """namespace, set: of every record. module: the name under which the rules are registered."""

    def __init__(self, namespace: str, set_name: str, module: str) -> None:
        self._namespace = namespace
        self._set = set_name
        self._module = module
        # A rule leaves a record's time to live as it is, whatever the namespace's default is.
        self._apply_policy = {"ttl": aerospike.TTL_DONT_UPDATE}

    def key(self, key: bytes) -> tuple[str, str, bytearray]:
        return self._namespace, self._set, bytearray(key)

    def to_batch_record(self, operation: RecordOperation) -> Any:
        """The client's record, marked as not sent. Raises ValueError where the client has none for it."""
        key = self.key(operation.key)
        kind = type(operation)
        if kind is RuleCall:
            made = batch.Apply(key, self._module, operation.function, list(operation.args), self._apply_policy)  # type: ignore[union-attr]
        elif kind is Read:
            names = operation.bins  # type: ignore[union-attr]
            ops = None if not names else [operations.read(name) for name in names]
            made = batch.Read(key, ops, read_all_bins=names is None)
        elif kind is Write:
            made = self._write(key, operation)  # type: ignore[arg-type]
        else:
            made = batch.Remove(key, _filter(operation.condition))  # type: ignore[union-attr]
        made.result = NOT_SENT
        return made

    def _write(self, key: tuple[str, str, bytearray], write: Write) -> Any:
        policy = _filter(write.condition) or {}
        mode = write.mode
        if policy and any(value is not None for value in (write.condition or {}).values()):
            if mode is Mode.CREATE:
                raise ValueError("a record that is created has no bins that a condition could ask for")
            mode = Mode.UPDATE  # a filter is not looked at where there is no record
        policy["exists"] = _EXISTS[mode]
        if write.ttl is not None:
            policy["ttl"] = write.ttl
        else:
            policy["ttl"] = aerospike.TTL_NEVER_EXPIRE if mode is Mode.CREATE else aerospike.TTL_DONT_UPDATE
        ops = [operations.write(name, value) for name, value in write.bins.items()]
        return batch.Write(key, ops or [operations.touch()], policy=policy)


def _filter(condition: Mapping[str, Value] | None) -> dict[str, Any] | None:
    if not condition:
        return None
    terms = [_term(name, value) for name, value in condition.items()]
    return {"expressions": (terms[0] if len(terms) == 1 else exp.And(*terms)).compile()}


_BIN_TYPES: Final[Sequence[tuple[type, Any]]] = (
    (bool, exp.BoolBin),
    (int, exp.IntBin),
    (float, exp.FloatBin),
    (str, exp.StrBin),
    (bytes, exp.BlobBin),
    (list, exp.ListBin),
    (dict, exp.MapBin),
)


def _term(name: str, value: Value) -> Any:
    if value is None:
        return exp.Not(exp.BinExists(name))
    for kind, bin_type in _BIN_TYPES:
        if type(value) is kind:
            return exp.Eq(bin_type(name), value)
    raise ValueError(f"a condition on {name} cannot be a {type(value).__name__}")


def mark_unsent(batch_records: Sequence[Any]) -> None:
    """Where the client knows of no node any more, it gives each record back as if all had gone well, but without the
    digest of its key: it has not come to any."""
    for batch_record in batch_records:
        if batch_record.result == OK and (batch_record.record is None or batch_record.record[0][3] is None):
            batch_record.result = NOT_SENT


def to_result(operation: RecordOperation, answered: Any, batch_code: int) -> Result:
    """answered: the client's record of the operation, after the call. batch_code: of the call as a whole."""
    code = answered.result
    key = operation.key
    kind = type(operation)
    if code == OK:
        if kind is Read:
            return Result(Status.OK, answered.record[2], key=key)
        if kind is RuleCall:
            return _called(key, answered.record)
        return Result(Status.OK, key=key)
    if code is NOT_SENT and batch_code == NO_NODE:
        return Result(Status.UNAVAILABLE, message=_NO_NODE_TEXT, key=key)
    if is_without_module(answered):
        return Result(Status.UNAVAILABLE, message=_NO_MODULE_TEXT, key=key)
    in_doubt = kind is not Read and is_in_doubt(answered, batch_code)
    is_unanswered = code in (NO_RESPONSE, NOT_SENT)
    code = code_of(answered, batch_code)
    status = Status.TIMEOUT if is_unanswered and code == TIMEOUT else STATUSES.get(code, Status.ERROR)
    if status is Status.NOT_FOUND and kind is Write and _wants_bins(operation):  # type: ignore[arg-type]
        status = Status.CONDITION_FALSE
    if in_doubt and status is not Status.TIMEOUT:
        status = Status.ERROR
    if status in _EXPECTED:
        return Result(status, key=key)
    message = getattr(answered, "message", None)  # of newer clients
    text = describe(code) if message is None else f"{describe(code)} ({message})"
    return Result(status, in_doubt=in_doubt, message=text, key=key)


def code_of(answered: Any, batch_code: int) -> int:
    """Why an operation failed: the code of the whole call, where that is why it has none of its own."""
    code = answered.result
    if code not in (NO_RESPONSE, NOT_SENT):
        return int(code)
    return NO_RESPONSE if batch_code in (OK, BATCH_FAILED) else batch_code


def is_without_module(answered: Any) -> bool:
    """Whether it is a call that a node could not run because it lacks the module: it has not touched the record."""
    # The server has one code for all that goes wrong with a rule: its words alone tell this from an error in a rule.
    return answered.result == UDF_FAILED and (getattr(answered, "message", None) or "").endswith(_NO_MODULE)


def _called(key: bytes, record: Any) -> Result:
    bins = record[2] if record else {}
    if "SUCCESS" in bins:
        return Result(Status.OK, bins["SUCCESS"], key=key)
    return Result(Status.ERROR, in_doubt=True, message=f"the rule gave no result: {bins.get('FAILURE', bins)}", key=key)


def _wants_bins(write: Write) -> bool:
    """Whether it is an upsert with a condition that no missing record meets."""
    return write.mode is Mode.UPSERT and any(value is not None for value in (write.condition or {}).values())


def is_in_doubt(answered: Any, batch_code: int) -> bool:
    """Whether a write may have been applied although it failed."""
    code = answered.result
    if code is NOT_SENT:
        return False
    if code == NO_RESPONSE:
        # Where the client knows why there was no response, it knows whether there is a doubt.
        return bool(answered.in_doubt) or batch_code in (OK, BATCH_FAILED)
    return bool(answered.in_doubt) or code not in REFUSALS


def call_policy(budget: float, retries: int) -> dict[str, Any]:
    """The client's policy of a batch. budget: seconds, for all of it. retries: none for what may be a write."""
    total = max(1, int(budget * 1000))
    return {
        "total_timeout": total,
        # The first attempt must leave time for the others.
        "socket_timeout": max(1, total // (retries + 1)),
        "max_retries": retries,
        # If the nodes were asked one after the other, each would have the whole time for itself.
        "concurrent": True,
        "respond_all_keys": True,
        # A node that was away has old records, or none, until they are migrated: it must not answer for all of them.
        "read_mode_ap": aerospike.POLICY_READ_MODE_AP_ALL,
    }


def unsent_error(code: int) -> StoreError:
    """Of a call of which nothing was sent."""
    if code == NO_NODE:
        return StoreError(_NO_NODE_TEXT, in_doubt=False, status=Status.UNAVAILABLE)
    status = STATUSES.get(code, Status.ERROR)
    if status not in (Status.OVERLOADED, Status.UNAVAILABLE):
        status = Status.ERROR
    return StoreError(describe(code), in_doubt=False, status=status)
