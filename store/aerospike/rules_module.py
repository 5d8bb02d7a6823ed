"""Registers the module of the rules on every node of a cluster.

It is registered once, by the store that comes first, and left alone by all others. The hash of its content is in its
name, so nothing is ever overwritten, and two versions of utxod can work side by side on one set.
"""

import base64
import hashlib
import logging
import time
from typing import Any, Final

from aerospike import exception

from store.interface import ErrorKind, StoreError
from store.rules import rules_source

from .cluster import ASK_SECONDS, MEND_SECONDS, ask_nodes, pairs
from .result_codes import FORBIDDEN

_POLL: Final = 0.05  # seconds
_PUT_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 1.0
_PUT_TIMEOUT: Final = 3.0  # seconds
_MEND_TIMEOUT: Final = 0.5
_COMPILE_ERROR: Final = "compile_error"

log = logging.getLogger("utxod.store")


def own_name() -> str:
    """The name under which this program's rules are registered."""
    return module_name(rules_source())


def module_name(source: bytes) -> str:
    return f"utxod_{hashlib.sha256(source).hexdigest()[:16]}"


def nodes_without_module(
    client: Any, module: str, silent: set[str] | None = None, seconds: float = ASK_SECONDS
) -> list[str]:
    """Those of the nodes that answer. silent, seconds: as for ask_nodes. Raises AerospikeError."""
    return [
        node
        for node, text in ask_nodes(client, "udf-list", silent, seconds).items()
        if not any(pairs(entry, ",").get("filename") == f"{module}.lua" for entry in text.split(";"))
    ]


def register_module(client: Any, source: bytes, budget: float, silent: set[str] | None = None) -> str:
    """Register the rules where they are not yet, and wait until every node that answers has them (the others get them
    from these when they are back). Returns the module's name. budget: seconds. silent: as for ask_nodes. Raises
    StoreError."""
    module = module_name(source)
    silent = set() if silent is None else silent
    until = time.monotonic() + budget
    problem = ""
    put_again = 0.0
    while True:
        try:
            missing = nodes_without_module(client, module, silent)
            where = ", ".join(missing)
        except exception.AerospikeError as error:
            missing, where = [], f"nodes that do not answer ({error.msg or error})"
            silent.clear()
        if not where:
            return module
        now = time.monotonic()
        if now > until:
            raise StoreError(f"the rules, {module}, do not arrive on {where}: {problem}", in_doubt=False)
        if missing and now >= put_again:
            # Other stores that open now do the same. After a timeout it is found to have arrived, or is put again.
            problem = _put_module(client, missing[0], module, source, _PUT_TIMEOUT) or "they were not taken over"
            put_again = now + _PUT_SECONDS
        time.sleep(_POLL)


def _put_module(client: Any, node: str, module: str, source: bytes, seconds: float) -> str:
    """Register the module on one node, from which all others get it. Returns why that failed, for now; empty where it
    did not. Raises StoreError where it would fail again."""
    # Not by the client's own call: that keeps a copy in a directory, and then waits for two seconds.
    content = base64.b64encode(source).decode()
    put = f"udf-put:filename={module}.lua;content={content};content-len={len(content)};udf-type=LUA;"
    try:
        client.info_single_node(put, node, {"timeout": int(seconds * 1000)})
    except exception.AerospikeError as error:
        problem = f"{error.msg} (result code {error.code})"
        kind = ErrorKind.OTHER
        if error.code in FORBIDDEN:
            problem += ": the user needs the right udf-admin"
            kind = ErrorKind.RULES_FORBIDDEN
        elif _COMPILE_ERROR not in str(error.msg):  # one code for all that is wrong with a put
            return problem
        message = f"the rules cannot be registered as {module}: {problem}"
        raise StoreError(message, in_doubt=False, kind=kind) from error
    return ""


class ModuleWatch:
    """Registers the rules again when they were removed from the servers while a store uses them."""

    def __init__(self, client: Any, source: bytes) -> None:
        self._client = client
        self._source = source
        self._look_at = 0.0  # seconds, monotonic: not before

    def look(self) -> None:
        """To be called when a node lacked the rules; looks once a second at most. It does not wait until the nodes have
        taken them over: the calls have failed already, and later ones find them there. Raises nothing."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        module = module_name(self._source)
        try:
            missing = nodes_without_module(self._client, module, seconds=MEND_SECONDS)
            if not missing:
                return
            problem = _put_module(self._client, missing[0], module, self._source, _MEND_TIMEOUT)
        except (exception.AerospikeError, StoreError) as error:
            problem = str(error)
        else:
            log.warning("the rules, %s, were removed from %s: registered again", module, ", ".join(missing))
        if problem:
            log.error("the rules, %s, are not on every node, and cannot be registered again: %s", module, problem)


def registered_source(client: Any, module: str) -> dict[str, bytes]:
    """By node: the text of a registered module."""
    found = {}
    for node, text in ask_nodes(client, f"udf-get:filename={module}.lua").items():
        content = pairs(text, ";").get("content", "")
        found[node] = base64.b64decode(content)
    return found
