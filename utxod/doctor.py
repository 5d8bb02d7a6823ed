"""`utxod doctor`: examines the settings and the store. Each finding says what was looked at, and where something is
wrong, what to do about it."""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from broker.in_doubt_log import FILE_NAME
from broker.settings import BrokerSettings
from store import ErrorKind, Mode, Read, Remove, RuleCall, Status, Store, StoreError, Write, open_store
from store.layout import CreationOptions, Partial, create_records, lock_ttl
from store.rules import rules_source
from store.transaction import Output
from store.url import split_url

from .plurals import many

BUDGET: Final = 5.0  # seconds, of each call
_SPENT_BYTES: Final = 80  # of a spent output, as the server keeps it
_FIXED_BYTES: Final = 4096  # of everything else in a record whose transaction is in the blob store
_INLINE_BYTES: Final = 48 * 1024  # of a record that holds its transaction of 32 KiB
_DEFAULT_RECORD_BYTES: Final = 1 << 20
_BATCH_LIMIT: Final = BrokerSettings().batch_limit  # where it is not set otherwise


class Finding(NamedTuple):
    """remedy: what to do; empty where all is well."""

    what: str
    found: str
    remedy: str = ""

    @property
    def is_well(self) -> bool:
        return not self.remedy


def examine(url: str, state: Path) -> Iterator[Finding]:
    """The findings, one after the other, until something is so wrong that nothing behind it can be looked at. Makes
    nothing that is not there. url: of the store. state: the directory of the in-doubt log."""
    yield from _examine_store(url)
    yield _examine_state(state)


def _examine_state(directory: Path) -> Finding:
    """A daemon makes the directory when it needs it, in the nearest one that is there."""
    nearest = next((path for path in (directory, *directory.parents) if os.path.exists(path)), directory)
    file = directory / FILE_NAME
    try:
        if os.path.exists(file):
            os.close(os.open(file, os.O_WRONLY | os.O_APPEND))
        with tempfile.TemporaryFile(dir=nearest):  # has no name, so that nothing of it is left
            pass
    except OSError as error:
        remedy = "name another by the setting `state`, or make it writable: what is in doubt is in the log alone else"
        return Finding("state", f"{file}: cannot be written: {error.strerror}", remedy)
    return Finding("state", str(directory) if nearest == directory else f"{directory}, made where it is needed")


def _examine_store(url: str) -> Iterator[Finding]:
    try:
        store = open_store(url, create=False)
    except ValueError as error:
        yield Finding("store URL", str(error), "correct the setting `store`")
        return
    except StoreError as error:
        yield Finding("store", str(error), REMEDIES.get(error.kind, "see the message"))
        return
    try:
        yield Finding("store", f"{_without_options(url)}, {many(store.utxo_batch_size, 'output')} a record")
        if split_url(url).scheme.endswith("aerospike"):
            yield from _examine_cluster(url, store.utxo_batch_size)
        if split_url(url).scheme.endswith("null"):
            yield Finding("round trip", "none: this store keeps nothing")
        else:
            yield from _round_trip(store)
    finally:
        store.close()


REMEDIES: Final = {
    ErrorKind.NO_SET: (
        "was it moved or removed? Then bring it back; else correct the setting `store`, or start a daemon, which makes "
        "the set"
    ),
    ErrorKind.SETTINGS_LOST: "were they lost? Then name what they were in the URL, and adopt=true",
    ErrorKind.UTXO_BATCH_SIZE_DIFFERS: "leave utxo_batch_size out of the URL: the set keeps its own",
    ErrorKind.GENESIS_HEIGHT_DIFFERS: "leave genesis_height out of the URL: the set keeps its own",
    ErrorKind.UNKNOWN_LAYOUT: "use a program of the version that made the set",
    ErrorKind.OLD_LAYOUT: "run the command that the message names, with the daemon ended",
    ErrorKind.UNREACHABLE: (
        "are the hosts and ports right, is a node up, may this host connect, are user and TLS right?"
    ),
    ErrorKind.NO_ALTERNATE_ADDRESSES: ("leave it out of the URL, or configure alternate-access-address on every node"),
    ErrorKind.NO_NAMESPACE: "name one that is there in the URL, or add it to every node's configuration",
    ErrorKind.RULES_FORBIDDEN: "grant the user a role with udf-admin, or have an administrator register the rules",
}


