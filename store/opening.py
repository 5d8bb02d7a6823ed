"""Stores by URL.

lmdb:///var/lib/utxod?sync=false&map_size=274877906944&...                   the embedded store (options below)
aerospike://host[:port][,host...]/namespace?set=utxo&blobs=/dir              an Aerospike cluster (aerospike_url.py)
null:                                                                        answers everything, keeps nothing
faulty+lmdb:///dir?...&faults=/path/faults.json&atomic=false                 injects faults into another store; passes
                                                                             for one whose batches are not one whole

Options of the embedded store:

sync               true or false: whether what is answered is on the disk; true by default
map_size           bytes that the set can grow to, 256 GiB by default: it takes address space, and of the disk what is
                   written. Where another process of the set names more, that holds for all
utxo_batch_size    outputs per record; the set's own by default, 128 for a new one
genesis_height     block height from which every output but those of OP_FALSE OP_RETURN is a UTXO, or never; the set's
                   own by default, that of the BSV main chain for a new one
adopt              true: the set may hold records without settings, and utxo_batch_size and genesis_height as named
                   here are the right ones; false by default
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote

from store.aerospike.url import AerospikeSettings, parse_aerospike_url
from store.lmdb.store import EmbeddedStore

from .faulty import FaultyStore, FileFaults
from .interface import Store
from .null import NullStore
from .set_settings import Wanted, parse_genesis_height, parse_number, parse_utxo_batch_size

# A page is the least that LMDB maps (it then takes what the set has, and no more), the most half of what x86-64 can.
_MAP_BYTES = 1 << 12, 1 << 46


def open_store(url: str, *, create: bool = True) -> Store:
    """create: makes the set where there is none. Raises ValueError where the URL is not one of those above, StoreError
    where the store can't be opened."""
    return parse_url(url, create=create)()


def parse_url(url: str, *, create: bool = True) -> Callable[[], Store]:
    """What opens the store of this URL, and raises StoreError; nothing of it is touched before. create: as for
    `open_store`. Raises ValueError where the URL is not one of those above."""
    parts = split_url(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    scheme, _, inner = parts.scheme.partition("+")
    if scheme == "faulty" and inner:
        faults = options.pop("faults", "")
        if not faults:
            raise ValueError("store URL: faulty+... needs faults=FILE")
        atomic = options.pop("atomic", None)
        passes_for = None if atomic is None else _parse_flag(atomic)
        open_inner = _parse(inner, parts, options, create)
        return lambda: FaultyStore(open_inner(), FileFaults(Path(faults)), atomic=passes_for)
    return _parse(parts.scheme, parts, options, create)


def split_url(url: str) -> SplitResult:
    """A store's URL in its parts. Not the standard library's urlsplit: it takes one host only, and newer ones refuse a
    list in which an IPv6 address is not the first."""
    scheme, colon, rest = url.partition(":")
    if not colon:
        return SplitResult("", "", url, "", "")
    rest, _, query = rest.partition("?")
    if not rest.startswith("//"):
        return SplitResult(scheme, "", rest, query, "")
    hosts, slash, path = rest[2:].partition("/")
    return SplitResult(scheme, hosts, slash + path, query, "")


def _parse(scheme: str, parts: SplitResult, options: dict[str, str], create: bool) -> Callable[[], Store]:
    if scheme == "lmdb":
        return _parse_embedded(parts, options, create)
    if scheme == "aerospike":
        settings = parse_aerospike_url(parts, options)
        _refuse_rest(options)
        return partial(_open_cluster, replace(settings, wanted=settings.wanted._replace(create=create)))
    if scheme == "null":
        _refuse_rest(options)
        return NullStore
    raise ValueError(f"store URL: unknown scheme {scheme!r}; known are lmdb, aerospike, null and faulty+...")


def _open_cluster(settings: AerospikeSettings) -> Store:
    from store.aerospike.store import AerospikeStore  # noqa: PLC0415  # its client is not loaded for another store

    return AerospikeStore(settings)


def _parse_embedded(parts: SplitResult, options: dict[str, str], create: bool) -> Callable[[], Store]:
    if parts.netloc or not parts.path.startswith("/") or parts.path == "/":
        raise ValueError("store URL: lmdb needs an absolute directory, as in lmdb:///var/lib/utxod")
    settings: dict[str, Any] = {}
    for option, name, parse in _EMBEDDED_OPTIONS:
        if option in options:
            text = options.pop(option)
            try:
                settings[name] = parse(text)
            except ValueError as error:
                raise ValueError(f"store URL: {option}={text}: {error}") from None
    _refuse_rest(options)
    wanted = Wanted(**{name: settings.pop(name) for name in Wanted._fields if name in settings}, create=create)
    return partial(EmbeddedStore, Path(unquote(parts.path)), wanted=wanted, **settings)


def _refuse_rest(options: dict[str, str]) -> None:
    if options:
        raise ValueError(f"store URL: unknown option {', '.join(options)}")


def _parse_flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text == "true"


_EMBEDDED_OPTIONS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("sync", "sync", _parse_flag),
    ("map_size", "map_bytes", lambda text: parse_number(text, *_MAP_BYTES)),
    ("utxo_batch_size", "utxo_batch_size", parse_utxo_batch_size),
    ("genesis_height", "genesis_height", parse_genesis_height),
    ("adopt", "adopt", _parse_flag),
)
