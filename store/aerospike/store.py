"""The production store: a set in an Aerospike cluster, where the rules run inside the server.

A batch is one request for each node, at most, and its records are atomic one by one, not together. Reads are repeated
by the client within the call's time; writes and rules never: an increment that was applied twice would make live coins
prunable. No more records are sent at once than every node takes.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import aerospike
from aerospike import exception
from aerospike_helpers.batch import records as batch

from store.blobs import BlobStore, NoBlobs
from store.interface import Read, RecordOperation, Result, RuleCall, Status, StoreError
from store.rules import rules_source

from .cluster import MEND_SECONDS, ModuleWatch, make_indexes, register_module, words_for
from .failure_log import FailureLog
from .fitness import batch_limit, check_addresses, check_namespace, holds_records
from .records import (
    BATCH_TOO_LARGE,
    NOT_SENT,
    Translator,
    call_policy,
    code_of,
    describe,
    is_without_module,
    mark_unsent,
    to_result,
    unsent_error,
)
from .settings import SettingsRecord, settings_set
from .url import AerospikeSettings

OPEN_BUDGET: Final = 10.0  # seconds

_KEY_SIZES: Final = (32, 36)
_OK: Final = 0
_BATCH_FAILED: Final = -16  # some record of it
_TIMEOUT: Final = 9
_CLIENT_ERROR: Final = -1
_VALUE_ERRORS: Final = frozenset({-2, -1, 4, 21})  # what the client says of a value that it can't send
_LOGIN_MS: Final = 2000  # for a node that hangs; the client's own is 5000
_AUTH: Final = {
    "internal": aerospike.AUTH_INTERNAL,
    "external": aerospike.AUTH_EXTERNAL,
    "pki": aerospike.AUTH_PKI,
}


class _Unsendable(Exception):
    """A value is none that the client can send."""


_NOT_ALIKE: Final[Any] = object()


class AerospikeStore:
    """Raises StoreError where the cluster cannot be reached or is not fit for a set; its message says what to do.

    The client has threads of its own: a store is opened in the process that uses it, after any fork."""

    is_atomic: Final = False

    def __init__(self, settings: AerospikeSettings) -> None:
        self._pid = os.getpid()
        self._settings = settings
        self._client = connect(settings)
        self._failures = FailureLog()
        try:
            self._open(time.monotonic() + OPEN_BUDGET)
        except BaseException:
            self.close()
            raise

    def _open(self, until: float) -> None:
        settings, source = self._settings, rules_source()
        silent: set[str] = set()
        with words_for(f"{settings}: cannot be asked about itself"):
            check_namespace(self._client, settings, silent)
            check_addresses(self._client, settings, silent)
            self._limit = batch_limit(self._client, silent)
            module = register_module(self._client, source, until - time.monotonic(), silent)
            self._watch = ModuleWatch(self._client, source)
            self._translator = Translator(settings.namespace, settings.set, module)
            self._settings_record = SettingsRecord(self._run_settings, self._holds_records)
            try:
                kept = self._settings_record.open(settings.wanted, until)
            except StoreError as error:
                raise StoreError(f"{settings}: {error}", in_doubt=False) from error
        self.utxo_batch_size, self.genesis_height = kept.utxo_batch_size, kept.genesis_height
        make_indexes(self._client, settings.namespace, settings.set, silent)
        self.blobs = NoBlobs() if settings.blobs is None else _open_blobs(settings.blobs)

    def batch_operate(self, records: Sequence[RecordOperation], budget: float) -> list[Result]:
        """As the seam says. budget: seconds, the total timeout of the client's calls."""
        if os.getpid() != self._pid:
            raise StoreError("the store was opened before a fork: open it anew in this process", in_doubt=False)
        until = time.monotonic() + budget
        if (bins := _read_alike(records)) is not _NOT_ALIKE and (found := self._read(records, bins, until)) is not None:
            return found
        if self._settings_record.is_old and not all(type(record) is Read for record in records):
            self._settings_record.raise_layout(until - time.monotonic())
        results: list[Result | None] = [None] * len(records)
        for wave in _waves(records):
            self._run_wave(records, wave, results, until)
        return results  # type: ignore[return-value]  # every record is in one wave

    def close(self) -> None:
        if os.getpid() == self._pid:
            self._client.close()

    def _read(
        self, records: Sequence[RecordOperation], bins: Sequence[str] | None, until: float
    ) -> list[Result] | None:
        """Reads of the same bins: the client has a call for them that costs half of what batch_write does. None where
        it can't be had that way: for want of a value that can be sent, or of one that can be read."""
        results: list[Result] = []
        for part in self._parts(records):
            found = self._read_part(part, bins, until)
            if found is None:
                return None
            results += found
        return results

    def _read_part(
        self, records: Sequence[RecordOperation], bins: Sequence[str] | None, until: float
    ) -> list[Result] | None:
        budget = until - time.monotonic()
        if budget <= 0:
            raise unsent_error(_TIMEOUT)
        keys = [self._translator.key(record.key) for record in records]
        try:
            found = self._client.batch_read(keys, bins, call_policy(budget, self._settings.read_retries))
        except exception.AerospikeError as error:
            if error.code in _VALUE_ERRORS:
                return None
            raise self._unsent(records, _CLIENT_ERROR if error.code is None else error.code) from error
        if found.result in _VALUE_ERRORS:
            return None
        if len(found.batch_records) != len(records):
            if found.result in (_OK, _BATCH_FAILED):
                return None
            raise self._unsent(records, found.result)
        results = [
            Result(Status.OK, one.record[2], False, "", record.key)
            if one.result == _OK
            else to_result(record, one, found.result)
            for record, one in zip(records, found.batch_records, strict=True)
        ]
        self._note_failures(list(zip(records, found.batch_records, results, strict=True)), found.result)
        return results

    def _run_wave(
        self, records: Sequence[RecordOperation], wave: Sequence[int], results: list[Result | None], until: float
    ) -> None:
        sent: list[tuple[int, Any]] = []
        for index in wave:
            record = records[index]
            if type(record.key) is not bytes or len(record.key) not in _KEY_SIZES:
                results[index] = Result(Status.ERROR, message="a key has 32 or 36 bytes", key=record.key)
                continue
            try:
                sent.append((index, self._translator.to_client(record)))
            except ValueError as error:
                results[index] = Result(Status.ERROR, message=str(error), key=record.key)
        is_read = all(type(records[index]) is Read for index, _ in sent)
        code = None
        for part in self._parts(sent):
            try:
                code = self._send([one for _, one in part], is_read, until)
            except _Unsendable:
                self._send_alone(records, part, results, until)
                continue
            answered = [(records[index], one, to_result(records[index], one, code)) for index, one in part]
            for (index, _), (_, _, result) in zip(part, answered, strict=True):
                results[index] = result
            self._note_failures(answered, code)
        if code is not None and len(sent) == len(records) and all(one.result is NOT_SENT for _, one in sent):
            raise unsent_error(code)

    def _parts(self, items: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Of what is sent at once; the limit may be learnt anew in between."""
        start = 0
        while start < len(items):
            part = items[start : start + (self._limit or len(items))]
            yield part
            start += len(part)

    def _send(self, sent: list[Any], is_read: bool, until: float) -> int:
        """The client's code for the whole. Raises _Unsendable where a value is not one for it: nothing was sent."""
        budget = until - time.monotonic()
        if budget <= 0:
            return _TIMEOUT
        request = batch.BatchRecords(sent)
        try:
            self._client.batch_write(request, call_policy(budget, self._settings.read_retries if is_read else 0))
        except exception.AerospikeError as error:
            if any(one.result is not NOT_SENT for one in sent):
                return 0  # it was executed, but a result can't be decoded
            if error.code in _VALUE_ERRORS:
                raise _Unsendable(error.msg) from error
            return _CLIENT_ERROR if error.code is None else error.code
        except (TypeError, ValueError, OverflowError, SystemError) as error:
            raise _Unsendable(str(error)) from error
        mark_unsent(sent)
        return int(request.result)

    def _send_alone(
        self,
        records: Sequence[RecordOperation],
        sent: Sequence[tuple[int, Any]],
        results: list[Result | None],
        until: float,
    ) -> None:
        """A value that cannot be stored fails its record alone."""
        for index, one in sent:
            record = records[index]
            try:
                results[index] = to_result(record, one, self._send([one], type(record) is Read, until))
            except _Unsendable as error:
                results[index] = Result(Status.ERROR, message=f"a value cannot be sent: {error}", key=record.key)

    def _note_failures(self, answered: Sequence[tuple[RecordOperation, Any, Result]], batch_code: int) -> None:
        """Says in the log what failed, and sees to what can be mended. answered: with the client's records."""
        failed = [one for one in answered if one[2].message and one[2].status is not Status.TOO_BIG]
        if not failed:
            return
        counted: dict[tuple[str, int], list[str]] = {}
        for record, client_record, result in failed:
            counted.setdefault((_name(record), code_of(client_record, batch_code)), []).append(result.message)
        for (what, code), messages in counted.items():
            self._failures.failed(what, code, messages[0], len(messages))
        if any(is_without_module(client_record) for _, client_record, _ in failed):
            self._watch.look()
        if any(code == BATCH_TOO_LARGE for _, code in counted):
            self._learn_limit()

    def _unsent(self, records: Sequence[RecordOperation], code: int) -> StoreError:
        """Of a call of which nothing was sent."""
        self._failures.failed(_name(records[0]), code, describe(code), len(records))
        if code == BATCH_TOO_LARGE:
            self._learn_limit()
        return unsent_error(code)

    def _learn_limit(self) -> None:
        with contextlib.suppress(exception.AerospikeError):  # then it stays as it was
            self._limit = batch_limit(self._client, seconds=MEND_SECONDS)

    def _holds_records(self) -> bool:
        return holds_records(self._client, self._settings.namespace, self._settings.set)

    def _run_settings(self, record: RecordOperation, budget: float) -> Result:
        """In the set of the settings."""
        one = Translator(self._settings.namespace, settings_set(self._settings.set), "").to_client(record)
        return to_result(record, one, self._send([one], type(record) is Read, time.monotonic() + budget))


def connect(settings: AerospikeSettings) -> Any:
    """A client of the cluster: of what of it can be reached. Raises StoreError where nothing can."""
    config: dict[str, Any] = {
        "hosts": list(settings.hosts),
        # Where it would keep copies of modules, which it is never made to do; else that is the working directory. (Not
        # tempfile.gettempdir(): that tries to write there, and who is killed meanwhile leaves a file.)
        "lua": {"user_path": "/tmp"},  # noqa: S108
        "send_bool_as": aerospike.AS_BOOL,
        "use_services_alternate": settings.services_alternate,
        "policies": {"auth_mode": _AUTH[settings.auth], "login_timeout_ms": _LOGIN_MS},
        # The client would refuse one node that is there for another that is not.
        "fail_if_not_connected": False,
    }
    if settings.user is not None:
        config |= {"user": settings.user, "password": settings.password or ""}
    if settings.tls is not None:
        config["tls"] = dict(settings.tls)
    what = f"{settings}: cannot be reached"
    if settings.services_alternate:
        what += " (services_alternate=true: are alternate addresses configured, and right?)"
    with words_for(what):
        client: Any = aerospike.client(config)
        if client.is_connected():
            return client
        client.close()
        # Once more, so that it says why.
        return aerospike.client(config | {"fail_if_not_connected": True})


def _open_blobs(directory: Path) -> BlobStore:
    try:
        return BlobStore(directory)
    except OSError as error:
        raise StoreError(f"blobs={directory}: {error}", in_doubt=False) from error


def _name(record: RecordOperation) -> str:
    return record.function if type(record) is RuleCall else type(record).__name__.lower()


def _read_alike(records: Sequence[RecordOperation]) -> Any:
    """The bins that all of the records are to be read (None: every one), as a list; _NOT_ALIKE where one is anything
    else."""
    if not records or type(records[0]) is not Read or (not records[0].bins and records[0].bins is not None):
        return _NOT_ALIKE
    bins = records[0].bins
    for record in records:
        if type(record) is not Read or (record.bins is not bins and record.bins != bins):
            return _NOT_ALIKE
        if type(record.key) is not bytes or len(record.key) not in _KEY_SIZES:
            return _NOT_ALIKE
    return None if bins is None else list(bins)


def _waves(records: Sequence[RecordOperation]) -> list[list[int]]:
    """Indexes of records that may go side by side: a key that is written to comes once in each wave, since the server
    keeps no order within a batch. Nearly always there is one."""
    if len({record.key for record in records}) == len(records) or all(type(record) is Read for record in records):
        return [list(range(len(records)))]
    waves: list[list[int]] = []
    earlier: dict[bytes, int] = {}
    for index, record in enumerate(records):
        turn = earlier.get(record.key, 0)
        earlier[record.key] = turn + 1
        if turn == len(waves):
            waves.append([])
        waves[turn].append(index)
    return waves