def _without_options(url: str) -> str:
    return url.partition("?")[0]


def _examine_cluster(url: str, utxo_batch_size: int) -> Iterator[Finding]:
    # Its client is loaded for such a store alone.
    from store.aerospike import cluster, fitness, indexes, rules_module  # noqa: PLC0415
    from store.aerospike.connection import connect  # noqa: PLC0415
    from store.aerospike.url import parse_aerospike_url  # noqa: PLC0415

    parts = split_url(url)
    cluster_url = parse_aerospike_url(parts, dict(parse_qsl(parts.query)))
    client = connect(cluster_url)
    try:
        builds = cluster.ask_nodes(client, "build")
        yield _examine_nodes(builds, fitness.cluster_size(client))
        yield examine_batches(fitness.batch_limit(client))
        for node, found in sorted(cluster.namespace_settings(client, cluster_url.namespace).items()):
            yield from examine_namespace(f"namespace {cluster_url.namespace} on {node}", found, utxo_batch_size)
        yield _examine_module(rules_module.registered_source(client, rules_module.own_name()), rules_source())
        there = indexes.find_indexes(client, cluster_url.namespace, cluster_url.set)
        for name in indexes.INDEXED_BINS:
            remedy = "" if name in there else "grant the user sindex-admin and start a daemon, or create it"
            yield Finding(f"index on {name}", there.get(name, {}).get("indexname", "none"), remedy)
        if cluster_url.blobs is None:
            remedy = "give the URL blobs=DIRECTORY, one that every daemon of the set sees"
            yield Finding("blobs", "none: transactions over 32 KiB, or of several records, are refused", remedy)
        else:
            yield Finding("blobs", str(cluster_url.blobs))
    finally:
        client.close()


def _examine_nodes(builds: Mapping[str, str], size: int) -> Finding:
    """builds: of the nodes that answer. size: of the cluster."""
    there = ", ".join(f"{node} ({build})" for node, build in sorted(builds.items()))
    if len(builds) >= size:
        return Finding("nodes", there)
    remedy = "are they up, and can this host reach the addresses that they give (access-address)?"
    return Finding("nodes", f"{there}; {size - len(builds)} of {size} do not answer", remedy)


def examine_batches(limit: int | None) -> Finding:
    """limit: the smallest batch-max-requests of the nodes, None if they have no limit."""
    what = "records in a batch"
    if limit is None:
        return Finding(what, "as many as there are")
    remedy = (
        f"set batch-max-requests to {_BATCH_LIMIT} or more: a full dispatch of the daemon is sent in parts otherwise"
    )
    return Finding(what, f"{limit} at most", "" if limit >= _BATCH_LIMIT else remedy)


def _examine_module(found: Mapping[str, bytes], source: bytes) -> Finding:
    other = sorted(node for node, text in found.items() if text != source)
    if other:
        remedy = "remove that module from the cluster; the next daemon that starts registers it anew"
        return Finding("rules", f"not ours on {', '.join(other)}", remedy)
    return Finding("rules", f"registered on {many(len(found), 'node')}")


