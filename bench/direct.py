"""The Aerospike client, used directly: the baseline that the store and the daemon are measured against."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import aerospike
from aerospike_helpers.batch import records as batch

from store.aerospike.connection import connect
from store.aerospike.rules_module import register_module
from store.aerospike.url import parse_aerospike_url
from store.url import split_url

_REGISTER_SECONDS: Final = 10.0
_ONE_COPY: Final = {"total_timeout": 30_000, "socket_timeout": 30_000, "max_retries": 0}
# As the store reads: a copy that is behind must not answer for all.
_POLICY: Final = _ONE_COPY | {"read_mode_ap": aerospike.POLICY_READ_MODE_AP_ALL}

Apply = tuple[bytes, str, Sequence[Any]]


def _policy(one_copy: bool) -> dict[str, int]:
    return _ONE_COPY if one_copy else _POLICY


class Direct:
    """A client of its own, of the set that the URL names."""

    def __init__(self, url: str) -> None:
        parts = split_url(url)
        settings = parse_aerospike_url(parts, dict(parse_qsl(parts.query)))
        self.namespace = settings.namespace
        self.set = settings.set
        self.client = connect(settings)

    def close(self) -> None:
        self.client.close()

    def register(self, source: bytes) -> str:
        """A module of rules; returns its name."""
        return register_module(self.client, source, _REGISTER_SECONDS)

    def get(self, key: bytes, bins: Sequence[str], *, one_copy: bool = False) -> dict[str, Any]:
        """one_copy: asks a single one, which may be behind the others."""
        found: dict[str, Any] = self.client.select(self._key(key), list(bins), _policy(one_copy))[2]
        return found

    def get_many(self, keys: Sequence[bytes], bins: Sequence[str], *, one_copy: bool = False) -> list[dict[str, Any]]:
        found = self.client.batch_read([self._key(key) for key in keys], list(bins), _policy(one_copy))
        return [read.record[2] for read in found.batch_records]

    def apply(self, module: str, call: Apply) -> dict[str, Any]:
        """call: key, function, and the arguments after the record."""
        key, function, args = call
        result: dict[str, Any] = self.client.apply(self._key(key), module, function, list(args), _POLICY)
        return result

    def apply_many(self, module: str, calls: Sequence[Apply]) -> list[dict[str, Any]]:
        sent = [batch.Apply(self._key(key), module, function, list(args)) for key, function, args in calls]
        self.client.batch_write(batch.BatchRecords(sent), _POLICY)
        return [applied.record[2]["SUCCESS"] for applied in sent]

    def _key(self, key: bytes) -> tuple[str, str, bytearray]:
        return self.namespace, self.set, bytearray(key)
