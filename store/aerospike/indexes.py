"""The secondary indexes of a set in a cluster: each is made once, by the store that comes first."""

import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final

import aerospike
from aerospike import exception

from .cluster import ask_nodes, pairs

INDEXED_BINS: Final = ("deleteAtHeight", "unminedSince")

_MAX_NAME_BYTES: Final = 63

log = logging.getLogger("utxod.store")


def find_indexes(
    client: Any, namespace: str, set_name: str, silent: set[str] | None = None
) -> dict[str, Mapping[str, str]]:
    """By bin: what the first node that has an index of the set on it says of that index. Raises AerospikeError."""
    found: dict[str, Mapping[str, str]] = {}
    for text in ask_nodes(client, f"sindex-list:namespace={namespace}", silent).values():
        for entry in text.split(";"):
            index = pairs(entry, ":")
            if index.get("ns") == namespace and index.get("set") == set_name:
                found.setdefault(index.get("bin", ""), index)
    return found


def make_indexes(client: Any, namespace: str, set_name: str, silent: set[str] | None = None) -> None:
    """Makes those that are missing. Raises nothing: only pruning needs them, and `utxod doctor` names a missing one.

    An index that is there is not made again: the server would rename it."""
    try:
        missing = _missing_indexes(client, namespace, set_name, silent)
        for name in missing:
            # The client then looks for it on every node, also on one that has no such namespace.
            with contextlib.suppress(exception.IndexFoundError, exception.NamespaceNotFound):
                client.index_single_value_create(
                    namespace, set_name, name, aerospike.INDEX_NUMERIC, f"{set_name}_{name}"[:_MAX_NAME_BYTES]
                )
        problem = ", ".join(missing and _missing_indexes(client, namespace, set_name, silent))
    except exception.AerospikeError as error:
        problem = str(error.msg or error)
    if problem:
        log.warning("the indexes of %s.%s cannot be made: %s", namespace, set_name, problem)


def _missing_indexes(client: Any, namespace: str, set_name: str, silent: set[str] | None) -> list[str]:
    """The bins that have no index yet. Raises AerospikeError."""
    there = find_indexes(client, namespace, set_name, silent)
    return [name for name in INDEXED_BINS if name not in there]
