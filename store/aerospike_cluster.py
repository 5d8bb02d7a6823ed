"""What an Aerospike cluster says of itself, and what a set needs there besides its records: the module of the rules on
every node, and the secondary indexes.

Each is made once by whoever comes first, and left alone by everybody after. A module's name carries its content's hash,
so nothing is ever overwritten, and two versions of utxod can work side by side on one set.
"""

import base64
import contextlib
import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import aerospike
from aerospike import exception

from .emulation import rules_source
from .seam import StoreError

INDEXED_BINS: Final = ("deleteAtHeight", "unminedSince")

_POLL: Final = 0.05  # seconds
_PUT_SECONDS: Final = 2.0
_INFO_POLICY: Final = {"timeout": 3000}  # milliseconds
_COMPILE_ERROR: Final = 100
_FORBIDDEN: Final = frozenset({80, 81, 82})  # nobody, nobody who may, or from nowhere that he may
_MAX_INDEX_NAME: Final = 63

log = logging.getLogger("utxod.store")


def rules_module() -> str:
    """The name under which these very rules are registered."""
    return module_name(rules_source())


def module_name(source: bytes) -> str:
    return f"utxod_{hashlib.sha256(source).hexdigest()[:16]}"


def ask_nodes(client: Any, question: str) -> dict[str, str]:
    """Each node's answer to an info command. Raises AerospikeError, also where one node does not answer."""
    answers = client.info_all(question, _INFO_POLICY)
    found: dict[str, str] = {}
    for node, (error, text) in answers.items():
        found[node] = "" if error is not None or text is None else str(text).strip()
    return found


def namespace_settings(client: Any, namespace: str) -> dict[str, dict[str, str]]:
    """By node: the namespace's configuration; empty where the node has no such namespace."""
    answers = ask_nodes(client, f"get-config:context=namespace;namespace={namespace}")
    return {node: _pairs(text, ";") for node, text in answers.items()}


def _pairs(text: str, separator: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(separator) if "=" in part)


@contextlib.contextmanager
def words_for(what: str) -> Iterator[None]:
    """The client's errors as StoreError that says what could not be done."""
    try:
        yield
    except exception.AerospikeError as error:
        raise StoreError(f"{what}: {error.msg} (result code {error.code})", in_doubt=False) from error


def nodes_without_module(client: Any, module: str) -> list[str]:
    """Raises AerospikeError."""
    answers = ask_nodes(client, "udf-list") or {"any node": ""}
    return [
        node
        for node, text in answers.items()
        if not any(_pairs(entry, ",").get("filename") == f"{module}.lua" for entry in text.split(";"))
    ]


def register_module(client: Any, source: bytes, budget: float) -> str:
    """Registers the rules where they are not yet, and waits until every node has them; returns the module's name.
    budget: seconds. Raises StoreError."""
    module = module_name(source)
    until = time.monotonic() + budget
    problem = ""
    put_again = 0.0
    while missing := _where_missing(client, module):
        now = time.monotonic()
        if now > until:
            raise StoreError(f"the rules, {module}, do not arrive on {missing}: {problem}", in_doubt=False)
        if now >= put_again:
            # Others that start now do the same. Who is told of a timeout finds that it has arrived, or asks again.
            problem = _put_module(client, module, source) or "they were not taken over"
            put_again = now + _PUT_SECONDS
        time.sleep(_POLL)
    return module


def _where_missing(client: Any, module: str) -> str:
    """The nodes, in words; empty where every node has it."""
    try:
        return ", ".join(nodes_without_module(client, module))
    except exception.AerospikeError as error:
        return f"nodes that do not answer ({error.msg or error.code})"


def _put_module(client: Any, module: str, source: bytes) -> str:
    """Why it may not be registered; empty where it is. Raises StoreError where it never will be."""
    # Not by the client's own call: that keeps a copy in a directory, and then waits for two seconds.
    content = base64.b64encode(source).decode()
    put = f"udf-put:filename={module}.lua;content={content};content-len={len(content)};udf-type=LUA;"
    try:
        client.info_random_node(put, _INFO_POLICY)
    except exception.AerospikeError as error:
        problem = f"{error.msg} (result code {error.code})"
        if error.code in _FORBIDDEN:
            problem += ": the user needs the right udf-admin"
        elif error.code != _COMPILE_ERROR:
            return problem
        raise StoreError(f"the rules cannot be registered as {module}: {problem}", in_doubt=False) from error
    return ""


def registered_source(client: Any, module: str) -> dict[str, bytes]:
    """By node: the text of a registered module."""
    found = {}
    for node, text in ask_nodes(client, f"udf-get:filename={module}.lua").items():
        content = _pairs(text, ";").get("content", "")
        found[node] = base64.b64decode(content)
    return found


def indexes(client: Any, namespace: str, set_name: str) -> dict[str, Mapping[str, str]]:
    """By bin: what the first node that knows says of the set's index on it."""
    found: dict[str, Mapping[str, str]] = {}
    for text in ask_nodes(client, f"sindex-list:namespace={namespace}").values():
        for entry in text.split(";"):
            index = _pairs(entry, ":")
            if index.get("ns") == namespace and index.get("set") == set_name:
                found.setdefault(index.get("bin", ""), index)
    return found


def make_indexes(client: Any, namespace: str, set_name: str) -> None:
    """Raises nothing: only pruning needs them, and `utxod doctor` names one that is missing.

    An index that is there is not made again: the server would rename it."""
    try:
        there = indexes(client, namespace, set_name)
        for name in INDEXED_BINS:
            if name not in there:
                with contextlib.suppress(exception.IndexFoundError):
                    client.index_single_value_create(
                        namespace, set_name, name, aerospike.INDEX_NUMERIC, f"{set_name}_{name}"[:_MAX_INDEX_NAME]
                    )
    except exception.AerospikeError as error:
        log.warning("the indexes of %s.%s cannot be made: %s", namespace, set_name, error.msg)
