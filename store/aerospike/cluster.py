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

from store.interface import ErrorKind, StoreError
from store.rules import rules_source

from .result_codes import CLIENT_ERROR, FORBIDDEN, TIMEOUT

ASK_SECONDS: Final = 1.0  # for a node to answer
MEND_SECONDS: Final = 0.25  # the same in the middle of a dispatch, whose time is short
INDEXED_BINS: Final = ("deleteAtHeight", "unminedSince")

_POLL: Final = 0.05  # seconds
_PUT_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 1.0
_PUT_TIMEOUT: Final = 3.0  # seconds
_MEND_TIMEOUT: Final = 0.5
_COMPILE_ERROR: Final = "compile_error"
_MAX_INDEX_NAME: Final = 63

log = logging.getLogger("utxod.store")


def rules_module() -> str:
    """The name under which these very rules are registered."""
    return module_name(rules_source())


def module_name(source: bytes) -> str:
    return f"utxod_{hashlib.sha256(source).hexdigest()[:16]}"


def ask_nodes(
    client: Any, question: str, silent: set[str] | None = None, seconds: float = ASK_SECONDS
) -> dict[str, str]:
    """What each node answers to an info command; an error as ERROR:code:message.

    A node that does not answer in so many seconds is left out, and added to `silent`, whose nodes are not asked: so a
    number of questions waits for it once. Raises AerospikeError where no node answers."""
    silent = set() if silent is None else silent
    policy = {"timeout": int(seconds * 1000)}
    found: dict[str, str] = {}
    problem: exception.AerospikeError | None = None
    for name in node_names(client):
        if name in silent:
            continue
        try:
            found[name] = client.info_single_node(question, name, policy).partition("\t")[2].strip()
        except exception.AerospikeError as error:
            code = CLIENT_ERROR if error.code is None else error.code
            if code == TIMEOUT or code < 0:  # the client's own codes: no node was there to give one
                silent.add(name)
                problem = error
            else:
                found[name] = f"ERROR:{code}:{error.msg}"
    if not found:
        raise problem or exception.ClientError("no node is there")
    return found


def node_names(client: Any) -> list[str]:
    """Of the nodes that the client knows, and takes for alive."""
    return sorted(node["node_name"] for node in client.get_node_names())


def namespace_settings(client: Any, namespace: str) -> dict[str, dict[str, str]]:
    """By node: the namespace's configuration; empty where the node has no such namespace. Raises AerospikeError."""
    answers = ask_nodes(client, f"get-config:context=namespace;namespace={namespace}")
    return {node: pairs(text, ";") for node, text in answers.items()}


def pairs(text: str, separator: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(separator) if "=" in part)


@contextlib.contextmanager
def words_for(what: str, kind: ErrorKind = ErrorKind.OTHER) -> Iterator[None]:
    """An error of the client's is a StoreError that says what could not be done. kind: of that error."""
    try:
        yield
    except exception.AerospikeError as error:
        message = f"{what}: {error.msg or error} (result code {error.code})"
        raise StoreError(message, in_doubt=False, kind=kind) from error


def nodes_without_module(
    client: Any, module: str, silent: set[str] | None = None, seconds: float = ASK_SECONDS
) -> list[str]:
    """Among those that answer, as of ask_nodes. Raises AerospikeError."""
    return [
        node
        for node, text in ask_nodes(client, "udf-list", silent, seconds).items()
        if not any(pairs(entry, ",").get("filename") == f"{module}.lua" for entry in text.split(";"))
    ]


def register_module(client: Any, source: bytes, budget: float, silent: set[str] | None = None) -> str:
    """Registers the rules where they are not yet, and waits until every node that answers has them (the others get them
    from these when they are back); returns the module's name. budget: seconds. silent: as of ask_nodes. Raises
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
            # Others that start now do the same. Who is told of a timeout finds that it has arrived, or asks again.
            problem = _put_module(client, missing[0], module, source, _PUT_TIMEOUT) or "they were not taken over"
            put_again = now + _PUT_SECONDS
        time.sleep(_POLL)


def _put_module(client: Any, node: str, module: str, source: bytes, seconds: float) -> str:
    """Why the node may not register it, from which all others get it; empty where it does. Raises StoreError where it
    never will."""
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
        elif _COMPILE_ERROR not in str(error.msg):
            return problem
        message = f"the rules cannot be registered as {module}: {problem}"
        raise StoreError(message, in_doubt=False, kind=kind) from error
    return ""


class ModuleWatch:
    """Puts the rules back when somebody has removed them from the servers under a store that uses them."""

    def __init__(self, client: Any, source: bytes) -> None:
        self._client = client
        self._source = source
        self._look_at = 0.0  # seconds, monotonic: not before

    def look(self) -> None:
        """After calls that a node could not run; once a second at most. Waits for no node to take them over: the calls
        have failed, and who asks again finds them there. Raises nothing."""
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


def indexes(client: Any, namespace: str, set_name: str, silent: set[str] | None = None) -> dict[str, Mapping[str, str]]:
    """By bin: what the first node that knows says of the set's index on it. Raises AerospikeError."""
    found: dict[str, Mapping[str, str]] = {}
    for text in ask_nodes(client, f"sindex-list:namespace={namespace}", silent).values():
        for entry in text.split(";"):
            index = pairs(entry, ":")
            if index.get("ns") == namespace and index.get("set") == set_name:
                found.setdefault(index.get("bin", ""), index)
    return found


def make_indexes(client: Any, namespace: str, set_name: str, silent: set[str] | None = None) -> None:
    """Raises nothing: only pruning needs them, and `utxod doctor` names one that is missing.

    An index that is there is not made again: the server would rename it."""
    try:
        missing = _missing_indexes(client, namespace, set_name, silent)
        for name in missing:
            # The client then looks for it on every node, also on one that has no such namespace.
            with contextlib.suppress(exception.IndexFoundError, exception.NamespaceNotFound):
                client.index_single_value_create(
                    namespace, set_name, name, aerospike.INDEX_NUMERIC, f"{set_name}_{name}"[:_MAX_INDEX_NAME]
                )
        problem = ", ".join(missing and _missing_indexes(client, namespace, set_name, silent))
    except exception.AerospikeError as error:
        problem = str(error.msg or error)
    if problem:
        log.warning("the indexes of %s.%s cannot be made: %s", namespace, set_name, problem)


def _missing_indexes(client: Any, namespace: str, set_name: str, silent: set[str] | None) -> list[str]:
    """The bins that want one. Raises AerospikeError."""
    there = indexes(client, namespace, set_name, silent)
    return [name for name in INDEXED_BINS if name not in there]
