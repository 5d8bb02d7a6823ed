"""Parses the URL of an embedded set.

lmdb:///var/lib/utxod?sync=false&map_size=274877906944

sync               true or false: whether what is answered is on the disk; true by default
map_size           bytes that the set can grow to, 256 GiB by default: it takes address space, and of the disk what is
                   written. Where another process of the set names more, that holds for all
utxo_batch_size    outputs per record; the set's own by default, 128 for a new one
genesis_height     block height from which every output but those of OP_FALSE OP_RETURN is a UTXO, or never; the set's
                   own by default, that of the BSV main chain for a new one
adopt              true: the set may hold records without settings, and utxo_batch_size and genesis_height as named
                   here are the right ones; false by default
"""

from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlencode

from store.set_settings import WantedSettings
from store.url import parse_flag, parse_number, take_option, take_wanted_settings

DEFAULT_MAP_BYTES: Final = 256 << 30  # sparse: only what is written takes room
# A page is the least that LMDB maps (it then takes what the set has, and no more), the most half of what x86-64 can.
_MAP_BYTES: Final = 1 << 12, 1 << 46


class EmbeddedUrl(NamedTuple):
    """directory: of the set. sync: whether what is answered is on the disk. map_bytes: how large the set can grow.
    wanted: of what is fixed for the life of the set."""

    directory: Path
    sync: bool
    map_bytes: int
    wanted: WantedSettings


def parse_embedded_url(parts: SplitResult, options: dict[str, str]) -> EmbeddedUrl:
    """Takes what it knows out of `options`. Raises ValueError that names what is wrong."""
    if parts.netloc or not parts.path.startswith("/") or parts.path == "/":
        raise ValueError("store URL: lmdb needs an absolute directory, as in lmdb:///var/lib/utxod")
    return EmbeddedUrl(
        Path(unquote(parts.path)),
        sync=take_option(options, "sync", parse_flag, True),
        map_bytes=take_option(options, "map_size", lambda text: parse_number(text, *_MAP_BYTES), DEFAULT_MAP_BYTES),
        wanted=take_wanted_settings(options),
    )


def render_embedded_url(directory: Path, *, sync: bool, map_bytes: int) -> str:
    """The URL of this set, for people; it names what is not as it is by default."""
    options = {"sync": "false"} if not sync else {}
    if map_bytes != DEFAULT_MAP_BYTES:
        options["map_size"] = str(map_bytes)
    return f"lmdb://{quote(str(directory))}{'?' if options else ''}{urlencode(options)}"
