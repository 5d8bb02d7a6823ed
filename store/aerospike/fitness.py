"""Whether a cluster can serve a set: what its nodes are asked when a store is opened, and which answers are a reason to
refuse it.

A node that does not answer, or lacks something, is named in the log: the store is opened all the same, and works with
the others. Every function raises AerospikeError where no node answers; `silent` is as for ask_nodes.
"""

import logging
from typing import Any, Final

from store.interface import ErrorKind, StoreError

from .cluster import ASK_SECONDS, ask_nodes, node_names, pairs
from .result_codes import NO_NAMESPACE
from .url import AerospikeUrl

_NO_LIMIT: Final = 0
_NO_NAMESPACE: Final = f"ERROR:{NO_NAMESPACE}:"

log = logging.getLogger("utxod.store")


def check_namespace(client: Any, url: AerospikeUrl, silent: set[str]) -> None:
    """Raises StoreError where no node that answers has the namespace."""
    namespace = url.namespace
    answers = ask_nodes(client, "namespaces", silent)
    lacking = {node: names for node, names in answers.items() if namespace not in names.split(";")}
    if len(lacking) == len(answers):
        node, names = next(iter(lacking.items()))
        problem = f"there is no namespace {namespace} on node {node}; there is {names.replace(';', ', ')}"
        raise StoreError(f"{url}: {problem}", in_doubt=False, kind=ErrorKind.NO_NAMESPACE)
    for node in lacking:
        log.warning("%s: node %s has no namespace %s: it keeps nothing of the set", url, node, namespace)


def check_addresses(client: Any, url: AerospikeUrl, silent: set[str]) -> None:
    """Says in the log which nodes cannot be reached at their addresses. Raises StoreError where the URL asks for
    alternate addresses, and the nodes have none."""
    size = cluster_size(client, silent)
    if url.services_alternate and size > 1:
        question = "service-clear-alt" if url.tls is None else "service-tls-alt"
        lacking = [node for node, text in ask_nodes(client, question, silent).items() if not text]
        if lacking:
            raise StoreError(
                f"{url}: services_alternate=true, but no alternate address is configured on {', '.join(lacking)} "
                "(alternate-access-address)",
                in_doubt=False,
                kind=ErrorKind.NO_ALTERNATE_ADDRESSES,
            )
    known = len(node_names(client))
    if known < size:
        log.warning("%s: %s", url, out_of_reach(known, size))


def out_of_reach(known: int, size: int) -> str:
    """known: nodes that the client is connected to. size: of the cluster."""
    return (
        f"{size - known} of the cluster's {size} nodes cannot be reached at the address that the cluster gives for it: "
        "what is kept there is unavailable"
    )


def cluster_size(client: Any, silent: set[str] | None = None) -> int:
    """How many nodes the cluster has, by what its nodes say."""
    sizes = [pairs(text, ";").get("cluster_size", "") for text in ask_nodes(client, "statistics", silent).values()]
    return max((int(size) for size in sizes if size.isdecimal()), default=0)


def holds_records(client: Any, namespace: str, set_name: str) -> bool:
    """Raises StoreError where it cannot be told, since a node does not say."""
    silent: set[str] = set()
    answers = ask_nodes(client, f"sets/{namespace}/{set_name}", silent)
    if any(pairs(text, ":").get("objects", "0") != "0" for text in answers.values()):
        return True
    silent |= {
        node for node, text in answers.items() if text.startswith("ERROR") and not text.startswith(_NO_NAMESPACE)
    }
    if silent:
        problem = f"whether the set holds records cannot be told: {', '.join(sorted(silent))} does not say"
        raise StoreError(problem, in_doubt=False)
    return False


def batch_limit(client: Any, silent: set[str] | None = None, seconds: float = ASK_SECONDS) -> int | None:
    """The most operations that every node takes in one batch; None where none has a limit. seconds: as for
    ask_nodes."""
    answers = ask_nodes(client, "get-config:context=service", silent, seconds)
    limits = [pairs(text, ";").get("batch-max-requests", "") for text in answers.values()]
    return min((int(limit) for limit in limits if limit.isdecimal() and int(limit) != _NO_LIMIT), default=None)
