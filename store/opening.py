"""Opens the store that a URL names.

lmdb:///var/lib/utxod?sync=false&...                           the embedded store (lmdb/url.py has its options)
aerospike://host[:port][,host...]/namespace?set=utxo&...       a set in an Aerospike cluster (aerospike/url.py)
null:                                                          answers everything, keeps nothing
faulty+lmdb:///dir?...&faults=/path/faults.json&atomic=false   injects faults into another store; says of itself what
                                                               `atomic` says, or what the other store says
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl

from .aerospike.url import AerospikeUrl, parse_aerospike_url
from .faulty import FaultyStore, FileFaults
from .interface import Store
from .lmdb.conversion import Conversion
from .lmdb.store import EmbeddedStore
from .lmdb.url import parse_embedded_url
from .null import NullStore
from .url import parse_flag, refuse_rest, split_url, take_option


def open_store(url: str, *, create: bool = True) -> Store:
    """create: makes the set if there is none yet. Raises ValueError where the URL is not one of those above, StoreError
    where the store can't be opened."""
    return parse_url(url, create=create)()


def parse_url(url: str, *, create: bool = True) -> Callable[[], Store]:
    """A function that opens the store of this URL, or raises StoreError; nothing of the store is touched before it is
    called. create: as for `open_store`. Raises ValueError where the URL is not one of those above."""
    parts = split_url(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    scheme, _, inner = parts.scheme.partition("+")
    if scheme == "faulty" and inner:
        faults = options.pop("faults", "")
        if not faults:
            raise ValueError("store URL: faulty+... needs faults=FILE")
        atomic = take_option(options, "atomic", parse_flag, None)
        open_inner = _parse(inner, parts, options, create)
        return lambda: FaultyStore(open_inner(), FileFaults(Path(faults)), atomic=atomic)
    return _parse(parts.scheme, parts, options, create)


def open_conversion(url: str, *, keep_damaged: bool = False) -> Conversion:
    """The conversion of an embedded set to this program's layout. keep_damaged: a damaged record does not end it.
    Raises ValueError where the URL is no embedded set's, StoreError where the set cannot be converted now."""
    parts = split_url(url)
    if parts.scheme != "lmdb":
        raise ValueError("store URL: only an embedded set, lmdb:///DIRECTORY, is ever to be converted")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    embedded = parse_embedded_url(parts, options)
    refuse_rest(options)
    return Conversion(
        embedded.directory,
        sync=embedded.sync,
        map_bytes=embedded.map_bytes,
        wanted=embedded.wanted,
        keep_damaged=keep_damaged,
    )


def _parse(scheme: str, parts: SplitResult, options: dict[str, str], create: bool) -> Callable[[], Store]:
    if scheme == "lmdb":
        embedded = parse_embedded_url(parts, options)
        refuse_rest(options)
        wanted = embedded.wanted._replace(create=create)
        return partial(
            EmbeddedStore, embedded.directory, sync=embedded.sync, wanted=wanted, map_bytes=embedded.map_bytes
        )
    if scheme == "aerospike":
        aerospike = parse_aerospike_url(parts, options)
        refuse_rest(options)
        return partial(_open_cluster, replace(aerospike, wanted=aerospike.wanted._replace(create=create)))
    if scheme == "null":
        refuse_rest(options)
        return NullStore
    raise ValueError(f"store URL: unknown scheme {scheme!r}; known are lmdb, aerospike, null and faulty+...")


def _open_cluster(url: AerospikeUrl) -> Store:
    from .aerospike.store import AerospikeStore  # noqa: PLC0415  # its client is not loaded for another store

    return AerospikeStore(url)