def examine_namespace(what: str, found: Mapping[str, str], utxo_batch_size: int) -> Iterator[Finding]:
    """found: the namespace's configuration, as a node gives it; nothing where it has none."""
    if not found:
        yield Finding(what, "none", "add the namespace to this node's configuration: it keeps nothing of the set")
        return

    def number(name: str, default: int = 0) -> int:
        text = found.get(name, "")
        return int(text) if text.isdecimal() else default

    limit = number("max-record-size") or _DEFAULT_RECORD_BYTES
    needed = max(_FIXED_BYTES + utxo_batch_size * _SPENT_BYTES, _INLINE_BYTES)
    yield Finding(
        f"{what}: record size",
        f"{limit} bytes at most, {needed} may be needed",
        "" if limit >= needed else f"set max-record-size to {needed} or more, or make a set of a smaller batch size",
    )
    expires = number("nsup-period") > 0 or found.get("allow-ttl-without-nsup") == "true"
    yield Finding(
        f"{what}: expiry",
        f"nsup-period {found.get('nsup-period', '?')}",
        "" if expires else "set nsup-period (to 120, say): creation locks must expire, and are refused without it",
    )
    lasting = number("default-ttl") == 0
    yield Finding(
        f"{what}: default time to live",
        found.get("default-ttl", "?"),
        "" if lasting else "set default-ttl 0: records that another program writes would vanish",
    )
    evicts = number("storage-engine.evict-used-pct") or number("evict-sys-memory-pct")
    yield Finding(
        f"{what}: eviction",
        "on" if evicts else "off",
        "set evict-used-pct and evict-sys-memory-pct to 0: what is full must refuse, not forget" if evicts else "",
    )
    yield from _examine_copies(what, found, number("replication-factor", 1))


def _examine_copies(what: str, found: Mapping[str, str], copies: int) -> Iterator[Finding]:
    """A node that was away has old copies. A reader who asks it alone is told that spent coins are unspent, and that
    existing ones do not exist."""
    yield Finding(f"{what}: copies of each record", str(copies))
    blind = found.get("disable-write-dup-res") == "true"
    yield Finding(
        f"{what}: writes ask all copies",
        "no" if blind else "yes",
        "set disable-write-dup-res false: a rule would go by an old copy, and spend a coin again" if blind else "",
    )
    override = found.get("read-consistency-level-override", "off")
    yield Finding(
        f"{what}: reads ask all copies",
        "no" if override == "one" else "yes",
        "set read-consistency-level-override off: reads would be answered from an old copy"
        if override == "one"
        else "",
    )


def _round_trip(store: Store) -> Iterator[Finding]:
    """A transaction that nobody can spend is written, spent by a rule, read and removed; so is a creation lock."""
    txid = secrets.token_bytes(32)
    creation = create_records(Partial(txid, {0: Output(1, b"\x51")}), CreationOptions(block_height=1, now_ms=0))
    spend = {"idx": 0, "offset": 0, "utxoHash": creation.master["utxos"][0], "spendingData": txid + bytes(4)}
    steps: list[tuple[str, Any, Callable[[Any], bool]]] = [
        ("write", Write(txid, creation.master, Mode.CREATE), lambda value: True),
        (
            "rule",
            RuleCall(txid, "spendMulti", ([spend], False, False, 1, 0)),
            lambda value: value.get("applied") == [0],
        ),
        ("read", Read(txid, ("spentUtxos",)), lambda value: value == {"spentUtxos": 1}),
        ("remove", Remove(txid), lambda value: True),
        ("time to live", Write(txid, {"token": txid}, Mode.CREATE, ttl=lock_ttl(2)), lambda value: True),
        ("conditional remove", Remove(txid, {"token": txid}), lambda value: True),
    ]
    for name, operation, is_right in steps:
        try:
            (result,) = store.batch_operate([operation], BUDGET)
        except StoreError as error:
            yield Finding(f"round trip: {name}", str(error), "the store does not do what utxod needs: see the message")
            return
        if result.status is not Status.OK or not is_right(result.value):
            said = result.message or str(result.value or result.status)
            yield Finding(f"round trip: {name}", said, "the store does not do what utxod needs: see the message")
            return
    yield Finding("round trip", "write, rule, read, remove, expiring lock")
