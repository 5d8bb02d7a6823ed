"""Parses the URL of a set in an Aerospike cluster.

aerospike://host[:port][,host...]/namespace?set=utxo&blobs=/var/lib/utxod/blobs

set                    the set's name, utxo by default
blobs                  the directory of large transactions, one for all daemons of the set; without it there is none
utxo_batch_size        outputs per record; the set's own by default, 128 for a new one
genesis_height         block height, or never; the set's own by default, that of the BSV main chain for a new one
adopt                  true or false: the set may hold records without settings, and those named here are the right ones
read_retries           what the client may repeat of a read, within the call's time; 2 by default
user, password_file    or password_env (the name of a variable): a password is never in the URL
auth                   internal (the default), external or pki
tls                    true or false; set by any of tls_name, tls_cafile, tls_capath, tls_certfile, tls_keyfile,
                       tls_crl_check
services_alternate     true or false: connect to the nodes' alternate addresses
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from store.set_settings import WantedSettings
from store.url import parse_flag, parse_number, take_option, take_wanted_settings

DEFAULT_PORT: Final = 3000
DEFAULT_SET: Final = "utxo"
DEFAULT_READ_RETRIES: Final = 2
MAX_READ_RETRIES: Final = 100  # they share the call's time

_TLS_FILES: Final = ("cafile", "capath", "certfile", "keyfile")
_AUTH: Final = ("internal", "external", "pki")


@dataclass(frozen=True, slots=True)
class AerospikeUrl:
    """hosts: (host, port) of some nodes, which know the others; with TLS (host, port, name). tls: the client's own
    settings for it, None without. wanted: of what is fixed for the life of the set."""

    hosts: tuple[tuple[str, int] | tuple[str, int, str], ...]
    namespace: str
    set: str = DEFAULT_SET
    blobs: Path | None = None
    wanted: WantedSettings = field(default_factory=WantedSettings)
    read_retries: int = DEFAULT_READ_RETRIES
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    auth: str = "internal"
    tls: Mapping[str, Any] | None = None
    services_alternate: bool = False

    def __str__(self) -> str:
        hosts = ",".join(f"[{host[0]}]:{host[1]}" if ":" in host[0] else f"{host[0]}:{host[1]}" for host in self.hosts)
        return f"aerospike://{hosts}/{self.namespace}?set={self.set}"


def parse_aerospike_url(parts: SplitResult, options: dict[str, str]) -> AerospikeUrl:
    """Takes what it knows out of `options`. Raises ValueError that names what is wrong."""
    namespace = unquote(parts.path).strip("/")
    if not parts.netloc or not namespace or "/" in namespace:
        raise ValueError("store URL: aerospike needs hosts and a namespace, as in aerospike://127.0.0.1:3000/utxo")
    if "@" in parts.netloc:
        raise ValueError("store URL: a user and a password are given by user=... and password_file=..., not before @")
    tls = _take_tls(options)
    name = options.pop("tls_name", None)
    hosts = [_parse_host(host) for host in parts.netloc.split(",")]
    blobs = options.pop("blobs", None)
    if blobs is not None and not Path(blobs).is_absolute():
        raise ValueError(f"store URL: blobs={blobs}: is no absolute directory")
    return AerospikeUrl(
        tuple(hosts if name is None else [(*host, name) for host in hosts]),
        namespace,
        set=_take_set(options),
        blobs=None if blobs is None else Path(blobs),
        wanted=take_wanted_settings(options),
        read_retries=take_option(options, "read_retries", _parse_retries, DEFAULT_READ_RETRIES),
        user=options.pop("user", None),
        password=_take_password(options),
        auth=_take_auth(options),
        tls=tls,
        services_alternate=take_option(options, "services_alternate", parse_flag, False),
    )


def _parse_host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname, DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        host = None
    if not host or not port:
        raise ValueError(f"store URL: {text!r} is no host[:port]")
    return host, port


def _take_set(options: dict[str, str]) -> str:
    name = options.pop("set", DEFAULT_SET)
    if not name or len(name.encode()) > 63 or any(character in name for character in ":;"):
        raise ValueError(f"store URL: set={name}: is no name of a set: 1 to 63 bytes, neither : nor ;")
    return name


def _parse_retries(text: str) -> int:
    return parse_number(text, 0, MAX_READ_RETRIES)


def _take_auth(options: dict[str, str]) -> str:
    auth = options.pop("auth", "internal")
    if auth not in _AUTH:
        raise ValueError(f"store URL: auth={auth}: is none of {', '.join(_AUTH)}")
    return auth


def _take_password(options: dict[str, str]) -> str | None:
    if "password" in options:
        raise ValueError("store URL: a password is given by password_file=FILE or password_env=VARIABLE")
    file, variable = options.pop("password_file", None), options.pop("password_env", None)
    if file is not None:
        try:
            return Path(file).read_text().rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"store URL: password_file={file}: {error}") from None
    if variable is not None:
        if variable not in os.environ:
            raise ValueError(f"store URL: password_env={variable}: the environment has no such variable")
        return os.environ[variable]
    return None


def _take_tls(options: dict[str, str]) -> dict[str, Any] | None:
    """The client's settings of TLS; None where none is wanted."""
    is_wanted = take_option(options, "tls", parse_flag, None)
    settings: dict[str, Any] = {}
    for name in _TLS_FILES:
        if (path := options.pop(f"tls_{name}", None)) is not None:
            if not Path(path).exists():
                raise ValueError(f"store URL: tls_{name}={path}: there is no such file")
            settings[name] = path
    if "tls_crl_check" in options:
        settings["crl_check"] = take_option(options, "tls_crl_check", parse_flag, False)
    if is_wanted is None:
        is_wanted = bool(settings) or "tls_name" in options
    if not is_wanted and (settings or "tls_name" in options):
        raise ValueError("store URL: tls=false, but other options of TLS are given")
    return {"enable": True, **settings} if is_wanted else None
