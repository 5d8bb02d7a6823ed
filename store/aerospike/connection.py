"""Connects the Aerospike client to a cluster."""

from typing import Any, Final

import aerospike

from store.interface import ErrorKind

from .cluster import client_errors_named
from .url import AerospikeUrl

_LOGIN_MS: Final = 2000  # for a node that hangs; the client's own is 5000
_AUTH: Final = {
    "internal": aerospike.AUTH_INTERNAL,
    "external": aerospike.AUTH_EXTERNAL,
    "pki": aerospike.AUTH_PKI,
}


def connect(url: AerospikeUrl) -> Any:
    """A client of the cluster, connected to the nodes that can be reached. Raises StoreError where none can."""
    config: dict[str, Any] = {
        "hosts": list(url.hosts),
        # Where it would keep copies of modules, which it is never made to do; else that is the working directory. (Not
        # tempfile.gettempdir(): that tries to write there, and who is killed meanwhile leaves a file.)
        "lua": {"user_path": "/tmp"},  # noqa: S108
        "send_bool_as": aerospike.AS_BOOL,
        "use_services_alternate": url.services_alternate,
        "policies": {"auth_mode": _AUTH[url.auth], "login_timeout_ms": _LOGIN_MS},
        # The client would refuse one node that is there for another that is not.
        "fail_if_not_connected": False,
    }
    if url.user is not None:
        config |= {"user": url.user, "password": url.password or ""}
    if url.tls is not None:
        config["tls"] = dict(url.tls)
    what, kind = f"{url}: cannot be reached", ErrorKind.UNREACHABLE
    if url.services_alternate:
        what += " (services_alternate=true: are alternate addresses configured, and right?)"
        kind = ErrorKind.NO_ALTERNATE_ADDRESSES
    with client_errors_named(what, kind):
        client: Any = aerospike.client(config)
        if client.is_connected():
            return client
        client.close()
        # Once more, so that it says why.
        return aerospike.client(config | {"fail_if_not_connected": True})
