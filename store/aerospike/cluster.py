"""What the nodes of an Aerospike cluster say of themselves (info commands), and the client's errors as StoreError."""

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from aerospike import exception

from store.interface import ErrorKind, StoreError

from .result_codes import CLIENT_ERROR, TIMEOUT

ASK_SECONDS: Final = 1.0  # for a node to answer
MEND_SECONDS: Final = 0.25  # the same in the middle of a dispatch, whose time is short


def ask_nodes(
    client: Any, question: str, silent: set[str] | None = None, seconds: float = ASK_SECONDS
) -> dict[str, str]:
    """What each node answers to an info command; an error as ERROR:code:message.

    A node that does not answer in so many seconds is left out, and added to `silent`. The nodes in `silent` are not
    asked, so that several questions wait for such a node only once. Raises AerospikeError where no node answers."""
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
    """The nodes that the client knows, and takes for alive."""
    return sorted(node["node_name"] for node in client.get_node_names())


def namespace_settings(client: Any, namespace: str) -> dict[str, dict[str, str]]:
    """By node: the namespace's configuration; empty where the node has no such namespace. Raises AerospikeError."""
    answers = ask_nodes(client, f"get-config:context=namespace;namespace={namespace}")
    return {node: pairs(text, ";") for node, text in answers.items()}


def pairs(text: str, separator: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(separator) if "=" in part)


@contextlib.contextmanager
def client_errors_named(what: str, kind: ErrorKind = ErrorKind.OTHER) -> Iterator[None]:
    """An AerospikeError raised within becomes a StoreError that begins with `what`. kind: of that StoreError."""
    try:
        yield
    except exception.AerospikeError as error:
        message = f"{what}: {error.msg or error} (result code {error.code})"
        raise StoreError(message, in_doubt=False, kind=kind) from error
