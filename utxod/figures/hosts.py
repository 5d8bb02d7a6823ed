"""By which names a browser may ask here. A hostile page's own name can be made to lead to this server (DNS rebinding),
and then its scripts may read what is served. So a browser is answered where it asks by what no stranger can give a
meaning to: an address, localhost, this machine's name, or the one that `metrics` names.

Whoever is no browser may use any name: Prometheus, a probe, a load balancer.
"""

import ipaddress
import socket
import threading
from email.message import Message
from typing import Final
from urllib.parse import urlsplit

# Every browser sends one with each request, whatever the page in it wants.
_OF_BROWSERS: Final = ("Accept-Language", "Origin", "Referer", "Sec-Fetch-Site")

_PATIENCE_SECONDS: Final = 0.5
_asking: Final = threading.Lock()


def may_ask(headers: Message, authority: str, configured: str) -> bool:
    """headers: that came with the request. authority: HOST or HOST:PORT that was asked for. configured: the
    name in `metrics`, or an address."""
    return not any(name in headers for name in _OF_BROWSERS) or _is_ours(authority, configured)


def _is_ours(authority: str, configured: str) -> bool:
    try:
        host = (urlsplit(f"//{authority}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    if host in ("localhost", configured.lower().removesuffix(".")) or _is_address(host):
        return True
    return host == socket.gethostname().lower() or host == _full_name().lower()


def _full_name() -> str:
    """Of this machine. A name server is asked for it, maybe, which may take long: by one asker at a time, so that it
    holds the threads of no more. "" for who comes meanwhile, and has waited for a moment."""
    if not _asking.acquire(timeout=_PATIENCE_SECONDS):
        return ""
    try:
        return socket.getfqdn()
    finally:
        _asking.release()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
