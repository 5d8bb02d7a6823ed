"""The production store: a set in an Aerospike cluster, where the rules run inside the server.

A batch is one request for each node, at most, and its records are atomic one by one, not together. Reads are repeated
by the client within the call's time; writes and rules never: an increment that was applied twice would make live coins
prunable.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import aerospike
from aerospike import exception
from aerospike_helpers.batch import records as batch

from .aerospike_cluster import ask_nodes, make_indexes, register_module, words_for
from .aerospike_records import NOT_SENT, Translator, mark_unsent, to_result, unsent_error
from .aerospike_url import AerospikeSettings
from .blobs import BlobStore, NoBlobs
from .emulation import rules_source
from .layout import DEFAULT_UTXO_BATCH_SIZE
from .seam import Mode, Read, Record, Result, Status, StoreError, Write

LAYOUT_VERSION: Final = 1
OPEN_BUDGET: Final = 10.0  # seconds

_KEY_SIZES: Final = (32, 36)
_SETTINGS_KEY: Final = b"settings"
_OK: Final = 0
_BATCH_FAILED: Final = -16  # some record of it
_TIMEOUT: Final = 9
_CLIENT_ERROR: Final = -1
_VALUE_ERRORS: Final = frozenset({-2, -1, 4, 21})  # what the client says of a value that it can't send
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
        try:
            self._check_namespace()
            module = register_module(self._client, rules_source(), OPEN_BUDGET)
            self._translator = Translator(settings.namespace, settings.set, module)
            self.utxo_batch_size = self._check_settings()
            make_indexes(self._client, settings.namespace, settings.set)
            self.blobs = NoBlobs() if settings.blobs is None else _open_blobs(settings.blobs)
        except BaseException:
            self.close()
            raise

    def batch_operate(self, records: Sequence[Record], budget: float) -> list[Result]:
        """As the seam says. budget: seconds, the total timeout of the client's calls."""
        if os.getpid() != self._pid:
            raise StoreError("the store was opened before a fork: open it anew in this process", in_doubt=False)
        until = time.monotonic() + budget
        if (bins := _read_alike(records)) is not _NOT_ALIKE and (found := self._read(records, bins, until)) is not None:
            return found
        results: list[Result | None] = [None] * len(records)
        for wave in _waves(records):
            self._run_wave(records, wave, results, until)
        return results  # type: ignore[return-value]  # every record is in one wave

    def close(self) -> None:
        if os.getpid() == self._pid:
            self._client.close()

    def _read(self, records: Sequence[Record], bins: Sequence[str] | None, until: float) -> list[Result] | None:
        """Reads of the same bins: the client has a call for them that costs half of what batch_write does. None where
        it can't be had that way: for want of a value that can be sent, or of one that can be read."""
        budget = until - time.monotonic()
        if budget <= 0:
            raise unsent_error(_TIMEOUT)
        keys = [self._translator.key(record.key) for record in records]
        try:
            found = self._client.batch_read(keys, bins, self._policy(budget, is_read=True))
        except exception.AerospikeError as error:
            if error.code in _VALUE_ERRORS:
                return None
            raise unsent_error(_CLIENT_ERROR if error.code is None else error.code) from error
        if found.result in _VALUE_ERRORS:
            return None
        if len(found.batch_records) != len(records):
            if found.result in (_OK, _BATCH_FAILED):
                return None
            raise unsent_error(found.result)
        return [
            Result(Status.OK, one.record[2], False, "", record.key)
            if one.result == _OK
            else to_result(record, one, found.result)
            for record, one in zip(records, found.batch_records, strict=True)
        ]

    def _run_wave(
        self, records: Sequence[Record], wave: Sequence[int], results: list[Result | None], until: float
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
        if not sent:
            return
        is_read = all(type(records[index]) is Read for index, _ in sent)
        try:
            code = self._send([one for _, one in sent], is_read, until)
        except _Unsendable:
            self._send_alone(records, sent, results, until)
            return
        if len(sent) == len(records) and all(one.result is NOT_SENT for _, one in sent):
            raise unsent_error(code)
        for index, one in sent:
            results[index] = to_result(records[index], one, code)

    def _send(self, sent: list[Any], is_read: bool, until: float) -> int:
        """The client's code for the whole. Raises _Unsendable where a value is not one for it: nothing was sent."""
        budget = until - time.monotonic()
        if budget <= 0:
            return _TIMEOUT
        request = batch.BatchRecords(sent)
        try:
            self._client.batch_write(request, self._policy(budget, is_read))
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
        self, records: Sequence[Record], sent: list[tuple[int, Any]], results: list[Result | None], until: float
    ) -> None:
        """A value that cannot be stored fails its record alone."""
        for index, one in sent:
            record = records[index]
            try:
                results[index] = to_result(record, one, self._send([one], type(record) is Read, until))
            except _Unsendable as error:
                results[index] = Result(Status.ERROR, message=f"a value cannot be sent: {error}", key=record.key)

    def _policy(self, budget: float, is_read: bool) -> dict[str, Any]:
        total = max(1, int(budget * 1000))
        retries = self._settings.read_retries if is_read else 0
        return {
            "total_timeout": total,
            # The first attempt must leave time for the others.
            "socket_timeout": max(1, total // (retries + 1)),
            "max_retries": retries,
            # One node after the other would each have the whole time for itself.
            "concurrent": True,
            "respond_all_keys": True,
        }

    def _check_namespace(self) -> None:
        namespace = self._settings.namespace
        with words_for(f"{self._settings}: its namespaces cannot be listed"):
            found = ask_nodes(self._client, "namespaces")
        for node, names in found.items():
            if namespace not in names.split(";"):
                problem = f"there is no namespace {namespace} on node {node}; there is {names.replace(';', ', ')}"
                raise StoreError(f"{self._settings}: {problem}", in_doubt=False)

    def _check_settings(self) -> int:
        """The set's utxo_batch_size. The settings stand in a set of their own, so that the UTXO set has UTXOs only."""
        wanted = self._settings.utxo_batch_size
        translator = Translator(self._settings.namespace, f"{self._settings.set}-settings"[:63], "")
        mine = {"layout": LAYOUT_VERSION, "utxoBatchSize": wanted or DEFAULT_UTXO_BATCH_SIZE}
        found: dict[str, Any] = {}
        for record in (Write(_SETTINGS_KEY, mine, Mode.CREATE), Read(_SETTINGS_KEY)):
            one = translator.to_client(record)
            code = self._send([one], type(record) is Read, time.monotonic() + OPEN_BUDGET)
            result = to_result(record, one, code)
            if result.status not in (Status.OK, Status.EXISTS):
                raise StoreError(f"{self._settings}: its settings cannot be kept: {result.message}", in_doubt=False)
            found = result.value
        if found.get("layout") != LAYOUT_VERSION:
            problem = f"its layout has version {found.get('layout')}, this program's {LAYOUT_VERSION}"
            raise StoreError(f"{self._settings}: {problem}", in_doubt=False)
        kept: int = found["utxoBatchSize"]
        if wanted not in (None, kept):
            problem = f"the set was made with utxo_batch_size={kept}, which cannot be changed to {wanted}"
            raise StoreError(f"{self._settings}: {problem}", in_doubt=False)
        return kept


def connect(settings: AerospikeSettings) -> Any:
    """A client of the cluster. Raises StoreError."""
    config: dict[str, Any] = {
        "hosts": list(settings.hosts),
        # Where it would keep copies of modules, which it is never made to do; else that is the working directory. (Not
        # tempfile.gettempdir(): that tries to write there, and who is killed meanwhile leaves a file.)
        "lua": {"user_path": "/tmp"},  # noqa: S108
        "send_bool_as": aerospike.AS_BOOL,
        "use_services_alternate": settings.services_alternate,
        "policies": {"auth_mode": _AUTH[settings.auth]},
    }
    if settings.user is not None:
        config |= {"user": settings.user, "password": settings.password or ""}
    if settings.tls is not None:
        config["tls"] = dict(settings.tls)
    with words_for(f"{settings}: cannot be reached"):
        client: Any = aerospike.client(config)
        if not client.is_connected():  # older clients wait to be told
            client.connect()
        return client


def _open_blobs(directory: Path) -> BlobStore:
    try:
        return BlobStore(directory)
    except OSError as error:
        raise StoreError(f"blobs={directory}: {error}", in_doubt=False) from error


def _read_alike(records: Sequence[Record]) -> Any:
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


def _waves(records: Sequence[Record]) -> list[list[int]]:
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
